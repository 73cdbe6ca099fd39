"""The readiness gate: the adapter's check is held open here, and the app is probed under the adapter's own rule."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass

from snapext.errors import SnapextError
from snapext_extension.config import Readiness
from snapext_extension.door import Door
from snapext_extension.log import Log
from snapext_extension.platform.http1 import HttpError, parse_request_head, parse_status
from snapext_extension.reactor import WRITE, Reactor, now_ms

PROBE_INTERVAL_MS = 10
"""How often the web adapter itself asks, so that we are no slower to see that the app is ready."""
MAX_REQUESTS = 64
"""An adapter holds one; a few more are somebody's curiosity, and beyond that a flood."""
HEAD_TIMEOUT_MS = 5_000
SLOW_S = 1.0
"""An attempt to ask the app that takes longer is worth a word."""


class GateError(SnapextError):
    """The gate's port cannot be listened on. The text says which and why."""


@dataclass(slots=True)
class _Outcome:
    """What came of asking the app at one address, since when and how often it has been the same."""

    what: str
    first_ms: float
    last_ms: float = 0.0
    times: int = 0

    def text(self, where: str) -> str:
        often = f" (asked {self.times} times in {(self.last_ms - self.first_ms) / 1000:.1f} s)"
        return f"{self.what}{where}{often if self.times > 1 else ''}"


class AppProbe:
    """Asks the app until it is ready, then calls `on_ready` with the status of its answer, once.

    An attempt that is accepted and never answered is waited for, as the adapter would wait; `last_answer` says so.
    """

    def __init__(self, rule: Readiness, reactor: Reactor, on_ready: Callable[[int], None]) -> None:
        self._rule = rule
        self._reactor = reactor
        self._on_ready = on_ready
        self._socket: socket.socket | None = None
        self._received = b""
        self._attempts = 0
        self._outcomes: dict[str, _Outcome] = {}
        self._address = ""
        self._began_ms = 0.0
        self._accepted = False

    @property
    def last_answer(self) -> str:
        """What came of the last attempt (at each address, if there are several), how often, and what is open now."""
        said = f"GET http://{self._rule.host}:{self._rule.port}{self._rule.path}"
        if self._attempts == 0:
            return f"{said} has not been asked yet"
        outcomes = [
            outcome.text(f" at {address}" if len(self._outcomes) > 1 else "")
            for address, outcome in self._outcomes.items()
        ]
        open_s = 0.0 if self._socket is None else (now_ms() - self._began_ms) / 1000
        if not outcomes or open_s >= SLOW_S:
            since = "since then " if outcomes else ""
            what = "it accepts the connection, and has not answered" if self._accepted else "it has not answered"
            outcomes.append(f"{since}{what} for {open_s:.1f} s")
        return f"{said}: {'; '.join(outcomes)}"

    def start(self) -> None:
        """Begin one attempt; each that fails is followed by another after PROBE_INTERVAL_MS."""
        self._received = b""
        self._accepted = False
        self._address = ""
        self._began_ms = now_ms()
        self._attempts += 1
        try:
            # As bytes: for a str Python imports idna, 3 ms and a file, which may not be to be had.
            host = self._rule.host.strip("[]").encode("ascii")
            addresses = socket.getaddrinfo(host, self._rule.port, type=socket.SOCK_STREAM)
            # A name may stand for several, such as localhost for ::1 and 127.0.0.1: each has its turn.
            family, kind, proto, _, address = addresses[(self._attempts - 1) % len(addresses)]
            self._address = str(address[0])
            self._socket = socket.socket(family, kind, proto)
            self._socket.setblocking(False)
            if (error := self._socket.connect_ex(address)) not in (0, errno.EINPROGRESS):
                return self._again(os.strerror(error))
        except (OSError, UnicodeError) as error:  # no descriptor left, or a host that is no name
            return self._again(_reason(error))
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
            return self._again(_reason(error))
        self._accepted = True
        self._reactor.watch(probe.fileno(), self._answered)
        return None

    def _answered(self) -> None:
        assert self._socket is not None, "BUG: watched without a socket"  # noqa: S101
        try:
            data = self._socket.recv(65536)
            self._received += data
            status = parse_status(self._received)
        except (OSError, HttpError) as error:
            return self._again(_reason(error))
        if status is None and data:
            return None
        if status is None:
            return self._again("the connection is closed without an answer")
        if status not in self._rule.healthy:
            return self._again(f"answered with {status}")
        self.stop()
        self._on_ready(status)
        return None

    def _again(self, text: str) -> None:
        outcome = self._outcomes.get(self._address)
        if outcome is None or outcome.what != text:
            outcome = self._outcomes[self._address] = _Outcome(text, self._began_ms)
        outcome.times += 1
        outcome.last_ms = self._began_ms
        self.stop()
        self._reactor.set_timer(self, PROBE_INTERVAL_MS, self.start)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


