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
from snapext_extension.adapter_config import ENV_LWA_READINESS_PORT
from snapext_extension.boundary import actions, events
from snapext_extension.boundary.failures import Process
from snapext_extension.boundary.lifecycle import Lifecycle
from snapext_extension.boundary.member import SignalledPid
from snapext_extension.boundary.settings import Identity, RestoreCaller, Settings
from snapext_extension.boundary.states import State
from snapext_extension.config import Config, warnings
from snapext_extension.kernel import processes, watch
from snapext_extension.kernel.clock import ClockWatch, SimulatedClockWatch
from snapext_extension.kernel.identity import identity_at, new_identity
from snapext_extension.kernel.watch import ProcessWatch
from snapext_extension.log import HOLD_MS, Log
from snapext_extension.observing import observes
from snapext_extension.peers.board import Board
from snapext_extension.peers.bridge import MAX_CONNECTIONS, Bridge
from snapext_extension.peers.lines import read_done
from snapext_extension.peers.status import StatusDesk
from snapext_extension.platform import adapter
from snapext_extension.platform.gate import Gate
from snapext_extension.platform.http1 import HttpError, Response, is_ok, parse_response
from snapext_extension.platform.lambda_api import EVENT_NEXT, RESTORE_NEXT, LambdaApi
from snapext_extension.platform.probe import AppProbe
from snapext_extension.platform.report import report_to_extensions, report_to_runtime
from snapext_extension.reactor import Reactor, now_ms
from snapext_extension.straight import Straight

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from snapext_extension.kernel.look import Looker
    from snapext_extension.peers.search import SignalSearch
    from snapext_extension.straight import Crossing

OBSERVES = (
    f"snapext only observes: set {ENV_LWA_READINESS_PORT}={{port}}, and no request is served before the after-restore "
    "hooks have run. Without it they run when the clock or the first invocation shows the restore; "
    "snapext.asgi.SnapStartMiddleware (or snapext.wsgi, snapext.django) in the app holds the requests meanwhile"
)
NO_GATE = (
    f"nothing holds the boundary: set {ENV_LWA_READINESS_PORT}={{port}} so that the web adapter waits for the hooks; "
    "without it they run only if the function runs `snapext checkpoint` (SNAPEXT_MODE=explicit insists on that)"
)

