"""The readiness gate: the web adapter's check is held here until somebody answers it."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable

from snapext.errors import SnapextError
from snapext_extension.door import Door
from snapext_extension.log import Log
from snapext_extension.platform.http1 import HttpError, parse_request_head
from snapext_extension.reactor import Reactor

MAX_CONNECTIONS = 64
"""An adapter holds one; a few more are somebody's curiosity, and beyond that a flood."""
HEAD_TIMEOUT_MS = 5_000


class GateError(SnapextError):
    """The gate cannot listen on its port. The text says on which, and why."""


class _Connection:
    """A connection of the adapter's, or of somebody else's. held: its check waits for our answer."""

    __slots__ = ("answered", "close", "held", "received", "socket")

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.received = b""
        self.held = False
        self.answered = False
        self.close = False


class Gate:
    """Listens on loopback for the adapter's readiness checks, and holds each check until `answer`.

    `on_asked` is called for each check that has arrived whole, and `on_hung_up` for each check whose connection has
    ended before its answer, with the number of checks that are still held. Connections are kept alive.
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
        self._connections: dict[int, _Connection] = {}
        self._same: bytes | None = None  # the last whole check
        self._same_closes = False  # whether its connection ends with the answer
        self._door = Door(_listen(host, port), reactor, self._accepted)

    def answer(self, status: int) -> int:
        """Answer every held check with the app's own status, which is one that the adapter takes for healthy.

        Returns how many answers were written to a connection that was still open. The other connections are forgotten
        without a call of `on_hung_up`: the number tells the caller.
        """
        answered = 0
        for key, connection in list(self._connections.items()):
            if connection.held:
                connection.held = False
                answered += self._respond(key, connection, status)
        return answered

    def open(self, status: int) -> None:
        """The same when nothing depends any more on who has hung up: that shows when we read."""
        for key, connection in list(self._connections.items()):
            if connection.held:
                connection.held = False
                self._send(key, connection, status)

    def close(self) -> None:
        """Hang up on everyone; a held check ends without an answer, which no adapter takes for ready."""
        for key in list(self._connections):
            self._forget(key)
        self._door.close()

    def _accepted(self, accepted: socket.socket) -> None:
        if len(self._connections) >= MAX_CONNECTIONS and not self._make_room():
            self._complain(f"the gate has {MAX_CONNECTIONS} connections already")
            accepted.close()
            return
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = accepted.fileno()
        connection = self._connections[key] = _Connection(accepted)
        self._expect_head(key, connection)
        self._reactor.watch(key, lambda: self._ready(key, connection))

    def _make_room(self) -> bool:
        """Drop a connection without a whole check: the adapter sends its own at once, and must not be shut out.

        An answered connection that sends nothing more goes first, then the connection that has been silent for longest.
        """
        silent = [key for key, connection in self._connections.items() if not connection.held]
        idle = [key for key in silent if self._connections[key].answered]
        for key in (idle or silent)[:1]:
            if not idle:
                self._complain("it sends nothing, and another one needs its place")
            self._forget(key)
        return bool(silent)

    def _expect_head(self, key: int, connection: _Connection) -> None:
        reason = f"it sent no whole request within {HEAD_TIMEOUT_MS / 1000:g} s"
        self._reactor.set_timer(connection, HEAD_TIMEOUT_MS, lambda: self._drop(key, reason))

    def _ready(self, key: int, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._drop(key, str(error))
            return
        connection.received += data
        if not data:
            self._lose(key, connection)
        elif not connection.held:
            self._read_on(key, connection)
        elif len(connection.received) > 65536:
            self._drop(key, "it sends more while its check is held")

    def _read_on(self, key: int, connection: _Connection) -> None:
        data = connection.received
        if data == self._same:  # an adapter asks the same in the same words: what they say is known
            connection.received, connection.close, is_whole = b"", self._same_closes, True
        else:
            try:
                is_whole = self._parse(connection)
            except HttpError as error:
                self._drop(key, str(error))
                return
        if is_whole:
            if not connection.received:
                self._same, self._same_closes = data, connection.close
            connection.held = True
            self._reactor.cancel_timer(connection)
            self._on_asked()  # what it raises is ours, and no fault of this peer: it must end the extension

    def _parse(self, connection: _Connection) -> bool:
        """Take the head of a request. Returns whether it is whole; raises HttpError if it is malformed."""
        parsed = parse_request_head(connection.received)
        if parsed is None:
            return False
        request_line, headers, connection.received = parsed
        connection.close = request_line.endswith("/1.0") or headers.get("connection", "").lower() == "close"
        return True

    def _respond(self, key: int, connection: _Connection, status: int) -> bool:
        if not _has_hung_up(connection.socket):
            return self._send(key, connection, status)
        self._forget(key)
        return False

    def _send(self, key: int, connection: _Connection, status: int) -> bool:
        word = "close" if connection.close else "keep-alive"
        head = f"HTTP/1.1 {status} Ready\r\nContent-Length: 0\r\nConnection: {word}\r\n\r\n".encode()
        try:
            is_open = connection.socket.send(head) == len(head)
        except OSError:
            is_open = False
        connection.answered = True
        if connection.close or not is_open:
            self._forget(key)
        elif connection.received:  # the next check came while this one was held
            self._reactor.set_timer(connection, 0, lambda: self._read_on(key, connection))
        return is_open

    def _drop(self, key: int, reason: str) -> None:
        self._complain(reason)
        connection = self._connections.get(key)
        if connection is not None:
            self._lose(key, connection)

    def _lose(self, key: int, connection: _Connection) -> None:
        self._forget(key)
        if connection.held:
            self._on_hung_up(sum(other.held for other in self._connections.values()))

    def _complain(self, reason: str) -> None:
        self._log.write("warning", "readiness_connection_closed", reason=reason)

    def _forget(self, key: int) -> None:
        connection = self._connections.pop(key, None)
        if connection is not None:
            self._reactor.cancel_timer(connection)
            self._reactor.unwatch(key)
            connection.socket.close()


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
            f"snapext cannot listen on port {port} (SNAPEXT_PORT): {os.strerror(error.errno or 0)}; "
            "set SNAPEXT_PORT and AWS_LWA_READINESS_CHECK_PORT to another port"
        ) from error
    server.setblocking(False)
    return server
