"""Random lives: whatever joins, dies, answers, hangs or is lost whenever, the invariants of the design hold.

What may happen is written here, move by move; what must follow from it, in lifecycle_world.py. SNAPEXT_LIVES=20000
tries that many lives, and others each time. (Hypothesis' own state machines take ten times as long for a life.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis.strategies import booleans, integers, lists, sampled_from, sets, tuples
from lifecycle_world import NO_HOOKS, PLACES, Place, Proc, World

from snapext.wire.messages import HookCounts
from snapext_extension.boundary.actions import TimerName
from snapext_extension.boundary.events import Acknowledged, AppReady, Crowded, ReadinessAsked, ShutdownAsked, TimerFired
from snapext_extension.boundary.settings import LOOK_EVERY_MS
from snapext_extension.boundary.states import State

LIVES = os.environ.get("SNAPEXT_LIVES")
ONE_OF_EACH = HookCounts(1, 1)
HOOKS = [ONE_OF_EACH, ONE_OF_EACH, HookCounts(1, 0), HookCounts(0, 1), NO_HOOKS]

T = TypeVar("T")


class Life:
    """One environment, in a place of any kind. Each public method is a move; one that cannot be made now is none."""

    def __init__(self, place: Place, workers: int | None, signals: bool, acknowledged: bool, debug: bool) -> None:
        self.world = World(place, workers, signals, acknowledged, debug)
        self._number = 0

    def make(self, move: Callable[[Life], None], number: int) -> None:
        """Make a move. `number` says with whom and how: see `_choose`."""
        self._number = number
        if self.world.over:
            for event in (AppReady(), ReadinessAsked(), ShutdownAsked("", 1), *map(TimerFired, TimerName)):
                assert self.world.machine.handle(event, self.world.now_ms) == []
        else:
            move(self)
            status = self.world.machine.describe()
            settings = self.world.settings
            waits = self.world.state is State.INIT and (settings.boundary or settings.gate)
            assert status["waiting"] or not waits, "init waits for nothing that it could name"

    def _choose(self, options: Sequence[T]) -> T:
        self._number, index = divmod(self._number, len(options))
        return options[index]

    def _pick(self, suits: Callable[[Proc], object]) -> Proc | None:
        """One of the living processes that suit, if there is one."""
        suitable = [p for p in self.world.processes if p.alive and suits(p)]
        return self._choose(suitable) if suitable else None

    def _connected(self) -> Proc | None:
        return self._pick(lambda p: p.key is not None)

    def _seldom(self) -> bool:
        """For what ends a life: it would be short."""
        return self._choose(range(8)) == 7

    @property
    def _goes_on(self) -> bool:
        return not self.world.is_ended

    def nothing_happens(self) -> None:
        """What hypothesis puts in place of a move that a failure does not need."""

    # --- processes -------------------------------------------------------------------------------------------------

    def a_process_joins(self) -> None:
        age = self._choose(["older", "older", "same tick", "younger", "same tick, younger"])
        is_old = "younger" not in age or not self.world.machine.generation
        process = self.world.start_process(
            is_old=is_old,
            ticks=10 if "same tick" in age else 0 if is_old else 99,
            hooks=self._choose(HOOKS),
            importing=self._choose([False, False, True]),
            holds_port=self._choose([True, False]),
            at_rest=self._choose([True, False]),
        )
        self.world.connect(process)

    def a_process_forks(self) -> None:
        if parent := self._connected():
            ticks = 99 if self.world.machine.generation else 0
            child = self.world.start_process(parent_pid=parent.pid, forked=True, ticks=ticks, hooks=parent.hooks)
            child.generation, child.stale, child.holds_port = parent.generation, parent.stale, parent.holds_port
            self.world.connect(child)

    def a_process_answers(self) -> None:
        if process := self._pick(lambda p: p.question is not None):
            self.world.answer(process)

    def a_process_has_run_its_hooks(self) -> None:
        """And has not said so yet. Another thread may register one in that moment."""
        process = self._pick(lambda p: p.question is not None and not p.visitor)
        if process is not None and self._goes_on:
            self.world.run_hooks(process)
            self.world.register(process, *self._choose([(0, 0), (1, 0), (0, 1)]))

    def everyone_answers(self) -> None:
        for process in list(self.world.processes):
            if process.alive and process.signalled and not self.world.over:
                self._answer_the_signal(process)
            if process.alive and process.key is not None and not self.world.over:
                self.world.answer(process)

    def a_hook_fails(self) -> None:
        process = self._pick(lambda p: p.question is not None and p.key is not None)
        if process is not None and self._goes_on and self._seldom():
            self.world.answer_badly(process)

    def a_process_answers_something_else(self) -> None:
        if process := self._connected():
            self.world.answer_something_else(process, self._choose([-1, 1, 7]))

    def a_hook_starts(self) -> None:
        if (process := self._connected()) and self._choose([True, False]):
            self.world.name_hook(process)
        elif process:
            self.world.write_hook(process)

    def a_hook_is_registered(self) -> None:
        process = self._pick(lambda p: p.known is not None and not p.visitor)
        if process is not None and self._goes_on:
            self.world.register(process, *self._choose([(0, 1), (1, 0), (1, 1), (0, 0)]))

    def an_import_ends(self) -> None:
        if process := self._pick(lambda p: p.importing):
            self.world.end_import(process)

    def a_link_is_lost(self) -> None:
        if process := self._connected():
            self.world.lose(process)

    def a_lost_process_comes_back(self) -> None:
        if process := self._pick(lambda p: p.is_lost and not p.visitor):
            self.world.connect(process)

    def a_process_ends(self) -> None:
        process = self._pick(lambda p: p.known is not None)
        if process is not None and self._goes_on:
            self.world.end(process)

    def a_process_executes_another_program(self) -> None:
        process = self._pick(lambda p: p.known is not None)
        if process is not None and self._goes_on:
            self.world.end(process, by_exec=True)

    # --- what a look shows -----------------------------------------------------------------------------------------

    def a_process_changes(self) -> None:
        if process := self._pick(lambda p: not p.visitor):
            process.holds_port, process.at_rest = self._choose([True, False]), self._choose([True, False])

    def a_process_appears_that_has_not_joined(self) -> None:
        kind = self._choose(["it imports", "it has no channel", "it is not Python"])
        process = self.world.start_process(holds_port=self._choose([True, True, False]), hooks=ONE_OF_EACH)
        process.cause = "-I ignores PYTHONPATH" if kind == "it has no channel" else ""
        process.python = kind != "it is not Python"

    def one_that_has_not_joined_joins_or_ends(self) -> None:
        silent = self._pick(lambda p: p.known is None and p.python and not p.cause and not p.visitor)
        if silent is not None and (self.world.machine.generation or self._choose([True, False])):
            silent.alive = False
        elif silent is not None:
            self.world.connect(silent)

    # --- signals ---------------------------------------------------------------------------------------------------

    def a_process_starts_that_catches_the_signal(self) -> None:
        if self.world.settings.signals and not self.world.restored:
            comes = self._choose([True, False])
            hooks = ONE_OF_EACH if comes else NO_HOOKS
            self.world.start_process(catches=True, visitor=comes, hooks=hooks, python=comes, at_rest=True)

    def one_that_was_signalled_answers(self) -> None:
        if process := self._pick(lambda p: p.signalled):
            self._answer_the_signal(process)

    def one_that_was_signalled_joins_in_its_handler(self) -> None:
        """It may import a library with hooks there."""
        process = self._pick(lambda p: p.signalled and not p.visitor and p.key is None)
        if process is not None and self._goes_on:
            process.hooks = ONE_OF_EACH
            self.world.connect(process)

    def one_that_was_signalled_fails(self) -> None:
        process = self._pick(lambda p: p.signalled and not p.visitor)
        if process is not None and self._goes_on:
            self.world.acknowledge(process, "no connection")

    def one_that_catches_signals_ends_or_catches_them_no_more(self) -> None:
        process = self._pick(lambda p: p.catches)
        if process is not None and self._goes_on:
            if process.signalled or self._choose([True, False]):
                self.world.end(process)
            else:
                process.catches = False

    def young_forks_are_about(self) -> None:
        self.world.fleeting = self._choose(range(1, 8))

    def signals_cannot_be_sent(self) -> None:
        self.world.signals_fail = self._seldom()

    def an_answer_comes_that_nobody_waits_for(self) -> None:
        state = self.world.state
        self.world.handle(Acknowledged((4,), None))
        assert state is self.world.state

    def _answer_the_signal(self, process: Proc) -> None:
        if process.visitor and process.key is None:
            self.world.connect(process, signalled=True)
        else:
            self.world.acknowledge(process)

    # --- the app, the adapter, commands ----------------------------------------------------------------------------

    def init_is_over(self) -> None:
        """The app becomes ready, or somebody asks for the checkpoint; and some time passes."""
        if self._is_probed and (self.world.place.gate or self._choose(range(4))):
            self.world.become_ready()
        elif self._goes_on:
            self.world.ask_for_checkpoint(901)
        self.world.pass_ms(700)

    def the_app_becomes_ready(self) -> None:
        if self._is_probed:
            self.world.become_ready()

    @property
    def _is_probed(self) -> bool:
        """Whether the extension checks the app's readiness itself."""
        return self.world.place.gate or self.world.place.observes

    def the_adapter_checks(self) -> None:
        if self.world.adapter_would_check:
            self.world.check_readiness()

    def the_adapter_hangs_up(self) -> None:
        if self.world.adapter_waits:
            self.world.adapter_hangs_up(noticed=self._choose([True, False]))

    def hang_ups_are_noticed(self) -> None:
        self.world.notice_hang_ups()

    def a_command_asks_for_the_checkpoint(self) -> None:
        key = self._choose([901, 902, 903])
        for _ in range(self._choose([1, 2])):
            if self._goes_on:
                self.world.ask_for_checkpoint(key)

    def a_command_leaves(self) -> None:
        if self.world.callers:
            self.world.caller_leaves(self._choose(sorted(self.world.callers)))

    # --- the platform, and time ------------------------------------------------------------------------------------

    def the_platform_restores(self) -> None:
        if self.world.restore_may_come:
            self.world.restore()

    def something_shows_the_restore(self) -> None:
        """Or only seems to, before the snapshot: a command and the clock."""
        world = self.world
        if not world.place.observes or not self._goes_on or (world.is_let_go and not world.restored):
            return
        sign = self._choose(["clock", "clock", "invocation", "invocation", "invocation", "app", "app", "restore/next"])
        if sign == "clock":
            world.set_clock()
        elif sign == "app":
            world.say_restored(self._choose([911, 912]))
        elif sign == "invocation" and world.restored and world.event_waits:
            world.invoke()
        elif sign == "restore/next" and world.restored and world.restore_waits:
            world.restore_returns()

    def restore_next_is_refused(self) -> None:
        if self.world.restore_waits and not self.world.restored and self._goes_on and self._seldom():
            self.world.refuse_restore(self._choose([403, 404, 500]))

    def some_time_passes(self) -> None:
        self.world.pass_ms(self._choose([1, 20, 100, 250]))

    def much_time_passes(self) -> None:
        self.world.pass_ms(self._choose([700, 1500, 5500]))

    def a_budget_is_almost_used_up(self) -> None:
        due_ms = self.world.timers.get(self._choose([TimerName.PHASE, TimerName.READY]))
        if due_ms is not None:
            self.world.pass_ms(max(0.0, due_ms - 10 - self.world.now_ms))

    def a_flood_comes(self) -> None:
        """It is a failure only where somebody counts on the boundary."""
        if not self.world.place.boundary or not (self.world.place.held or self.world.app_ready):
            self.world.handle(Crowded(900))
        elif self._goes_on and self._seldom():
            self.world.must_fail(Crowded(900), "a process was turned away")

    def the_platform_shuts_down(self) -> None:
        if self._seldom():
            self.world.shut_down()

    # --- how it begins, and how it ends ----------------------------------------------------------------------------

    def _hurry(self, stage: int) -> None:
        """To one of its stages: random moves alone seldom get far."""
        if stage:
            for number in range(1 + stage % 3):
                self.world.connect(self.world.start_process(hooks=ONE_OF_EACH, holds_port=number % 2 == 0))
            self.a_process_starts_that_catches_the_signal()
        if stage >= 2:
            self.init_is_over()
        if stage >= 3:
            self.everyone_answers()
            self.the_adapter_checks()
        if stage >= 4:
            self.the_adapter_checks()
            self.world.pass_ms(110)
            self.the_platform_restores()
        if stage >= 5:
            self.the_adapter_checks()
            self.something_shows_the_restore()
            self.everyone_answers()

    def _end(self, well: bool) -> None:
        """If everyone does their part from here on, requests are admitted at last, unless something had failed.

        If nobody does anything, nobody is waited for in the end.
        """
        world = self.world
        if not well:
            world.pass_ms(12_000)
        for _ in range(40 if well else 0):
            if world.over or (world.admitted and not world.who_owes()):
                break
            self._everyone_does_their_part()
            world.pass_ms(300)
        if well and not world.over:
            world.pass_ms(LOOK_EVERY_MS)  # the next look shows whether a lost process executes another program
        assert not well or world.over or world.admitted, f"stuck in {world.state}"
        if not world.over and (world.place.held or world.app_ready):
            assert not world.who_owes(), f"stuck in {world.state}"
            waited_for = set(world.machine.describe()["processes"])
            assert not waited_for.intersection(world.unnoticed), "nobody has looked whether it is the same program"

    def _everyone_does_their_part(self) -> None:
        world = self.world
        world.signals_fail, world.fleeting = False, 0
        world.notice_hang_ups()
        for process in [p for p in world.processes if p.alive]:
            process.at_rest = True
            if process.is_lost and self._goes_on and not process.visitor:
                world.connect(process)
            if process.importing and self._goes_on:
                world.end_import(process)
        if not world.restored and (world.settings.workers or 0) > sum(p.key is not None for p in world.processes):
            world.connect(world.start_process(hooks=ONE_OF_EACH))
        if self._goes_on and not world.app_ready:
            self.init_is_over()
        elif self._goes_on and not self._is_probed and not any(world.callers.values()):
            world.ask_for_checkpoint(909)
        if self._goes_on:
            self.the_adapter_checks()
        self.everyone_answers()
        self.the_platform_restores()
        if self._goes_on and world.place.observes and world.restored and world.event_waits:
            world.invoke()


