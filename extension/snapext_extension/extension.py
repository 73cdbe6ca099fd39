"""The thin shell around the lifecycle: what comes in becomes an event, and each action is carried out."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from snapext import _signals
from snapext._endpoint import acknowledgement_path, start_command_path
from snapext.protocol import CONTROL, Checkpoint, Described, Done, Hello, Hooks, Message, Running, StatusRequest
from snapext_extension import adapter, events, lifecycle, processes
from snapext_extension.bridge import Bridge
from snapext_extension.config import ENV_LWA_READINESS_PORT, Config
from snapext_extension.failures import BEFORE_SNAPSHOT, EXIT_OTHER, Failure, Process
from snapext_extension.http1 import HttpError, Response, parse_response
from snapext_extension.identity import new_identity
from snapext_extension.lambda_api import (
    EVENT_NEXT,
    EXTENSION_EXIT_ERROR,
    EXTENSION_INIT_ERROR,
    INIT_ERROR,
    RESTORE_ERROR,
    RESTORE_NEXT,
    LambdaApi,
)
from snapext_extension.log import Log
from snapext_extension.reactor import Reactor, now_ms
from snapext_extension.readiness import AppProbe, Gate
from snapext_extension.signals import Doorbell, SignalError, candidates
from snapext_extension.status import StatusDesk

CLOCK_JUMP_S = 0.5
NO_GATE = (
    f"nothing holds the boundary: set {ENV_LWA_READINESS_PORT}={{port}} so that the web adapter waits for the hooks; "
    "without it they run only if the function runs `snapext checkpoint` (SNAPEXT_MODE=explicit insists on that)"
)
MAX_WATCHED = 100
"""Of more processes that have lost their connection we do not wait for the return."""


class Extension:
    """One life of the extension, from its registration to its end. `run` returns the exit status."""

    def __init__(self, config: Config, api: LambdaApi, log: Log, extensions_folder: str) -> None:
        self._config = config
        self._api = api
        self._log = log
        self._exit_status = 0
        self._watched: set[int] = set()
        self._clock_offset_s = _clock_offset_s()
        self._app_status = 200
        self._reactor = Reactor()
        self._gate: Gate | None = None
        self._bridge = Bridge(config.socket_path, os.geteuid(), self._reactor, log, self)
        self._doorbell: Doorbell | None = None
        if config.snap_start and config.signals is not None:
            pipe = acknowledgement_path(config.socket_path)
            self._doorbell = Doorbell(pipe, os.geteuid(), self._reactor, log, self)
        self._probe = AppProbe(config.readiness, self._reactor, self._on_app_ready)
        self._lifecycle = lifecycle.Lifecycle(
            self._settings(extensions_folder), new_identity, lambda: self._probe.last_answer
        )
        self._desk = StatusDesk(self._status, self._bridge.send, self._reactor)
        self._commands: set[int] = set()
        self._warned_of: set[tuple[int, str]] = set()
        self._exempt: set[int] = set()
        if config.mode == "gate":
            host = "::1" if config.readiness.host.strip("[]") == "::1" else "127.0.0.1"
            self._gate = Gate(host, config.port, self._reactor, log, self._on_readiness_asked)
        elif config.snap_start and config.mode == "auto":
            log.write("warning", "no_gate", message=NO_GATE.format(port=config.port))

    def run(self) -> int:
        self._carry_out(self._lifecycle.start(now_ms()))
        if self._gate is not None:
            self._probe.start()
        try:
            self._reactor.run()
        finally:
            self.close()
        return self._exit_status

    def close(self) -> None:
        self._probe.stop()
        self._bridge.close()
        if self._doorbell is not None:
            self._doorbell.close()
        if self._gate is not None:
            self._gate.close()

    def _settings(self, extensions_folder: str) -> lifecycle.Settings:
        config = self._config
        found = adapter.inspect(extensions_folder)
        caller = lifecycle.RestoreCaller.EXTENSION
        if config.restore_caller is not None:
            caller = lifecycle.RestoreCaller(config.restore_caller)
        elif config.mode == "gate" and found is not None and found.asks_restore_next:
            caller = lifecycle.RestoreCaller.ADAPTER
        return lifecycle.Settings(
            boundary=config.snap_start,
            gate=config.mode == "gate",
            held=config.snap_start and config.mode in ("gate", "explicit"),
            signals=config.signals is not None,
            acknowledged=config.signal_ack,
            restore_caller=caller,
            checks_before_snapshot=adapter.checks_before_snapshot(
                found, posts_before_checkpoint=config.posts_before_checkpoint
            ),
            workers=config.workers,
            settle_ms=config.settle_ms,
            ready_timeout_ms=config.ready_timeout_ms,
            before_snapshot_timeout_ms=config.before_snapshot_timeout_ms,
            after_restore_timeout_ms=config.after_restore_timeout_ms,
        )

    # --- what comes in ---------------------------------------------------------------------------------------------

    def _event(self, event: events.Event) -> None:
        self._carry_out(self._lifecycle.handle(event, now_ms()))

    def joined(self, key: int, pid: int, hello: Hello) -> None:
        if hello.role == CONTROL:
            self._commands.add(key)
            self._event(events.CommandJoined(key, pid))
            return
        # One that is gone already has no parent and is taken to be as old as can be: it is owed its hooks.
        stat = processes.stat(pid)
        parent_pid, start_ticks = (0, 0) if stat is None else (stat.parent_pid, stat.start_ticks)
        process = Process(pid, hello.name)
        self._event(
            events.Joined(
                key, process, parent_pid, hello.hooks, hello.generation, hello.forked, start_ticks, hello.signalled
            )
        )

    def said(self, key: int, message: Message) -> None:
        if isinstance(message, Running):
            self._event(events.HookStarted(key, message.id, message.hook))
        elif isinstance(message, Done):
            self._event(events.PhaseDone(key, message))
        elif isinstance(message, Hooks):
            self._event(events.HooksChanged(key, message.hooks))
        elif isinstance(message, Described):
            self._desk.described(key, message)
        elif isinstance(message, Checkpoint):
            self._event(events.CheckpointAsked(key))
        elif isinstance(message, StatusRequest):
            self._desk.ask(key)

    def left(self, key: int, pid: int) -> None:
        """A connection has ended; if its process has not, the kernel tells us when it does (pidfd_open(2))."""
        self._desk.left(key)
        if key in self._commands:
            self._commands.discard(key)
            self._event(events.CommandLeft(key))
            return
        try:
            if len(self._watched) >= MAX_WATCHED:
                raise OSError
            process = os.pidfd_open(pid)
        except OSError:  # gone already
            self._event(events.Left(key))
            return
        self._watched.add(process)
        self._event(events.Left(key, alive=True))
        self._reactor.watch(process, lambda: self._ended(key, process))

    def _ended(self, key: int, process: int) -> None:
        self._reactor.unwatch(process)
        self._watched.discard(process)
        os.close(process)
        self._event(events.Left(key))

    def crowded(self, limit: int) -> None:
        self._event(events.Crowded(limit))

    def acknowledged(self, pids: tuple[int, ...], error: str | None, since_ticks: int | None) -> None:
        self._event(events.Acknowledged(pids, error, since_ticks))

    def rung_ended(self, pid: int) -> None:
        self._event(events.Left(-pid))

    def _status(self) -> dict[str, Any]:
        return {"mode": self._config.mode, **self._lifecycle.describe()}

    def _on_app_ready(self, status: int) -> None:
        self._app_status = status
        self._event(events.AppReady())

    def _on_readiness_asked(self) -> None:
        offset_s = _clock_offset_s()
        jumped, self._clock_offset_s = offset_s - self._clock_offset_s > CLOCK_JUMP_S, offset_s
        self._event(events.ReadinessAsked(jumped))

    def _on_event_next(self, response: Response) -> None:
        event = json.loads(response.body or b"{}")
        if response.status != 200 or event.get("eventType") != "SHUTDOWN":
            raise HttpError(f"event/next was answered with {response.status}: {response.body[:300]!r}")
        left_ms = max(0, int(event.get("deadlineMs", 0) - time.time() * 1000))
        self._event(events.ShutdownAsked(str(event.get("shutdownReason", "unknown")), left_ms))

    def _on_restore_next(self, response: Response) -> None:
        self._event(events.RestoreReturned(response.status, response.body.decode("utf-8", "replace")))

    # --- what is done ----------------------------------------------------------------------------------------------

    def _carry_out(self, actions: list[events.Action]) -> None:
        for action in actions:
            match action:
                case events.Tell(key, message):
                    self._bridge.send(key, message)
                case events.SetTimer(timer, after_ms):
                    self._reactor.set_timer(timer, after_ms, lambda name=timer: self._on_timer(name))  # type: ignore[misc]
                case events.CancelTimer(timer):
                    self._reactor.cancel_timer(timer)
                case events.AnswerReadiness():
                    if self._gate is not None:
                        self._gate.answer(self._app_status)
                case events.Ring():
                    self._ring(action)
                case events.AskEventNext():
                    self._ask(EVENT_NEXT, self._on_event_next)
                case events.AskRestoreNext():
                    self._ask(RESTORE_NEXT, self._on_restore_next)
                case events.Report(level, event, fields):
                    self._log.write(level, event, **fields)
                case events.Fail(failure):
                    self._fail(failure)
                case events.Stop():
                    self._reactor.stop()

    def _ring(self, ring: events.Ring) -> None:
        """Signal those of the function's processes that catch the signal of this phase."""
        signals = self._config.signals
        assert signals is not None and self._doorbell is not None, "BUG: rings without signals"  # noqa: S101, PT018
        number = signals[0 if ring.phase == BEFORE_SNAPSHOT else 1]
        self._exempt.update(pid for caller in ring.callers for pid in processes.ancestors(caller))
        try:
            found = candidates(start_command_path(self._config.socket_path), ring.left_alone, self._exempt, number)
            rung = self._doorbell.ring(found.told, number)
        except SignalError as error:
            self._event(events.SignalsFailed(str(error)))
            return
        self._warn_of_those_who_wait(ring.phase, number, found.waiting)
        told = tuple(Process(process.pid, process.name) for process in rung)
        fleeting = bool(found.fleeting) and not ring.accept_fleeting
        missing = None if fleeting else _first_alive(ring.expected - {process.pid for process in rung})
        self._event(events.Rung(told, _signals.name(number), missing, fleeting))

    def _warn_of_those_who_wait(self, phase: str, number: int, waiting: list[processes.Stat]) -> None:
        """Who waits for `snapext checkpoint` is not signalled: if it catches the signal, say that it was not told."""
        for stat in waiting:
            if (stat.pid, phase) not in self._warned_of and processes.catches(stat.pid, number):
                self._warned_of.add((stat.pid, phase))
                why = f"it waits for `snapext checkpoint`, and was not sent {_signals.name(number)}, which it catches"
                self._log.write("warning", "not_signalled", pid=stat.pid, name=stat.name, phase=phase, message=why)

    def _on_timer(self, timer: events.TimerName) -> None:
        self._event(events.TimerFired(timer))

    def _ask(self, path: str, on_response: Callable[[Response], None]) -> None:
        """Ask the platform for something that it answers in its own time."""
        connection = self._api.ask(path)
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
                on_response(response)

        connection.setblocking(False)
        self._reactor.watch(connection.fileno(), readable)

    def _fail(self, failure: Failure) -> None:
        """Tell the platform, in the order in which it wants to hear it, and end."""
        report(self._api, self._log, failure)
        self._exit_status = failure.exit_status
        self._reactor.stop()


