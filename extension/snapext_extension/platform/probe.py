"""Asks the app whether it is ready, under the web adapter's own rule."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from snapext_extension.adapter_config import Readiness
from snapext_extension.platform.http1 import HttpError, parse_status
from snapext_extension.reactor import WRITE, Reactor, now_ms

PROBE_INTERVAL_MS = 10
"""How often the web adapter itself asks, so that we are no slower to see that the app is ready."""
SLOW_S = 1.0
"""We say how long an attempt takes that takes longer."""


class _Outcome:
    """What came of asking the app at one address, since when and how often it has been the same."""

    __slots__ = ("first_ms", "last_ms", "times", "what")

    def __init__(self, what: str, first_ms: float) -> None:
        self.what = what
        self.first_ms = first_ms
        self.last_ms = 0.0
        self.times = 0

    def text(self, where: str) -> str:
        often = f" (asked {self.times} times in {(self.last_ms - self.first_ms) / 1000:.1f} s)"
        return f"{self.what}{where}{often if self.times > 1 else ''}"


class AppProbe:
    """Asks the app until it is ready, then calls `on_ready` with the status of its answer, once for each `start`.

    tcp: the app is ready when it accepts a connection, and the status is 200.
    When the app accepts a connection and never answers, the probe waits, as the adapter would; `last_answer` says so.
    """

    def __init__(
        self, rule: Readiness, reactor: Reactor, on_ready: Callable[[int], None], *, tcp: bool = False
    ) -> None:
        self._rule = rule
        self._tcp = tcp
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
            what = "it accepts the connection, but has not answered" if self._accepted else "it has not answered"
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
            # As bytes: for a str Python imports idna, 3 ms and a file, for which there may be no descriptor.
            host = self._rule.host.strip("[]").encode("ascii")
            addresses = socket.getaddrinfo(host, self._rule.port, type=socket.SOCK_STREAM)
            # A name may stand for several addresses, as localhost does for ::1 and 127.0.0.1: each has its turn.
            family, kind, proto, _, address = addresses[(self._attempts - 1) % len(addresses)]
            self._address = str(address[0])
            self._socket = socket.socket(family, kind, proto)
            self._socket.setblocking(False)
            if (error := self._socket.connect_ex(address)) not in (0, errno.EINPROGRESS):
                return self._again(os.strerror(error))
        except (OSError, UnicodeError) as error:  # no descriptor is left, or the host is no name
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
            if self._tcp:
                return self._is_ready(200)
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
            return self._again("the app closed the connection without an answer")
        if status not in self._rule.healthy:
            return self._again(f"answered with {status}")
        return self._is_ready(status)

    def _is_ready(self, status: int) -> None:
        self.stop()
        self._on_ready(status)

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
