"""The thin shell around the lifecycle: what comes in becomes an event, and each action is carried out."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence

from snapext.clock import simulated
from snapext.clock.restore import JUMP_S
from snapext.wire.json_text import decode
from snapext.wire.messages import CONTROL, Described, Done, Hello, Message, StatusRequest
from snapext.wire.place import start_command_path
from snapext_extension.boundary import actions, events
from snapext_extension.boundary.lifecycle import Lifecycle
from snapext_extension.boundary.member import SignalledPid
from snapext_extension.boundary.settings import Identity
from snapext_extension.config import Config
from snapext_extension.kernel.clock import ClockWatch, SimulatedClockWatch
from snapext_extension.kernel.identity import new_identity
from snapext_extension.log import HOLD_MS, Log
from snapext_extension.observing import observes
from snapext_extension.peers.bridge import Bridge
from snapext_extension.peers.status import StatusDesk
from snapext_extension.platform.asking import ask
from snapext_extension.platform.gate import Gate
from snapext_extension.platform.http1 import HttpError, Response
from snapext_extension.platform.lambda_api import EVENT_NEXT, RESTORE_NEXT, LambdaApi
from snapext_extension.platform.probe import AppProbe
from snapext_extension.platform.report import report_to_extensions, report_to_runtime
from snapext_extension.presence import Presence
from snapext_extension.reactor import Reactor, now_ms
from snapext_extension.restoring import Restoring
from snapext_extension.surroundings import settings_of, warn_where_nothing_holds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from snapext_extension.kernel.look import Looker
    from snapext_extension.peers.search import SignalSearch


class Extension:
    """One life of the extension, from its registration to its end. `run` returns the exit status."""

    def __init__(self, config: Config, api: LambdaApi, log: Log, extensions_folder: str) -> None:
        self._config = config
        self._api = api
        self._log = log
        self._exit_status = 0
        self._app_status = 200
        self._folder = extensions_folder
        self._observes = observes(os.environ, extensions_folder)
        self._reactor = Reactor()
        log.when_held = lambda: self._reactor.set_timer(log, HOLD_MS, log.release)
        self._afterwards: deque[Callable[[], None]] = deque()
        self._gate: Gate | None = None
        self._bridge = Bridge(config.socket_path, os.geteuid(), self._reactor, log, self)
        self._signals: SignalSearch | None = None
        if config.snap_start and config.signals is not None:
            # Most functions send no signals, and need none of what it imports.
            from snapext_extension.peers.search import SignalSearch

            self._signals = SignalSearch(config.socket_path, config.signals, os.geteuid(), self._reactor, log, self)
        self._probe = AppProbe(config.readiness, self._reactor, self._on_app_ready)
        self._clock = ClockWatch(self._reactor, self._on_clock_set)
        self._presence = Presence(
            self._reactor, self._event, lambda key: self._lifecycle.is_watched(key), self._bridge.give_line
        )
        settings = settings_of(config, extensions_folder, observes=self._observes, log=log)
        machine = Lifecycle(settings, self._new_identity, lambda: self._probe.last_answer, self._presence.hook_on_board)
        self._restoring = Restoring(machine, self._carry_out, self._bridge, self._reactor, log)
        self._looker: Looker | None = None
        self._desk = StatusDesk(self._status, self._bridge.send, self._reactor)
        self._commands: set[int] = set()
        if config.mode == "gate":
            host = "::1" if config.readiness.host.strip("[]") == "::1" else "127.0.0.1"
            self._gate = self._restoring.gate = Gate(
                host, config.port, self._reactor, log, self._on_readiness_asked, self._on_readiness_hung_up
            )
        else:
            warn_where_nothing_holds(config, observes=self._observes, log=log)
        if config.snap_start:  # now, while there are descriptors to import it with
            self._looker = self._make_looker()

    def run(self) -> int:
        if self._config.snap_start:
            self._watch_clock()
        self._reactor.on_signal(signal.SIGTERM, self._on_sigterm)
        self._carry_out(self._lifecycle.start(now_ms()))
        if self._gate is not None or self._observes:
            self._probe.start()
        try:
            self._reactor.run()
        finally:
            self.close()
        return self._exit_status

    def close(self) -> None:
        self._probe.stop()
        self._clock.close()
        self._presence.close()
        self._bridge.close()
        if self._signals is not None:
            self._signals.close()
        if self._gate is not None:
            self._gate.close()
        self._reactor.close()

    def _new_identity(self) -> Identity:
        identity = new_identity()
        self._restoring.restored_monotonic = identity.restored_monotonic
        return identity

    def _watch_clock(self) -> None:
        if self._observes and (wall := simulated.wall_clock(os.environ)) is not None:
            SimulatedClockWatch(self._reactor, self._on_clock_set, wall).start()
        reason = self._clock.start()
        self._restoring.aside = self._clock.fd
        if reason is not None:
            level = "warning" if self._observes else "debug"  # else nothing but the log needs it
            message = f"the wall clock is not watched, and shows no restore: {reason}"
            self._log.write(level, "clock_not_watched", reason=reason, message=message)

    def _on_clock_set(self, by_s: float) -> None:
        """Somebody set the wall clock: a time that was read before is wrong by that much."""
        after_s, when = None, "before the restore"
        if self._restoring.restored_monotonic is not None:
            after_s = time.monotonic() - self._restoring.restored_monotonic
            when = f"{after_s * 1000:.0f} ms after the restore"
        message = f"the wall clock was set by {by_s:+.3f} s, {when}"
        after_ms = None if after_s is None else round(after_s * 1000, 3)
        self._log.release()
        self._log.write("info", "clock_set", by_s=round(by_s, 3), after_restore_ms=after_ms, message=message)
        if self._observes and by_s >= JUMP_S:
            self._event(events.RestoreSeen(f"the wall clock was set by {by_s:+.0f} s"))

    # --- what comes in ---------------------------------------------------------------------------------------------

    def _event(self, event: events.Event) -> None:
        self._carry_out(self._lifecycle.handle(event, now_ms()))

    def joined(self, key: int, pid: int, hello: Hello) -> None:
        if hello.role == CONTROL:
            self._commands.add(key)
            self._event(events.CommandJoined(key, pid))
            return
        self._presence.joined(key, pid, hello, has_board=self._config.snap_start)  # elsewhere no hook runs

    def said(self, key: int, message: Message) -> None:
        if isinstance(message, Described):
            self._desk.described(key, message)
        elif isinstance(message, StatusRequest):
            self._desk.ask(key)
        else:
            self._event(events.Said(key, message))

    def done(self, key: int, done: Done) -> None:
        todo = self._lifecycle.answered(key, done, now_ms())
        if todo:
            self._carry_out(todo)

    def left(self, key: int, pid: int) -> None:
        self._desk.left(key)
        if key in self._commands:
            self._commands.discard(key)
            self._event(events.CommandLeft(key))
        else:
            self._presence.left(key, pid)

    def _look(self, look: actions.Look) -> None:
        self._presence.look_at_lost()
        if not look.lost_only:
            started_ms = now_ms()
            self._looker = self._looker or self._make_looker()
            sightings = self._looker.look()
            self._event(events.Looked(sightings, now_ms() - started_ms))

    def _make_looker(self) -> Looker:
        # Its modules take 15 ms of CPU where they are not compiled. Most environments without SnapStart need none.
        from snapext_extension.kernel.look import Looker

        return Looker(self._config.readiness.port, start_command_path(self._config.socket_path), self._folder)

    def crowded(self, limit: int) -> None:
        self._event(events.Crowded(limit))

    def acknowledged(self, pids: tuple[int, ...], error: str | None, since_ticks: int | None) -> None:
        self._event(events.Acknowledged(pids, error, since_ticks))

    def signalled_ended(self, pid: int) -> None:
        self._event(events.Left(SignalledPid(pid)))

    def _status(self) -> dict[str, Any]:
        return {"mode": "observe" if self._observes else self._config.mode, **self._lifecycle.describe()}

    def _on_app_ready(self, status: int) -> None:
        self._app_status = status
        self._event(events.AppReady())

    def _on_readiness_asked(self) -> None:
        if not self._restoring.goes_straight(by_check=True):
            self._event(events.ReadinessAsked())

    def _on_readiness_hung_up(self, still_held: int) -> None:
        self._event(events.ReadinessHungUp(still_held))

    def _on_sigterm(self) -> None:
        """Lambda does not send it to an extension: the process that did has taken the boundary away."""
        state = self._lifecycle.state.value
        message = f"a process sent SIGTERM to the extension in state {state}: it ends, and no longer holds the boundary"
        self._log.write("warning", "terminated", state=state, message=message)
        self._exit_status = 128 + signal.SIGTERM
        self._reactor.stop()

    def _on_event_next(self, response: Response) -> None:
        event = decode(response.body.decode()) if response.status == 200 else {}
        if event.get("eventType") == "INVOKE" and self._observes:
            self._event(events.Invoked())
            return
        if event.get("eventType") != "SHUTDOWN":
            raise HttpError(f"event/next was answered with {response.status}: {response.body[:300]!r}")
        left_ms = max(0, int(event.get("deadlineMs", 0) - time.time() * 1000))
        self._event(events.ShutdownAsked(str(event.get("shutdownReason", "unknown")), left_ms))

    def _on_restore_next(self, response: Response) -> None:
        if response.status != 200 or not self._restoring.goes_straight(by_check=False):
            self._event(events.RestoreReturned(response.status, response.body.decode("utf-8", "replace")))

    # --- what is done ----------------------------------------------------------------------------------------------

    def _carry_out(self, todo: Sequence[actions.Action]) -> None:
        self._restoring.forget()
        self._carry_out_now(todo)
        while self._afterwards:
            self._afterwards.popleft()()
        self._restoring.prepare(self._app_status)

    @property
    def _lifecycle(self) -> Lifecycle:
        return self._restoring.lifecycle

    def _carry_out_now(self, todo: Sequence[actions.Action]) -> None:
        for action in todo:
            match action:  # those of a restore come first
                case actions.Tell(key, message):
                    self._bridge.send(key, message)
                case actions.TellAll(keys, message):
                    self._bridge.send_all(keys, message)
                case actions.SetTimer(timer, after_ms):
                    self._reactor.set_timer(timer, after_ms, lambda name=timer: self._on_timer(name))  # type: ignore[misc]
                case actions.CancelTimer(timer):
                    self._reactor.cancel_timer(timer)
                case actions.AnswerReadiness():
                    if self._gate is not None:
                        answered = self._gate.answer(self._app_status)
                        self._later(lambda count=answered: self._event(events.ReadinessAnswered(count)))  # type: ignore[misc]
                case actions.Report(level, event, fields):
                    self._log.write(level, event, **fields)
                case actions.SendSignals():
                    assert self._signals is not None, "BUG: no signals are set"  # noqa: S101
                    self._event(self._signals.send(action))
                case actions.Look():
                    self._later(lambda what=action: self._look(what))  # type: ignore[misc]
                case actions.AskEventNext():
                    self._restoring.prepare(self._app_status)  # from now on the snapshot may be taken
                    ask(self._api, EVENT_NEXT, self._reactor, self._on_event_next)
                case actions.AskRestoreNext():
                    ask(self._api, RESTORE_NEXT, self._reactor, self._on_restore_next)
                case actions.ForgetHungUp():
                    self._later(self._presence.watch_no_more_than_is_owed)
                case actions.Fail(failure):
                    report_to_runtime(self._api, self._log, failure)
                case actions.End(failure):
                    report_to_extensions(self._api, self._log, failure)
                    self._exit_status = failure.exit_status
                    self._reactor.stop()
                case actions.Stop():
                    self._reactor.stop()

    def _later(self, call: Callable[[], None]) -> None:
        """Call once the actions at hand are carried out, and before anything else."""
        self._afterwards.append(call)

    def _on_timer(self, timer: actions.TimerName) -> None:
        self._event(events.TimerFired(timer))