@dataclass(slots=True, eq=False)
class _Request:
    socket: socket.socket
    received: bytes = b""
    held: bool = False
    answered: bool = False
    close: bool = False


class Gate:
    """Listens on loopback for the adapter's readiness check, and holds each request until `answer`.

    `on_asked` is called for each request that has arrived whole, and `on_hung_up` for each whose connection has ended
    before its answer, with the number of those that are still held. Connections are kept alive.
    """

    def __init__(
        self,
        host: str,
        port: int,
        reactor: Reactor,
        log: Log,
        on_asked: Callable[[], None],
        on_hung_up: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._reactor = reactor
        self._log = log
        self._on_asked = on_asked
        self._on_hung_up = on_hung_up
        self._requests: dict[int, _Request] = {}
        self._door = Door(_listen(host, port), reactor, self._accepted)

    def answer(self, status: int) -> int:
        """Answer every held request with the app's own status, which is one that the adapter takes for healthy.

        Returns how many had their answer written to a connection that was still open. The others are forgotten without
        a call of `on_hung_up`: the number says it.
        """
        answered = 0
        for key, request in list(self._requests.items()):
            if request.held:
                request.held = False
                answered += self._respond(key, request, status)
        return answered

    def close(self) -> None:
        """Hang up on everyone; a held request ends without an answer, which no adapter takes for ready."""
        for key in list(self._requests):
            self._forget(key)
        self._door.close()

    def _accepted(self, accepted: socket.socket) -> None:
        if len(self._requests) >= MAX_REQUESTS and not self._make_room():
            accepted.close()
            self._log.write("warning", "readiness_connection_closed", reason=f"there are {MAX_REQUESTS} others")
            return
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = accepted.fileno()
        request = self._requests[key] = _Request(accepted)
        self._expect_head(key, request)
        self._reactor.watch(key, lambda: self._ready(key, request))

    def _make_room(self) -> bool:
        """Drop a connection without a whole request: the adapter sends its own at once, and must not be shut out.

        One that was answered and says nothing more goes first, then the one that has been silent for longest.
        """
        silent = [key for key, request in self._requests.items() if not request.held]
        idle = [key for key in silent if self._requests[key].answered]
        for key in (idle or silent)[:1]:
            if not idle:
                self._log.write("warning", "readiness_connection_closed", reason="it sends nothing, and others come")
            self._forget(key)
        return bool(silent)

    def _expect_head(self, key: int, request: _Request) -> None:
        self._reactor.set_timer(request, HEAD_TIMEOUT_MS, lambda: self._drop(key, "no whole request in time"))

    def _ready(self, key: int, request: _Request) -> None:
        try:
            data = request.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._drop(key, str(error))
            return
        request.received += data
        if not data:
            self._lose(key, request)
        elif not request.held:
            self._read_on(key, request)
        elif len(request.received) > 65536:
            self._drop(key, "it sends on while its request is held")

    def _read_on(self, key: int, request: _Request) -> None:
        try:
            parsed = parse_request_head(request.received)
        except HttpError as error:
            self._drop(key, str(error))
            return
        if parsed is not None:
            request_line, headers, request.received = parsed
            request.close = request_line.endswith("/1.0") or headers.get("connection", "").lower() == "close"
            request.held = True
            self._reactor.cancel_timer(request)
            self._on_asked()  # what it raises is ours, and no fault of this peer: it must end the extension

    def _respond(self, key: int, request: _Request, status: int) -> bool:
        connection = "close" if request.close else "keep-alive"
        head = f"HTTP/1.1 {status} Ready\r\nContent-Length: 0\r\nConnection: {connection}\r\n\r\n".encode()
        try:
            is_open = not _has_hung_up(request.socket) and request.socket.send(head) == len(head)
        except OSError:
            is_open = False
        request.answered = True
        if request.close or not is_open:
            self._forget(key)
        elif request.received:  # the next request came while this one was held
            self._reactor.set_timer(request, 0, lambda: self._read_on(key, request))
        return is_open

    def _drop(self, key: int, reason: str) -> None:
        self._log.write("warning", "readiness_connection_closed", reason=reason)
        request = self._requests.get(key)
        if request is not None:
            self._lose(key, request)

    def _lose(self, key: int, request: _Request) -> None:
        self._forget(key)
        if request.held:
            self._on_hung_up(sum(other.held for other in self._requests.values()))

    def _forget(self, key: int) -> None:
        request = self._requests.pop(key, None)
        if request is not None:
            self._reactor.cancel_timer(request)
            self._reactor.unwatch(key)
            request.socket.close()


def _has_hung_up(connection: socket.socket) -> bool:
    """Whether the peer has closed its end, even if it has sent more than we have read."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))


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
