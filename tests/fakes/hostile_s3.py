"""A proxy before a real S3 server that answers in its place, cuts connections, or waits, where a test tells it to.

Also remembers every request, so that a test can count what was sent. Knows nothing of rdbmerge.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """A request as it came; `query` has empty strings for names without a value."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def part(self) -> int | None:
        """The number of the part it sends."""
        return int(self.query["partNumber"]) if self.method == "PUT" and "partNumber" in self.query else None

    @property
    def completes(self) -> bool:
        """Whether it completes an upload."""
        return self.method == "POST" and "uploadId" in self.query

    @property
    def begins(self) -> bool:
        """Whether it begins an upload."""
        return self.method == "POST" and "uploads" in self.query


When = Callable[[Request], bool]


@dataclass
class Trouble:
    """What happens to requests that `when` picks: the first `times` of them (None: all)."""

    when: When
    times: int | None = None
    status: int = 0  # answered in the server's place, when not 0
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None  # bytes of the body that are read before the connection is closed
    lose_answer: bool = False  # the server does it, and the connection is closed without an answer
    wait_s: float = 0.0
    answer_headers: Mapping[str, str] = field(default_factory=dict)  # instead of the server's own
    change_body: bool = False  # one bit of it, on its way to the server

    def takes(self, request: Request) -> bool:
        if self.times == 0 or not self.when(request):
            return False
        if self.times is not None:
            self.times -= 1
        return True


class HostileS3:
    """Use as a context manager; `endpoint` is where to connect, `requests` what came."""

    def __init__(self, upstream: str, *troubles: Trouble) -> None:
        self._upstream = urlsplit(upstream)
        self.troubles = list(troubles)
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def log_message(self, format: str, *args: object) -> None:
                pass

            def handle_one(self) -> None:
                proxy._handle(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one  # noqa: N815

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that is killed in the middle of a request is what some tests are about

        self._server = Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> HostileS3:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def parts_sent(self) -> list[int]:
        """The numbers of the parts that came, in order of number."""
        return sorted(request.part for request in self.requests if request.part is not None)

    def _handle(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in handler.headers.items()}
        request = Request(handler.command, url.path, query, headers)
        with self._lock:
            self.requests.append(request)
            trouble = next((one for one in self.troubles if one.takes(request)), Trouble(lambda _: False))
        length = int(headers.get("content-length", 0))
        if trouble.cut_after is not None:
            handler.rfile.read(min(trouble.cut_after, length))
            self._hang_up(handler)
            return
        body = handler.rfile.read(length)
        if trouble.wait_s:
            time.sleep(trouble.wait_s)
        if trouble.change_body and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        if trouble.status:
            self._answer(handler, trouble.status, {**trouble.headers}, _error(trouble.code))
            return
        status, answer_headers, answer = self._forward(handler, body)
        if trouble.lose_answer:
            self._hang_up(handler)
            return
        self._answer(handler, status, {**answer_headers, **trouble.answer_headers}, answer)

    def _forward(self, handler: http.server.BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._upstream.hostname or "", self._upstream.port, timeout=60)
        try:
            skipped = ("expect", "connection", "transfer-encoding")  # the host is signed
            headers = {name: value for name, value in handler.headers.items() if name.lower() not in skipped}
            connection.request(handler.command, handler.path, body, headers)
            response = connection.getresponse()
            data = response.read()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, data
        finally:
            connection.close()

    def _answer(
        self, handler: http.server.BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        handler.send_response(status)
        head = handler.command == "HEAD"
        for name, value in headers.items():
            if name not in ("connection", "transfer-encoding", "date", "server") and (head or name != "content-length"):
                handler.send_header(name, value)
        if not head:
            handler.send_header("content-length", str(len(body)))
        elif "content-length" not in headers:
            handler.send_header("content-length", "0")
        handler.end_headers()
        if not head:
            handler.wfile.write(body)

    def _hang_up(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        with contextlib.suppress(OSError):
            handler.connection.shutdown(socket.SHUT_RDWR)


def _error(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
