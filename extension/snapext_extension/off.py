"""SNAPEXT_MODE=off: one life as it would be without snapext, whatever else is set. The lifecycle is not even imported.

One thing is left to do, where the web adapter's readiness check still points at us: each check is the app's to answer,
so the app is asked anew for each, also for the one after a restore. Nobody asks for restore/next but the adapter (1.1).
"""

from __future__ import annotations

import signal
from collections.abc import Mapping

from snapext.errors import ConfigError
from snapext.wire.json_text import decode
from snapext_extension import adapter_config
from snapext_extension.adapter_config import ENV_LWA_READINESS_PORT, ENV_LWA_READINESS_PROTOCOL, Readiness
from snapext_extension.boundary.failures import app_not_ready
from snapext_extension.config import DEFAULT_PORT, ENV_LOG_LEVEL, ENV_MODE, ENV_PORT
from snapext_extension.log import LEVELS, Log
from snapext_extension.platform.gate import Gate
from snapext_extension.platform.http1 import HttpError, Response, parse_response
from snapext_extension.platform.lambda_api import EVENT_NEXT, LambdaApi
from snapext_extension.platform.probe import AppProbe
from snapext_extension.reactor import Reactor, now_ms
from snapext_extension.values import first, integer

WAITING_EVERY_MS = 3_000
"""How often the log says what a check waits for: the adapter's own line names our port, and not the app's."""
COUNTS = (ENV_MODE, ENV_PORT, ENV_LOG_LEVEL)
SAID = "SNAPEXT_MODE=off: no process is linked, no signal is sent, and no hook runs. Unset it to have the hooks run"


def log_level(environ: Mapping[str, str]) -> str:
    """The level that is set, if it is one."""
    level = environ.get(ENV_LOG_LEVEL)
    return level if level in LEVELS else "info"


def gate_port(environ: Mapping[str, str]) -> int | None:
    """The port at which the adapter's readiness check expects us; None if it does not, or the app itself is there."""
    try:
        port = integer(environ, ENV_PORT, DEFAULT_PORT, 1, 65535)
    except ConfigError:
        port = DEFAULT_PORT
    if first(environ, ENV_LWA_READINESS_PORT, "READINESS_CHECK_PORT")[1] != str(port):
        return None
    return None if adapter_config.readiness(environ).port == port else port


class Off:
    """One life of the extension, from its registration to its end. `run` returns the exit status."""

    def __init__(self, environ: Mapping[str, str], api: LambdaApi, log: Log) -> None:
        """Raises ConfigError where the adapter's own settings leave open when the app is ready."""
        # A process that sends it to all others would not reach us if we were not attached.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._api = api
        self._reactor = Reactor()
        self._relay: Relay | None = None
        if (port := gate_port(environ)) is not None:
            protocol = first(environ, ENV_LWA_READINESS_PROTOCOL, "READINESS_CHECK_PROTOCOL")[1]
            is_tcp = (protocol or "http").lower() == "tcp"
            self._relay = Relay(port, adapter_config.readiness(environ), self._reactor, log, tcp=is_tcp)
        ignored = sorted(name for name in environ if name.startswith("SNAPEXT_") and name not in COUNTS)
        log.write("warning", "off", ignored=ignored, message=SAID)

    def run(self) -> int:
        self._ask_event()
        try:
            self._reactor.run()
        finally:
            if self._relay is not None:
                self._relay.close()
            self._reactor.close()
        return 0

    def _ask_event(self) -> None:
        connection = self._api.ask(EVENT_NEXT)
        received = b""

        def readable() -> None:
            nonlocal received
            try:
                data = connection.recv(65536)
            except BlockingIOError:
                return  # woken for a descriptor of the same number, which is gone
            received += data
            response = parse_response(received, ended=not data)
            if response is not None:
                self._reactor.unwatch(connection.fileno())
                connection.close()
                self._on_event(response)

        connection.setblocking(False)
        self._reactor.watch(connection.fileno(), readable)

    def _on_event(self, response: Response) -> None:
        event = decode(response.body.decode()) if response.status == 200 else {}
        if event.get("eventType") != "SHUTDOWN":
            raise HttpError(f"event/next was answered with {response.status}: {response.body[:300]!r}")
        self._reactor.stop()


class Relay:
    """The web adapter's readiness checks, each answered by the app.

    tcp: the adapter takes a connection for ready, so we listen only when the app does.
    """

    def __init__(self, port: int, readiness: Readiness, reactor: Reactor, log: Log, *, tcp: bool) -> None:
        self._port = port
        self._host = "::1" if readiness.host.strip("[]") == "::1" else "127.0.0.1"
        self._reactor = reactor
        self._log = log
        self._probe = AppProbe(readiness, reactor, self._on_app_ready, tcp=tcp)
        self._asked_ms: float | None = None
        self._gate: Gate | None = None
        if tcp:
            self._ask()
        else:
            self._open()

    def close(self) -> None:
        self._stop_asking()
        if self._gate is not None:
            self._gate.close()

    def _open(self) -> None:
        self._gate = Gate(self._host, self._port, self._reactor, self._log, self._on_asked, self._on_hung_up)

    def _on_asked(self) -> None:
        if self._asked_ms is None:
            self._ask()

    def _ask(self) -> None:
        self._asked_ms = now_ms()
        self._probe.start()
        self._reactor.set_timer(self, WAITING_EVERY_MS, self._say_waiting)

    def _stop_asking(self) -> None:
        self._asked_ms = None
        self._probe.stop()
        self._reactor.cancel_timer(self)

    def _say_waiting(self) -> None:
        assert self._asked_ms is not None, "BUG: nothing is waited for"  # noqa: S101
        self._reactor.set_timer(self, WAITING_EVERY_MS, self._say_waiting)
        message = f"the web adapter waits: {app_not_ready(self._probe.last_answer, 0)}"
        self._log.write("info", "waiting", waited_ms=round(now_ms() - self._asked_ms), message=message)

    def _on_hung_up(self, still_held: int) -> None:
        """The adapter asks anew, and so do we: the app may not have seen the end of the question before."""
        if not still_held:
            self._stop_asking()

    def _on_app_ready(self, status: int) -> None:
        self._stop_asking()
        if self._gate is None:
            self._open()
        else:
            self._gate.answer(status)
