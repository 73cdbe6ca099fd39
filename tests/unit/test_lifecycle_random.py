"""A thousand lives in random order: whoever joins, dies, answers or hangs whenever, the invariants hold.

The rules know only what a process and the platform can do; the invariants are those of the design, checked against a
model kept here and not against the machine's own books.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from lifecycle_driver import Driver
from lifecycle_driver import settings as lifecycle_settings
from snapext.protocol import AfterRestore, BeforeSnapshot, HookCounts
from snapext_extension.events import (
    Action,
    AnswerReadiness,
    AppReady,
    AskEventNext,
    AskRestoreNext,
    Fail,
    HooksChanged,
    Left,
    ReadinessAsked,
    RestoreReturned,
    SetTimer,
    ShutdownAsked,
    Stop,
    TimerFired,
    TimerName,
)
from snapext_extension.lifecycle import RestoreCaller, State

HOOKS = HookCounts(1, 1)


@dataclass
class Model:
    """What the world outside of the machine knows."""

    in_time: set[int] = field(default_factory=set)  # joined before the snapshot could be taken
    gone: set[int] = field(default_factory=set)
    forked: set[int] = field(default_factory=set)
    answered: set[tuple[int, type]] = field(default_factory=set)
    snapshot_allowed: bool = False
    restored: bool = False
    checks: int = 0
    opened: bool = False
    ended: bool = False
    failed: bool = False
    timers: set = field(default_factory=set)


class Life(RuleBasedStateMachine):
    """One environment, with either kind of adapter."""

    processes = Bundle("processes")

    @initialize(
        caller=strategies.sampled_from(list(RestoreCaller)),
        workers=strategies.sampled_from([None, 1, 2, 3]),
        boundary=strategies.sampled_from([True, True, True, False]),
        stage=strategies.integers(0, 3),
    )
    def begin(self, caller: RestoreCaller, workers: int | None, boundary: bool, stage: int) -> None:
        """Begin a life, and hurry it on to one of its stages, with two processes: random steps alone seldom get far."""
        self.driver = Driver(lifecycle_settings(restore_caller=caller, workers=workers, boundary=boundary))
        self.model = Model()
        self.boundary, self.caller = boundary, caller
        self.look_at(self.driver.started)
        hurried = [self.join(forked=False, ticks=0) for _ in range(3 if stage else 0)]
        if stage >= 1:
            self.send(AppReady())
            if TimerName.SETTLE in self.model.timers:
                self.send(TimerFired(TimerName.SETTLE))
        for key in hurried if stage >= 2 else ():
            self.answer_well(key)
        if stage >= 3:
            self.readiness_is_checked()
            self.readiness_is_checked()
            if self.model.snapshot_allowed and boundary:
                self.restore_next_returns(200)

    @rule()
    def everyone_answers_well(self) -> None:
        for key in sorted(self.living()):
            self.answer_well(key)

    # --- what can happen -------------------------------------------------------------------------------------------

    @rule(target=processes, forked=strategies.booleans(), ticks=strategies.sampled_from([0, 10, 99]))
    def join(self, forked: bool, ticks: int) -> int:
        generation = 1 if self.model.restored and forked and ticks == 99 else 0
        before = len(self.driver.log)
        in_time = not self.model.snapshot_allowed
        key = self.driver.join(hooks=HOOKS, forked=forked, start_ticks=ticks, generation=generation)
        if in_time:
            self.model.in_time.add(key)
        if forked:
            self.model.forked.add(key)
        self.look_at(self.driver.log[before:])
        return key

    @rule(key=consumes(processes))
    def die(self, key: int) -> None:
        # A forked child that ends before the snapshot was a pool's, say: it is in no clone.
        harmless = key in self.model.forked and self.driver.state is State.BEFORE_SNAPSHOT
        mid_phase = self.is_waited_for(key) and not harmless
        self.model.gone.add(key)
        self.send(Left(key))
        if mid_phase:
            assert self.model.failed, "a process died with hooks to run, and nobody was told"

    @rule(key=processes)
    def answer_well(self, key: int) -> None:
        if self.is_waited_for(key):
            kind = type(self.driver.told(key)[-1])
            self.model.answered.add((key, kind))
            self.look_at(self.driver.done(key))

    @rule(key=processes)
    def answer_badly(self, key: int) -> None:
        if self.is_waited_for(key):
            self.look_at(self.driver.fail(key, "app.hook", "ValueError", "no"))
            assert self.model.failed

    @rule(key=processes, offset=strategies.sampled_from([-1, 1, 7]))
    def answer_something_else(self, key: int, offset: int) -> None:
        if self.driver.told(key) and key not in self.model.gone:
            before = self.driver.state
            self.look_at(self.driver.done(key, id_offset=offset))
            assert before is self.driver.state

    @rule(key=processes, number=strategies.integers(1, 5))
    def register_more(self, key: int, number: int) -> None:
        if key not in self.model.gone:
            self.send(HooksChanged(key, HookCounts(number, number)))

    @rule()
    def app_becomes_ready(self) -> None:
        self.send(AppReady())

    @rule()
    def readiness_is_checked(self) -> None:
        """The adapter asks again only when its last request has been answered."""
        if self.model.snapshot_allowed and self.caller is RestoreCaller.ADAPTER and self.boundary:
            self.model.restored = self.model.restored or self.model.checks >= 1
        self.send(ReadinessAsked())

    @precondition(lambda self: self.model.snapshot_allowed and self.boundary)
    @rule(status=strategies.sampled_from([200, 200, 200, 403, 500]))
    def restore_next_returns(self, status: int) -> None:
        if self.caller is RestoreCaller.EXTENSION and not self.model.restored and not self.model.ended:
            self.model.restored = status == 200
            self.send(RestoreReturned(status, ""))

    @rule(data=strategies.data())
    def a_timer_fires(self, data: strategies.DataObject) -> None:
        if self.model.timers:
            timer = data.draw(strategies.sampled_from(sorted(self.model.timers, key=lambda name: name.value)))
            self.model.timers.discard(timer)
            self.send(TimerFired(timer))

    @rule(passed=strategies.integers(1, 4000))
    def time_passes(self, passed: int) -> None:
        self.driver.now_ms += passed

    @precondition(lambda self: not self.model.ended)
    @rule(chance=strategies.integers(0, 20))
    def the_platform_shuts_down(self, chance: int) -> None:
        if chance == 0:
            self.send(ShutdownAsked("spindown", 2000))
            assert self.model.ended

    # --- what must hold --------------------------------------------------------------------------------------------

    def send(self, event: object) -> None:
        self.look_at(self.driver.handle(event))  # type: ignore[arg-type]

    def look_at(self, actions: list[Action]) -> None:
        for action in actions:
            assert not self.model.ended, f"{action} after the end"
            if isinstance(action, (AskEventNext, AskRestoreNext)) and self.boundary:
                self.check_snapshot_allowed()
            elif isinstance(action, AnswerReadiness):
                self.check_gate()
            elif isinstance(action, SetTimer):
                self.model.timers.add(action.timer)
            elif isinstance(action, Fail):
                self.model.failed = self.model.ended = True
            elif isinstance(action, Stop):
                self.model.ended = True

    def check_snapshot_allowed(self) -> None:
        """Invariant 2: everyone who joined in time, and lives, has run its before-snapshot hooks."""
        for key in self.model.in_time - self.model.gone:
            assert (key, BeforeSnapshot) in self.model.answered, f"process {key} had not ended its hooks"
        self.model.snapshot_allowed = True

    def check_gate(self) -> None:
        """Invariant 1: an answer that admits invocations comes after everyone's after-restore hooks."""
        if self.boundary and self.caller is RestoreCaller.ADAPTER and self.model.checks == 0:
            assert self.model.snapshot_allowed
            self.model.checks = 1
            return
        self.model.opened = True
        if self.boundary:
            assert self.model.restored
            waiting = [key for key in self.living() if self.is_waited_for(key)]
            told = {key for key in self.living() if any(isinstance(m, AfterRestore) for m in self.driver.told(key))}
            assert not waiting or self.was_open_before(), f"processes {waiting} still run their hooks"
            missing = (self.model.in_time - self.model.gone) - told
            assert not missing, f"processes {missing} were never told"

    def was_open_before(self) -> bool:
        """A process that joins after the gate has opened cannot hold back requests that are under way."""
        return sum(isinstance(action, AnswerReadiness) for action in self.driver.log) > (
            2 if self.caller is RestoreCaller.ADAPTER else 1
        )

    def is_waited_for(self, key: int) -> bool:
        told = self.driver.told(key)
        alive = key not in self.model.gone and not self.model.ended
        return bool(told) and alive and (key, type(told[-1])) not in self.model.answered

    def living(self) -> set[int]:
        return set(range(1, self.driver._keys + 1)) - self.model.gone

    @invariant()
    def nobody_is_told_twice(self) -> None:
        """Invariant 3: once for each boundary, whatever else happens, and nothing without one."""
        if not hasattr(self, "driver"):
            return
        for key in range(1, self.driver._keys + 1):
            kinds = [type(message) for message in self.driver.told(key)]
            assert len(kinds) == len(set(kinds)), f"process {key} was told {kinds}"
            assert self.boundary or not kinds
            assert kinds in ([], [BeforeSnapshot], [AfterRestore], [BeforeSnapshot, AfterRestore])

    @invariant()
    def budgets_are_within_the_settings(self) -> None:
        """Nobody is given more than the phase has, nor nothing."""
        if not hasattr(self, "driver"):
            return
        for key in range(1, self.driver._keys + 1):
            for message in self.driver.told(key):
                limit = 60_000 if isinstance(message, BeforeSnapshot) else 9_000
                assert 1 <= message.timeout_ms <= limit

    @invariant()
    def the_restore_is_noticed_once(self) -> None:
        """One clone has one identity."""
        if hasattr(self, "driver"):
            assert self.driver.restores <= (1 if self.model.restored else 0)


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=1000, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
