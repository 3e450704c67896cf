"""Certificates for tests and the demo: an authority of its own, and what it signs, made by the system's openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_CONFIG = """\
[ca]
default_ca = here
[here]
dir = {folder}
database = $dir/index.txt
serial = $dir/serial
new_certs_dir = $dir
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
"""
LONG_AGO = ("20200101000000Z", "20200102000000Z")
FAR_AHEAD = ("20900101000000Z", "20900102000000Z")


@dataclass(frozen=True)
class Certificate:
    """PEM files."""

    cert: str
    key: str


class Authority:
    """Signs certificates; `cert` is what others must trust."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        (folder / "index.txt").touch()
        (folder / "serial").write_text("01\n")
        (folder / "ca.conf").write_text(_CONFIG.format(folder=folder))
        self._run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
                  "-subj", "/CN=test authority")  # fmt: skip
        self.cert = str(folder / "ca.pem")

    def sign(
        self, name: str, *names: str, between: tuple[str, str] = ("20200101000000Z", "20900101000000Z")
    ) -> Certificate:
        """A certificate for the subject `name`, good for `names` (such as DNS:localhost or IP:127.0.0.1)."""
        extra = ("-addext", f"subjectAltName={','.join(names)}") if names else ()
        self._run("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                  "-subj", f"/CN={name}", *extra)  # fmt: skip
        self._run("ca", "-batch", "-config", "ca.conf", "-cert", "ca.pem", "-keyfile", "ca.key", "-in", f"{name}.csr",
                  "-out", f"{name}.pem", "-notext", "-startdate", between[0], "-enddate", between[1])  # fmt: skip
        return Certificate(str(self._folder / f"{name}.pem"), str(self._folder / f"{name}.key"))

    def _run(self, *words: str) -> None:
        done = subprocess.run(["openssl", *words], cwd=self._folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def tls_config(server: Certificate, authority: Authority, *, clients: str = "no") -> dict[str, str]:
    """Settings of a server that speaks TLS beside plain text; its port is that of plain text plus one."""
    return {
        "tls-cert-file": server.cert, "tls-key-file": server.key, "tls-ca-cert-file": authority.cert,
        "tls-auth-clients": clients,
    }  # fmt: skip
