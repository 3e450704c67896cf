"""The door to the network: opens sockets, speaks TLS, waits in slices, and turns every failure into ours.

The only module that handles a raw socket (`client` hands one on to redis-py). Knows nothing of what is said over it.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable

from rdbmerge.errors import RdbMergeError, StoppedError, UsageError
from rdbmerge.reach.server import Server, show_bytes
from rdbmerge.units import format_duration_ms

_SLICE_S = 0.2  # how often a wait looks whether it should stop
_BUFFER_BYTES = 4 << 20
# By the codes of OpenSSL (x509_vfy.h): not yet valid, expired, another name, another IP address.
_RENEW = "renew the server's certificate, and check the clocks of both machines"
_RENAME = "connect by a name that is in its certificate, or say which one to expect (--tls-sni)"
_CERTIFICATE_REMEDIES = {9: _RENEW, 10: _RENEW, 62: _RENAME, 64: _RENAME}
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}  # a dead peer is found in 90 s


def open_socket(server: Server, *, timeout_s: float, stop: threading.Event | None = None) -> socket.socket:
    """A connected socket, TLS done where the server wants it; blocking, without a timeout.

    Args:
        server: where to.
        timeout_s: for TCP, for each address that the name has, and again for TLS.
        stop: looked at several times a second (but not while a name is resolved).

    Raises:
        SourceError or TargetError, as the server is one: refused, unreachable, no such name, TLS or the tunnel failed.
        UsageError: a TLS file cannot be used.
        StoppedError: `stop` was set.
    """
    context = _tls_context(server) if server.tls else None
    try:
        opened = _connect(server, timeout_s, stop)
    except OSError as error:
        raise _connect_error(server, error, timeout_s) from error
    if context is None:
        return opened
    try:
        return _start_tls(opened, context, server, timeout_s, stop)
    except OSError as error:
        opened.close()
        raise tunnel_failure(server) or tls_error(server, error) from error
    except StoppedError:
        opened.close()
        raise


class Wire:
    """A connection to a server. Waits in slices, so that `stop` is seen soon; an idle tick calls `on_tick`."""

    def __init__(self, server: Server, *, timeout_s: float, stop: threading.Event | None = None) -> None:
        self._server = server
        self._stop = stop
        self._socket = open_socket(server, timeout_s=timeout_s, stop=stop)
        self.failure: OSError | None = None  # why the connection ended, when it did not end in order

    def send(self, data: bytes, *, timeout_s: float) -> bool:
        """Send all of `data`; False if the connection is gone (an answer may still be readable)."""
        try:
            self._socket.settimeout(timeout_s)
            self._socket.sendall(data)
        except OSError as error:
            self.failure = error
            return False
        return True

    def receive(self, size: int, *, timeout_s: float, on_tick: Callable[[], None] | None = None) -> bytes | None:
        """The next bytes, at most `size`; b"" when the connection has ended, None when nothing came in `timeout_s`.

        Raises StoppedError, and the server's failure where TLS says why it ended.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            check_stop(self._stop, self._server)
            remaining = deadline - time.monotonic()
            try:
                # Once over time, still look at what has arrived: the time may have gone by elsewhere.
                self._socket.settimeout(max(0.001, min(_SLICE_S, remaining)))
                return self._socket.recv(size)
            except TimeoutError:
                if remaining <= 0:
                    return None
                if on_tick:
                    on_tick()
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError) as error:
                self.failure = error
                return b""
            except ssl.SSLError as error:
                raise tls_error(self._server, error) from error
            except OSError as error:
                self.failure = error
                return b""

    def close(self) -> None:
        """Close at once; never raises."""
        self._socket.close()


def tunnel_failure(server: Server) -> RdbMergeError | None:
    """Why a connection that has just ended was ended by its tunnel, in the words of ssh; None if it was not.

    Worth asking when a connection through a tunnel ends before its time: what refused it is known to ssh alone. Takes
    up to half a second.
    """
    said = server.tunnel.explain() if server.tunnel else None
    return server.failure(f"{server.place}: {said.finding}", remedy=said.remedy) if said else None


def check_stop(stop: threading.Event | None, server: Server) -> None:
    """Raise StoppedError if the user wants to stop."""
    if stop is not None and stop.is_set():
        raise StoppedError(f"{server.place}: stopped", remedy="")


def _connect(server: Server, timeout_s: float, stop: threading.Event | None) -> socket.socket:
    if server.service and not server.host:
        # An empty host would mean this machine: whoever comes here has forgotten `sentinel.find_primary`.
        raise ValueError(f"{server.place}: dialled before its primary was asked for")
    if server.tunnel:
        candidates = [(socket.AF_UNIX, server.tunnel.open(server, stop))]
    elif server.ssh:
        raise ValueError(f"{server.place}: dialled without its tunnel")  # a step that forgot Tunnels.through
    elif server.unix_path:
        candidates = [(socket.AF_UNIX, server.unix_path)]
    else:
        found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
        candidates = [(row[0], row[4]) for row in found]  # type: ignore[misc]
    failure: OSError = OSError(errno.EADDRNOTAVAIL, "the name has no address")
    for family, address in candidates:
        opened = socket.socket(family, socket.SOCK_STREAM)
        try:
            _tune(opened, family)
            _connect_one(opened, address, server, timeout_s, stop)
            return opened
        except OSError as error:
            opened.close()
            failure = error
        except StoppedError:
            opened.close()
            raise
    raise failure


