"""The readiness gate: the adapter's check is held open here, and the app is probed under the adapter's own rule."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from snapext.errors import SnapextError
from snapext_extension.config import Readiness
from snapext_extension.http1 import HttpError, parse_request_head, parse_status
from snapext_extension.log import Log
from snapext_extension.reactor import WRITE, Reactor

PROBE_INTERVAL_MS = 10
"""How often the web adapter itself asks, so that we are no slower to see that the app is ready."""
MAX_REQUESTS = 64
"""An adapter holds one; a few more are somebody's curiosity, and beyond that a flood."""
HEAD_TIMEOUT_MS = 5_000


class GateError(SnapextError):
    """The gate's port cannot be listened on. The text says which and why."""


class AppProbe:
    """Asks the app until it is ready, then calls `on_ready` with the status of its answer, once."""

    def __init__(self, rule: Readiness, reactor: Reactor, on_ready: Callable[[int], None]) -> None:
        self._rule = rule
        self._reactor = reactor
        self._on_ready = on_ready
        self._socket: socket.socket | None = None
        self._received = b""
        self._attempts = 0
        self._url = f"http://{rule.host}:{rule.port}{rule.path}"
        self.last_answer = "it has not been asked yet"

    def start(self) -> None:
        """Begin one attempt; each that fails is followed by another after PROBE_INTERVAL_MS."""
        self._received = b""
        try:
            host = self._rule.host.strip("[]")
            addresses = socket.getaddrinfo(host, self._rule.port, type=socket.SOCK_STREAM)
            # A name may stand for several, such as localhost for ::1 and 127.0.0.1: each has its turn.
            family, kind, proto, _, address = addresses[self._attempts % len(addresses)]
            self._attempts += 1
            self._socket = socket.socket(family, kind, proto)
            self._socket.setblocking(False)
            if (error := self._socket.connect_ex(address)) not in (0, errno.EINPROGRESS):
                return self._again(os.strerror(error))
        except OSError as error:
            return self._again(str(error))
        self._reactor.watch(self._socket.fileno(), self._connected, WRITE)
        return None

    def stop(self) -> None:
        self._reactor.cancel_timer(self)
        if self._socket is not None:
            self._reactor.unwatch(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _connected(self) -> None:
        rule, probe = self._rule, self._socket
        assert probe is not None, "BUG: watched without a socket"  # noqa: S101
        request = f"GET {rule.path} HTTP/1.1\r\nHost: {rule.host}:{rule.port}\r\nConnection: close\r\n\r\n"
        try:
            if error := probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return self._again(os.strerror(error))
            probe.sendall(request.encode("latin-1", "replace"))
        except OSError as error:
            return self._again(str(error))
        self.last_answer = f"GET {self._url} is not answered"
        self._reactor.watch(probe.fileno(), self._answered)
        return None

    def _answered(self) -> None:
        assert self._socket is not None, "BUG: watched without a socket"  # noqa: S101
        try:
            data = self._socket.recv(65536)
            self._received += data
            status = parse_status(self._received)
        except (OSError, HttpError) as error:
            return self._again(str(error))
        if status is None and data:
            return None
        if status is None:
            return self._again("the connection is closed without an answer")
        if status not in self._rule.healthy:
            return self._again(f"answered with {status}")
        self.stop()
        self._on_ready(status)
        return None

    def _again(self, why: str) -> None:
        self.last_answer = f"GET {self._url}: {why}"
        self.stop()
        self._reactor.set_timer(self, PROBE_INTERVAL_MS, self.start)


@dataclass(slots=True, eq=False)
class _Request:
    socket: socket.socket
    received: bytes = b""
    held: bool = False
    answered: bool = False
    close: bool = False


class Gate:
    """Listens on loopback for the adapter's readiness check, and holds each request until `answer`.

    `on_asked` is called for each request that has arrived whole. Connections are kept alive.
    """

    def __init__(self, host: str, port: int, reactor: Reactor, log: Log, on_asked: Callable[[], None]) -> None:
        self._reactor = reactor
        self._log = log
        self._on_asked = on_asked
        self._requests: dict[int, _Request] = {}
        self._server = _listen(host, port)
        reactor.watch(self._server.fileno(), self._accept)

    def answer(self, status: int) -> None:
        """Answer every held request with the app's own status, which is one that the adapter takes for healthy."""
        for key, request in list(self._requests.items()):
            if request.held:
                request.held = False
                self._respond(key, request, status)

    def close(self) -> None:
        """Hang up on everyone; a held request ends without an answer, which no adapter takes for ready."""
        for key in list(self._requests):
            self._forget(key)
        self._reactor.unwatch(self._server.fileno())
        self._server.close()

    def _accept(self) -> None:
        try:
            accepted, _ = self._server.accept()
        except OSError:
            return  # it was gone before we came to it
        if len(self._requests) >= MAX_REQUESTS and not self._forget_an_idle_one():
            accepted.close()
            return
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = accepted.fileno()
        request = self._requests[key] = _Request(accepted)
        self._expect_head(key, request)
        self._reactor.watch(key, lambda: self._ready(key, request))

    def _forget_an_idle_one(self) -> bool:
        """Make room: a connection that was answered and says nothing more must not shut the adapter out."""
        for key, request in self._requests.items():
            if request.answered and not request.held:
                self._forget(key)
                return True
        return False

    def _expect_head(self, key: int, request: _Request) -> None:
        self._reactor.set_timer(request, HEAD_TIMEOUT_MS, lambda: self._drop(key, "no whole request in time"))

    def _ready(self, key: int, request: _Request) -> None:
        try:
            data = request.socket.recv(65536)
            request.received += data
            if not data:
                self._forget(key)
            elif not request.held:
                self._read_request(request)
            elif len(request.received) > 65536:
                self._drop(key, "it sends on while its request is held")
        except BlockingIOError:
            return
        except (OSError, HttpError) as error:
            self._drop(key, str(error))

    def _read_request(self, request: _Request) -> None:
        parsed = parse_request_head(request.received)
        if parsed is None:
            return
        request_line, headers, request.received = parsed
        request.close = request_line.endswith("/1.0") or headers.get("connection", "").lower() == "close"
        request.held = True
        self._reactor.cancel_timer(request)
        self._on_asked()

    def _read_on(self, key: int, request: _Request) -> None:
        try:
            self._read_request(request)
        except HttpError as error:
            self._drop(key, str(error))

    def _respond(self, key: int, request: _Request, status: int) -> None:
        connection = "close" if request.close else "keep-alive"
        head = f"HTTP/1.1 {status} Ready\r\nContent-Length: 0\r\nConnection: {connection}\r\n\r\n"
        try:
            request.socket.send(head.encode())
        except OSError:
            request.close = True
        request.answered = True
        if request.close:
            self._forget(key)
        elif request.received:  # the next request came while this one was held
            self._reactor.set_timer(request, 0, lambda: self._read_on(key, request))

    def _drop(self, key: int, reason: str) -> None:
        self._log.write("warning", "readiness_connection_closed", reason=reason)
        self._forget(key)

    def _forget(self, key: int) -> None:
        request = self._requests.pop(key, None)
        if request is not None:
            self._reactor.cancel_timer(request)
            self._reactor.unwatch(key)
            request.socket.close()


def _listen(host: str, port: int) -> socket.socket:
    server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, port))
        server.listen(128)  # a flood of others must not make the adapter wait for a second SYN
    except OSError as error:
        server.close()
        raise GateError(
            f"port {port} (SNAPEXT_PORT) cannot be listened on: {os.strerror(error.errno or 0)}; "
            "set SNAPEXT_PORT and AWS_LWA_READINESS_CHECK_PORT to another"
        ) from error
    server.setblocking(False)
    return server