MOVES = [name for name, move in vars(Life).items() if callable(move) and not name.startswith("_") and name != "make"]
OFTEN = [
    "a_process_joins",
    "a_process_answers",
    "a_link_is_lost",
    "a_lost_process_comes_back",
    "one_that_was_signalled_answers",
    "the_adapter_checks",
    "the_platform_restores",
    "something_shows_the_restore",
    "some_time_passes",
]


@pytest.mark.timeout(900)  # on a machine that is busy with others it takes many times as long
@settings(
    max_examples=int(LIVES or 1200),
    derandomize=LIVES is None,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(
    place=sampled_from(list(PLACES) + 3 * [name for name, place in PLACES.items() if place.boundary]),
    workers=sampled_from([None, None, 0, 1, 2, 3]),
    signals=sampled_from([False, False, True]),
    acknowledged=booleans(),
    debug=booleans(),
    stage=integers(0, 5),
    left_out=sets(sampled_from(MOVES), max_size=15),
    moves=lists(tuples(sampled_from(MOVES + 2 * OFTEN), integers(0, 500)), min_size=25, max_size=55),
    ends_well=booleans(),
)
def test_every_invariant_holds_in_every_life(
    place: str,
    workers: int | None,
    signals: bool,
    acknowledged: bool,
    debug: bool,
    stage: int,
    left_out: set[str],
    moves: list[tuple[str, int]],
    ends_well: bool,
) -> None:
    """Whatever happens, in whatever order."""
    made = [(name, number) for name, number in moves if name not in left_out and name != "nothing_happens"]
    note(f"moves made: {made}")
    life = Life(PLACES[place], workers, signals, acknowledged, debug)
    life._hurry(stage)
    for name, number in made:
        life.make(getattr(Life, name), number)
    if not life.world.over:
        life._end(ends_well)
