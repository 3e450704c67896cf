"""A hostile TCP proxy in front of a real server: cuts at byte N, hangs at byte N, or lets bytes through in a trickle.

Bytes are counted from the server to the client, for each connection by itself.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType


class HostileProxy:
    """Use as a context manager; connect to `port`.

    `cut_after` closes (with a reset if `reset`) and `hang_after` falls silent once so many bytes have passed;
    `piece` and `pause_s` make a trickle. Connections that carry fewer bytes (INFO, say) are not touched.
    """

    def __init__(
        self,
        target_port: int,
        *,
        target_host: str = "127.0.0.1",
        cut_after: int | None = None,
        hang_after: int | None = None,
        reset: bool = False,
        piece: int = 65536,
        pause_s: float = 0.0,
    ) -> None:
        self._target = (target_host, target_port)
        self._cut_after = cut_after
        self._hang_after = hang_after
        self._reset = reset
        self._piece = piece
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> HostileProxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for opened in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
            except OSError:
                return
            self._open += [client, server]
            threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
            threading.Thread(target=self._return, args=(server, client), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _return(self, server: socket.socket, client: socket.socket) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := server.recv(self._piece):
                for limit, hang in ((self._cut_after, False), (self._hang_after, True)):
                    if limit is not None and passed + len(data) >= limit:
                        client.sendall(data[: limit - passed])
                        if hang:
                            self._stopping.wait(60)
                        self._end(client)
                        return
                client.sendall(data)
                passed += len(data)
                if self._pause_s:
                    self._stopping.wait(self._pause_s)
            client.shutdown(socket.SHUT_WR)

    def _end(self, client: socket.socket) -> None:
        if self._reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.shutdown(socket.SHUT_RD)  # wakes the other thread, whose recv would put the reset off
            client.close()
        else:
            client.shutdown(socket.SHUT_RDWR)
