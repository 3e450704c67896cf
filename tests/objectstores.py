"""Servers that speak S3 for tests, the demo and the bench: found, started on a free port, ended, nothing left behind.

`ministack` is the closest to S3 (ownership, checksums, ACLs, policies), `rclone` holds objects of gigabytes. Both come
from `.venv-s3`, which `scripts/test` makes, or from where `RDBMERGE_S3_SERVERS` says. Knows nothing of rdbmerge.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / os.environ.get("RDBMERGE_S3_SERVERS", ".venv-s3/bin")
REGION = "us-east-1"
ACCESS_KEY, SECRET_KEY = "test", "testtest"
HOW_TO_GET = "scripts/test installs it into .venv-s3"
_STARTED_WITHIN_S = 30


@dataclass(frozen=True)
class ObjectStore:
    """A server that speaks S3 and is running."""

    name: str
    endpoint: str
    pid: int

    @property
    def environment(self) -> dict[str, str]:
        """What points boto3, in this process or another, to it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def client(self, service: str = "s3") -> Any:
        """A plain client of boto3."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=REGION,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 2}),
        )


def program(name: str) -> Path | None:
    """The server of that name; None: this machine does not have it."""
    path = PROGRAMS / name
    return path if path.exists() else None


@contextmanager
def running_ministack() -> Iterator[ObjectStore]:
    """Objects are in its memory."""
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = {"BIND_HOST": HOST, "GATEWAY_PORT": str(port), "HOME": folder, "TMPDIR": folder}
        with _running("ministack", [], environment, Path(folder)) as pid:
            _wait_for(f"http://{HOST}:{port}/_ministack/health")
            yield ObjectStore("ministack", f"http://{HOST}:{port}", pid)


@contextmanager
def running_rclone(folder: Path, *options: str) -> Iterator[ObjectStore]:
    """Objects are files in `folder`, buckets are the folders in it."""
    port = _free_port()
    arguments = [
        "serve", "s3", "--addr", f"{HOST}:{port}", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}",
        "--config", os.devnull, *options, str(folder),
    ]  # fmt: skip
    with _running("rclone", arguments, {}, folder) as pid:
        _wait_for(f"http://{HOST}:{port}/")
        yield ObjectStore("rclone", f"http://{HOST}:{port}", pid)


@contextmanager
def _running(name: str, arguments: list[str], environment: dict[str, str], folder: Path) -> Iterator[int]:
    path = program(name)
    if path is None:
        raise FileNotFoundError(f"{name} is not there: {HOW_TO_GET}")
    process = subprocess.Popen(
        [path, *arguments], env={**os.environ, **environment}, cwd=folder, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + _STARTED_WITHIN_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - our own server
            return
        except URLError as error:
            if hasattr(error, "code"):  # it answers, if only that it does not like the question
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"no answer from {url}") from error
        except ConnectionError:
            pass
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
