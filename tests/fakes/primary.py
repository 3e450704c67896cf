"""A primary that says what it is told to, over a real loopback socket: recorded bytes, silence, nonsense, half a file.

Each connection is answered by command name from `replies`; an answer is bytes or a list of steps.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from fakes.recorded import Conversation, kind_of, split_commands


@dataclass(frozen=True)
class Say:
    """Send `data`; in pieces of `piece` bytes with `pause_s` between them, if given."""

    data: bytes
    piece: int = 0
    pause_s: float = 0.0


@dataclass(frozen=True)
class Hang:
    """Say nothing, until the client leaves or `seconds` are over."""

    seconds: float = 30.0


@dataclass(frozen=True)
class Close:
    """End the connection: in order, or with a reset."""

    reset: bool = False


Step = Say | Hang | Close
Answer = bytes | Sequence[Step] | Callable[[], "bytes | Sequence[Step]"]

TIME_REPLY = b"*2\r\n$10\r\n1700000000\r\n$6\r\n500000\r\n"


def bulk(text: str) -> bytes:
    data = text.encode()
    return b"$%d\r\n%s\r\n" % (len(data), data)


class FakePrimary:
    """Use as a context manager; `port` is where it listens, `commands` what it was sent, in order."""

    def __init__(
        self,
        replies: dict[str, Answer] | None = None,
        *,
        unasked: Sequence[Step] = (),
        conversation: Conversation | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.replies: dict[str, Answer] = {"PING": b"+PONG\r\n", "AUTH": b"+OK\r\n", "TIME": TIME_REPLY}
        self.replies |= replies or {}
        self.unasked = unasked
        self.conversation = conversation
        self.commands: list[list[bytes]] = []
        self._tls = tls
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> FakePrimary:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: socket.socket) -> None:
        try:
            if self._tls:
                peer = self._tls.wrap_socket(peer, server_side=True)
            with peer:
                peer.settimeout(30)
                if not self._play(peer, self.unasked):
                    return
                while data := peer.recv(65536):
                    for command in split_commands(data):
                        self.commands.append(command)
                        if not self._play(peer, self._answer(command)):
                            return
        except (OSError, ValueError):
            return

    def _answer(self, command: list[bytes]) -> Sequence[Step]:
        kind = kind_of(command) if len(command) > 1 or command[0].upper() != b"REPLCONF" else "REPLCONF"
        answer = self.replies.get(kind)
        if self.conversation and kind not in ("INFO", "TIME"):
            said = self.conversation.reply_to(command)
            ends = said == self.conversation.after_sync and self.conversation.facts["end"]["by"] == "server"
            answer = [Say(said), Close()] if ends else said
        if callable(answer):
            answer = answer()
        if answer is None:
            answer = b"+OK\r\n" if kind.startswith("REPLCONF") else b"-ERR unknown command '%s'\r\n" % command[0]
        return [Say(answer)] if isinstance(answer, bytes) else answer

    def _play(self, peer: socket.socket, steps: Sequence[Step]) -> bool:
        for step in steps:
            if isinstance(step, Say):
                piece = step.piece or max(1, len(step.data))
                for at in range(0, len(step.data), piece):
                    peer.sendall(step.data[at : at + piece])
                    if step.pause_s and self._stopping.wait(step.pause_s):
                        return False
            elif isinstance(step, Hang):
                self._hang(peer, step.seconds)
            else:
                if step.reset:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.close()
                return False
        return True

    def _hang(self, peer: socket.socket, seconds: float) -> None:
        waited = 0.0
        while waited < seconds and not self._stopping.is_set():
            peer.settimeout(0.1)
            try:
                if not peer.recv(1, socket.MSG_PEEK):
                    return
                self._stopping.wait(0.1)
            except TimeoutError:
                pass
            waited += 0.1
        peer.settimeout(30)