def _connect_one(
    opened: socket.socket, address: object, server: Server, timeout_s: float, stop: threading.Event | None
) -> None:
    deadline = time.monotonic() + timeout_s
    opened.setblocking(False)
    code = opened.connect_ex(address)  # type: ignore[arg-type]
    if code not in (0, errno.EINPROGRESS):
        raise OSError(code, os.strerror(code))
    with selectors.DefaultSelector() as selector:
        selector.register(opened, selectors.EVENT_WRITE)
        while code and not selector.select(_SLICE_S):
            check_stop(stop, server)
            if time.monotonic() > deadline:
                raise TimeoutError("timed out")
    code = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))
    opened.setblocking(True)


def _tune(opened: socket.socket, family: int) -> None:
    if family == socket.AF_UNIX:
        return
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    # Asking for a size ends Linux' own growing of it (to 6 MB); so only where all of it is granted.
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        granted = probe.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    if granted >= _BUFFER_BYTES:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)


def _connect_error(server: Server, error: OSError, timeout_s: float) -> RdbMergeError:
    finding, remedy = error.strerror or str(error), "check the address, the route and the firewall"
    if isinstance(error, socket.gaierror):
        finding, remedy = f"host name not found ({finding})", "check the spelling, and the DNS of this machine"
    elif isinstance(error, ConnectionRefusedError):
        finding = "connection refused: nothing listens there"
        remedy = "check the port, and that the server's `bind` allows this machine"
    elif isinstance(error, TimeoutError):
        finding = f"no connection within {format_duration_ms(round(timeout_s * 1_000))}"
        remedy = "check firewall and security groups; a server in a private network needs a tunnel"
    elif isinstance(error, FileNotFoundError):
        finding, remedy = "there is no such socket", "check the path: it is `unixsocket` in the server's redis.conf"
    elif isinstance(error, PermissionError):
        finding, remedy = "no permission to connect", "run as a user that may use the socket (see `unixsocketperm`)"
    return server.failure(f"{server.place}: {finding}", remedy=remedy)


def _tls_context(server: Server) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=server.tls_ca)
        if not server.tls_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if server.tls_cert:
            # No passphrase prompt: a key that wants one is refused instead of waiting for a terminal.
            context.load_cert_chain(server.tls_cert, server.tls_key, password="")
    except (OSError, ValueError) as error:
        files = ", ".join(file for file in (server.tls_ca, server.tls_cert, server.tls_key) if file)
        raise UsageError(
            f"{server.place}: cannot use the TLS files {files}: {error}",
            remedy="give PEM files that can be read, a key without passphrase that belongs to its certificate",
        ) from error
    return context


def _start_tls(
    opened: socket.socket, context: ssl.SSLContext, server: Server, timeout_s: float, stop: threading.Event | None
) -> socket.socket:
    wrapped = context.wrap_socket(opened, server_hostname=server.tls_sni or server.host, do_handshake_on_connect=False)
    deadline = time.monotonic() + timeout_s
    wrapped.settimeout(_SLICE_S)
    try:
        while True:
            try:
                wrapped.do_handshake()
                wrapped.settimeout(None)
                return wrapped
            except TimeoutError:
                check_stop(stop, server)
                if time.monotonic() > deadline:
                    raise
    except BaseException:
        wrapped.close()
        raise


def tls_error(server: Server, error: OSError) -> RdbMergeError:
    """What a failure of TLS means, at its beginning or later."""
    reason = (getattr(error, "reason", None) or str(error)).upper().replace(" ", "_")
    if isinstance(error, ssl.SSLCertVerificationError):
        finding = f"its certificate is not trusted: {error.verify_message}"
        remedy = _CERTIFICATE_REMEDIES.get(error.verify_code, "give the authority's certificate (--tls-ca)")
    elif "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        finding = "it wants a certificate from us"
        remedy = (
            "give a client certificate and its key (--tls-cert, --tls-key) that the server's tls-ca-cert-file knows"
        )
    elif "ALERT" in reason:
        finding = f"it refused TLS: {show_bytes(reason.encode(), server=server)}"
        remedy = "check client certificate and key, and the TLS versions that the server allows"
    elif "WRONG_VERSION" in reason or "RECORD_LAYER" in reason or "UNKNOWN_PROTOCOL" in reason:
        finding, remedy = "it answers TLS with plain text", "this is no TLS port: write the address without rediss://"
    else:
        timed_out = isinstance(error, TimeoutError)
        finding = "no answer to TLS" if timed_out else f"TLS failed: {show_bytes(str(error).encode(), server=server)}"
        remedy = "if this is no TLS port, write the address without rediss://; else look in the server's log"
    return server.failure(f"{server.place}: {finding}", remedy=remedy)