RESTORED = Response(200, {}, b"")
"""What restore/next says with this status is in it: a restore does not wait for the parsing of headers."""


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
        self._restored_monotonic: float | None = None
        self._lost: dict[int, int] = {}  # the connection that a process has lost, by its pid
        self._board = Board(MAX_CONNECTIONS, lambda pid: pid not in self._lost and watch.has_ended(pid))
        self._machine = Lifecycle(
            self._settings(), self._new_identity, lambda: self._probe.last_answer, self._board.hook
        )
        self._looker: Looker | None = None
        self._watch = ProcessWatch(self._reactor, self._ended)
        self._images: dict[int, watch.Image | None] = {}
        self._desk = StatusDesk(self._status, self._bridge.send, self._reactor)
        self._commands: set[int] = set()
        self._straight: Straight | None = None  # how a restore would go from here
        self._crossing: Crossing | None = None  # how one went, of which the machine knows nothing yet
        if config.mode == "gate":
            host = "::1" if config.readiness.host.strip("[]") == "::1" else "127.0.0.1"
            self._gate = Gate(
                host, config.port, self._reactor, log, self._on_readiness_asked, self._on_readiness_hung_up
            )
        elif self._observes:
            log.write("warning", "observes", message=OBSERVES.format(port=config.port))
        elif config.snap_start and config.mode == "auto":
            log.write("warning", "no_gate", message=NO_GATE.format(port=config.port))
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
        self._watch.close()
        self._bridge.close()
        self._board.close()
        if self._signals is not None:
            self._signals.close()
        if self._gate is not None:
            self._gate.close()
        self._reactor.close()

    def _new_identity(self) -> Identity:
        identity = new_identity()
        self._restored_monotonic = identity.restored_monotonic
        return identity

    def _watch_clock(self) -> None:
        if self._observes and (wall := simulated.wall_clock(os.environ)) is not None:
            SimulatedClockWatch(self._reactor, self._on_clock_set, wall).start()
        reason = self._clock.start()
        if reason is not None:
            level = "warning" if self._observes else "debug"  # else nothing but the log needs it
            message = f"the wall clock is not watched, and shows no restore: {reason}"
            self._log.write(level, "clock_not_watched", reason=reason, message=message)

    def _on_clock_set(self, by_s: float) -> None:
        """Somebody set the wall clock: a time that was read before is wrong by that much."""
        after_s, when = None, "before the restore"
        if self._restored_monotonic is not None:
            after_s = time.monotonic() - self._restored_monotonic
            when = f"{after_s * 1000:.0f} ms after the restore"
        message = f"the wall clock was set by {by_s:+.3f} s, {when}"
        after_ms = None if after_s is None else round(after_s * 1000, 3)
        self._log.release()
        self._log.write("info", "clock_set", by_s=round(by_s, 3), after_restore_ms=after_ms, message=message)
        if self._observes and by_s >= JUMP_S:
            self._event(events.RestoreSeen(f"the wall clock was set by {by_s:+.0f} s"))

    def _settings(self) -> Settings:
        config = self._config
        found = adapter.inspect(self._folder)
        decision = adapter.decide(found, config.mode, config.restore_caller, snap_start=config.snap_start)
        if decision.error is not None:
            raise decision.error
        checks = found is not None and found.kind is adapter.Kind.ASKS_AND_CHECKS
        for message in (*decision.warnings, *warnings(config, adapter_checks=checks)):
            self._log.write("warning", "settings", message=message)
        return Settings(
            boundary=config.snap_start,
            gate=config.mode == "gate",
            held=config.snap_start and (config.mode in ("gate", "explicit") or self._observes),
            signals=config.signals is not None,
            acknowledged=config.signal_ack,
            restore_caller=RestoreCaller(decision.caller),
            checks_before_snapshot=adapter.checks_before_snapshot(
                found, posts_before_checkpoint=config.posts_before_checkpoint
            ),
            workers=config.workers,
            settle_ms=config.settle_ms,
            ready_timeout_ms=config.ready_timeout_ms,
            before_snapshot_timeout_ms=config.before_snapshot_timeout_ms,
            after_restore_timeout_ms=config.after_restore_timeout_ms,
            debug=config.log_level == "debug",
            observes=self._observes,
            metrics=config.metrics,
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
        self._images[key] = image = watch.image(pid)
        if hello.board and self._config.snap_start:  # elsewhere no hook runs
            self._give_line(key, pid, (start_ticks, image))
        if self._lost.pop(pid, None) is not None:
            self._watch.drop(pid)
        self._event(events.Joined(key, Process(pid, hello.name), hello, parent_pid, start_ticks))

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
        """A connection has ended; if its process has not, the kernel tells us when it does (pidfd_open(2))."""
        self._desk.left(key)
        if key in self._commands:
            self._commands.discard(key)
            self._event(events.CommandLeft(key))
            return
        image = self._images.pop(key, None)
        now = watch.image(pid)
        executes_another = image is not None and now is not None and image != now
        if executes_another or not self._watch.watch(pid, image):
            self._event(events.Left(key))
            self._board.hung_up(key, ended=True)
            return
        self._lost[pid] = key
        self._event(events.Left(key, alive=True))
        self._board.hung_up(key, ended=False)
        self._watch_no_more_than_is_owed()

    def _watch_no_more_than_is_owed(self) -> None:
        """Each process that is watched costs a descriptor, or a look every 100 ms."""
        for pid, key in list(self._lost.items()):
            if not self._lifecycle.is_watched(key):
                self._watch.drop(pid)
                del self._lost[pid]

    def _ended(self, pid: int) -> None:
        key = self._lost.pop(pid, None)
        if key is not None:
            self._event(events.Left(key))
            self._board.ended(pid)

    def _give_line(self, key: int, pid: int, image: object) -> None:
        """A process that can write the hooks that run on the board gets a line of it."""
        line = self._board.claim(key, pid, image)
        if line is not None and self._board.descriptor is not None:
            self._bridge.give_line(key, line, self._board.descriptor)

    def _look(self, look: actions.Look) -> None:
        for pid in self._watch.changed():  # it executes another program: what it owed is gone with the one before
            self._watch.drop(pid)
            self._ended(pid)
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
        if not self._goes_straight(by_check=True):
            self._event(events.ReadinessAsked())

    def _on_readiness_hung_up(self, still_held: int) -> None:
        self._event(events.ReadinessHungUp(still_held))

    def _on_sigterm(self) -> None:
        """Lambda does not send it to an extension: the process that did has taken the boundary away."""
        phase = self._lifecycle.state.value
        message = f"a process sent SIGTERM to the extension in phase {phase}: it ends, and no longer holds the boundary"
        self._log.write("warning", "terminated", phase=phase, message=message)
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
        if response.status != 200 or not self._goes_straight(by_check=False):
            self._event(events.RestoreReturned(response.status, response.body.decode("utf-8", "replace")))

    # --- what is done ----------------------------------------------------------------------------------------------

    def _carry_out(self, todo: Sequence[actions.Action]) -> None:
        self._straight = None
        self._carry_out_now(todo)
        while self._afterwards:
            self._afterwards.popleft()()
        if self._machine.state is State.SNAPSHOT:
            self._prepare()

    def _prepare(self) -> None:
        """Make ready what can be before the snapshot."""
        plan = self._machine.plan()
        peers = None if plan is None else self._bridge.between_lines(plan.hooks)
        self._straight = None
        if plan is not None and peers is not None:
            self._straight = Straight(
                plan, self._bridge, peers, self._reactor, self._gate, self._app_status, self, self._clock.fd
            )

    def _goes_straight(self, *, by_check: bool) -> bool:
        """Carry out a restore about which nothing is unusual. As soon as something is, the lifecycle takes over."""
        straight = self._straight
        if straight is None or straight.plan.by_check is not by_check or (crossing := straight.run()) is None:
            return False
        self._straight, self._crossing = None, crossing
        _, began_ms, ended_ms, durations_ms, _ = crossing
        self._restored_monotonic = began_ms / 1000
        measured = {} if straight.answers is None else self._measured(straight.answers)
        if ended_ms is None:
            self._take_over(crossing)
        else:
            duration_ms = round(ended_ms - began_ms, 3)
            self._log.write("info", "ready", processes=len(durations_ms), duration_ms=duration_ms, **measured)
        return True

    def _measured(self, answers: list[tuple[int, bytes]]) -> dict[str, Any]:
        done = [(key, read_done(data)) for key, data in answers]
        return self._machine.measured_in_plan([(key, answer) for key, answer in done if answer is not None])

    def restored(self, environment_id: str) -> None:
        """Of a restore that goes straight; only at the level `debug`."""
        self._log.write("debug", "restore", environment_id=environment_id)

    def answered(self, key: int, data: bytes) -> None:
        """The same."""
        done = read_done(data)
        assert done is not None, "BUG: it has been read before"  # noqa: S101
        report = self._machine.answer_of_plan(key, done)
        self._log.write(report.level, report.event, **report.fields)

    def _take_over(self, crossing: Crossing) -> None:
        self._crossing = None
        moment, began_ms, ended_ms, durations_ms, odd = crossing
        identity = identity_at(moment)
        self._carry_out(self._machine.crossed(identity, began_ms, durations_ms, ended_ms or now_ms()))
        for key, peer, data, error in odd:
            self._bridge.received(key, peer, data, error)

    @property
    def _lifecycle(self) -> Lifecycle:
        """The machine. It is told of a restore that went straight when something else comes: mostly nothing does."""
        if self._crossing is not None:
            self._take_over(self._crossing)
        return self._machine

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
                    self._prepare()  # from now on the snapshot may be taken
                    self._ask(EVENT_NEXT, self._on_event_next)
                case actions.AskRestoreNext():
                    self._ask(RESTORE_NEXT, self._on_restore_next)
                case actions.ForgetHungUp():
                    self._later(self._watch_no_more_than_is_owed)
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
            if path == RESTORE_NEXT and is_ok(received):
                response: Response | None = RESTORED
            else:
                response = parse_response(received, ended=not data)
            if response is not None:
                self._reactor.unwatch(connection.fileno())
                on_response(response)
                connection.close()

        connection.setblocking(False)
        self._reactor.watch(connection.fileno(), readable)