def _first_alive(pids: frozenset[int]) -> Process | None:
    stats = (processes.stat(pid) for pid in sorted(pids))
    return next((Process(stat.pid, stat.name) for stat in stats if stat is not None and stat.state not in "ZX"), None)


def report(api: LambdaApi, log: Log, failure: Failure, extension_path: str = EXTENSION_EXIT_ERROR) -> None:
    """Log a failure and report it to the Runtime API, where it takes it, and to the Extensions API."""
    error, process = failure.error, failure.process
    log.write(
        "error",
        "failed",
        phase=failure.phase,
        error_type=failure.error_type,
        message=failure.message,
        pid=process.pid if process else None,
        name=process.name if process else None,
        hook=error.hook if error else None,
        type=error.type if error else failure.error_type,
        reason=error.message if error else failure.message,
        stack=error.stack if error else "",
    )
    body = {
        "errorMessage": failure.message,
        "errorType": failure.error_type,
        "stackTrace": error.stack.splitlines() if error else [],
    }
    data = json.dumps(body).encode()
    if failure.runtime_report is not None:
        path = INIT_ERROR if failure.runtime_report == "init" else RESTORE_ERROR
        _report_to(api, log, path, failure.error_type, data)
    _report_to(api, log, extension_path, f"Extension.{failure.error_type.partition('.')[2]}", data)


def report_bad_start(api: LambdaApi, log: Log, error_type: str, message: str, exit_status: int = EXIT_OTHER) -> None:
    """Report that we cannot do our work at all: initialisation ends."""
    report(api, log, Failure("init", error_type, message, exit_status, None), EXTENSION_INIT_ERROR)


def _report_to(api: LambdaApi, log: Log, path: str, error_type: str, body: bytes) -> None:
    try:
        response = api.report(path, error_type, body)
    except (OSError, HttpError) as error:
        log.write("error", "report_failed", path=path, message=str(error))
        return
    if response.status != 202:
        log.write(
            "error",
            "report_refused",
            path=path,
            status=response.status,
            body=response.body[:300].decode("utf-8", "replace"),
        )


def _clock_offset_s() -> float:
    """How far the wall clock is ahead of the monotonic one. It jumps over a restore and at no other time."""
    return time.time() - time.monotonic()


__all__ = ["Extension", "report", "report_bad_start"]
