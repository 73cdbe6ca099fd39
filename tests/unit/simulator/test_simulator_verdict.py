"""OK means OK: the counts, the missing hooks, and the last line."""

from __future__ import annotations

from typing import Any

import click
import pytest

from snapext_tools.simulator.extension_log import hear
from snapext_tools.simulator.recorder import Recorder, Trouble
from snapext_tools.simulator.story import Story
from snapext_tools.simulator.verdict import judge

ONE_EACH = {"before_snapshot": 1, "after_restore": 1}
NOT_LINKED = {
    "pid": 9,
    "name": "python",
    "command": "python -I app.py",
    "cause": "it was started with -I",
    "remedy": "leave out -I in run.sh",
}


class Life:
    """A recorder, and the lines of its story."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.story = Story(lambda line, _indent: self.lines.append(click.unstyle(line)))
        self.recorder = Recorder(self.story.tell)

    def joined(self, pid: int, hooks: dict[str, int] | None = None) -> None:
        self.recorder.joined(0.0, pid, "gunicorn", hooks or ONE_EACH)

    def ran(self, phase: str, pid: int, *names: str, ok: bool = True, **fields: Any) -> None:
        hooks = [{"name": name, "duration_ms": 1.0} for name in names]
        self.recorder.ran(0.0, phase, pid, ok=ok, duration_ms=1.0, hooks=hooks, **fields)

    def ready(self, *excused: int) -> None:
        self.recorder.ready(1.0, lambda pid: pid in excused, duration_ms=1.0)

    def judged(self, *, snap_start: bool = True, expected: int | None = None, observed: bool = False) -> list[str]:
        judge(self.recorder, snap_start=snap_start, expected_hooks=expected, observed=observed)
        return [trouble.type for trouble in self.recorder.troubles]

    def last_line(self) -> str:
        self.story.verdict(self.recorder)
        return self.lines[-1]


@pytest.mark.parametrize("field", ["state", "phase"])
def test_a_warning_stands_in_the_chapter_of_the_state_in_which_it_came(field: str) -> None:
    """An extension before 0.2.0 calls that field `phase`."""
    life = Life()
    record = {"level": "warning", "source": "snapext", "event": "terminated", field: "init", "message": "SIGTERM"}
    hear(life.recorder, 1.0, record)
    assert [line.split()[0] for line in life.lines] == ["init"]


def test_what_to_do_about_another_port_is_said_once() -> None:
    """Init says every 3 s what it waits for."""
    lines: list[str] = []
    recorder = Recorder(Story(lambda line, _indent: lines.append(line), port_hint="run the doctor").tell)
    for message in ("the app's readiness check fails", *["process 7 (python) listens, but not on that port"] * 2):
        recorder.add(0.0, "waiting", message=message, waited_ms=None)
    assert [line for line in lines if "doctor" in line] == lines[2:3]
    assert lines[2].endswith("  run the doctor")


def whole() -> Life:
    life = Life()
    for pid in (1, 2):
        life.joined(pid)
        life.ran("before_snapshot", pid, "a")
        life.ran("after_restore", pid, "b")
    life.ready()
    return life


def test_a_life_in_which_all_ran_in_time_is_ok() -> None:
    """And the last line says how many."""
    life = whole()

    assert life.judged() == []
    assert life.last_line().startswith("OK: 2 processes, 4 hooks run, 0 requests served")


@pytest.mark.parametrize(
    ("expected", "snap_start", "types"),
    [
        (None, True, ["HookCount"]),
        (0, True, []),
        (1, True, ["HookCount"]),
        (None, False, []),
        (1, False, ["HookCount"]),
    ],
)
def test_a_life_without_hooks_is_ok_only_if_that_was_expected(
    expected: int | None, snap_start: bool, types: list[str]
) -> None:
    """Under SnapStart; elsewhere no hook runs."""
    life = Life()
    life.ready()

    assert life.judged(snap_start=snap_start, expected=expected) == types


@pytest.mark.parametrize(("expected", "is_ok"), [(4, True), (3, False), (5, False), (0, False)])
def test_the_number_that_is_expected_is_exact(expected: int, is_ok: bool) -> None:
    """Of all processes and both phases: the number that the last line shows."""
    life = whole()

    assert (life.judged(expected=expected) == []) is is_ok
    assert ("4 hooks ran, not" in life.last_line()) is not is_ok


def test_handlers_of_signals_count_and_hooks_told_by_signal_count_once() -> None:
    """Whether it answered or cannot answer."""
    life = Life()
    life.recorder.signalled(0.0, 1, "bash", "before_snapshot", "USR1")
    life.ran("before_snapshot", 1, signal="USR1")
    life.joined(2)
    life.ran("before_snapshot", 2, "a", signal="USR1")
    life.recorder.unconfirmed(0.0, pid=3, name="go", phase="before_snapshot", signal="USR1")

    assert life.recorder.hooks_run == 3


def test_a_process_without_hooks_counts_for_none_and_a_failed_one_for_what_it_ran() -> None:
    """It still answers."""
    life = Life()
    life.joined(1, {"before_snapshot": 0, "after_restore": 0})
    life.ran("before_snapshot", 1)
    life.joined(2, {"before_snapshot": 3, "after_restore": 0})
    life.ran("before_snapshot", 2, "a", ok=False, failed_hook="b")

    assert life.recorder.hooks_run == 1


def test_an_answer_that_was_too_long_to_list_its_hooks_counts_for_all_of_them() -> None:
    """A message holds 64 KiB."""
    life = Life()
    life.joined(1, {"before_snapshot": 0, "after_restore": 5000})
    life.ran("after_restore", 1)
    life.ready()

    assert life.recorder.hooks_run == 5000
    assert life.judged() == []


def test_an_after_restore_hook_that_had_not_run_at_ready_is_too_late_whatever_comes_then() -> None:
    """Its process, and how many."""
    life = Life()
    life.joined(1)
    life.joined(2, {"before_snapshot": 0, "after_restore": 3})
    life.ran("after_restore", 1, "b")
    life.ran("after_restore", 2, "b")
    life.ready()
    life.ran("after_restore", 2, "c", "d")

    assert life.judged() == ["NotInTime"]
    assert "2 after-restore hooks of process 2 (gunicorn) had not run when the runtime asked" in life.last_line()


OBSERVED = [
    (None, 2, ["NotInTime"], "no middleware in process 1 (gunicorn) holds requests until its 2 after-restore hooks"),
    (0, 2, [], ""),
    (0, 1, ["NotInTime"], "2 after-restore hooks of process 1 (gunicorn) had not run by the end"),
    (1, 2, ["NotInTime"], "1 request passed the middleware of process 1 (gunicorn) before its 2 after-restore hooks"),
]


@pytest.mark.parametrize(("passed", "ran", "types", "said"), OBSERVED)
def test_where_nothing_holds_the_runtime_the_middleware_says_that_no_request_came_before_the_hooks(
    passed: int | None, ran: int, types: list[str], said: str
) -> None:
    """Nobody else can: the runtime asks for its first invocation, and then the restore is seen."""
    life = Life()
    hooks = {"before_snapshot": 0, "after_restore": 2}
    life.recorder.joined(0.0, 1, "gunicorn", hooks, passed=None if passed is None else 0)
    life.ready()
    life.recorder.hooks_changed(1, hooks, passed)
    life.ran("after_restore", 1, *["a", "b"][:ran])

    assert life.judged(observed=True) == types
    assert said in life.last_line()


def test_where_nothing_holds_the_runtime_hooks_that_were_faster_are_luck() -> None:
    """The clock shows the restore a moment before the runtime is ready, here; elsewhere a request comes between.

    Not so where the web adapter tells of the restore: it waits.
    """
    for told in (True, False):
        life = whole()
        if told:
            hear(life.recorder, 0.0, {"event": "restored_said", "level": "debug"})
        assert life.judged(observed=True) == ([] if told else ["NotInTime"] * 2)
    life = Life()
    life.joined(1)
    life.recorder.restore_told = True
    life.ready()
    assert life.judged(observed=True, expected=0) == ["NotInTime"]


def test_what_did_not_run_because_a_hook_failed_is_not_said_once_more() -> None:
    """The failure is the line that a person has to read."""
    life = Life()
    life.joined(1)
    life.ready()
    life.recorder.trouble(Trouble("after_restore", 2, "app.opens", "OSError", "no", ""))
    assert life.judged(observed=True) == ["OSError"]


def test_a_preloading_master_needs_no_middleware() -> None:
    """Its forks have theirs, and serve. One without forks may serve itself."""
    for fork_of in (1, 9):
        life = Life()
        for pid, parent, passed in ((1, None, None), (2, fork_of, 0)):
            life.recorder.joined(0.0, pid, "gunicorn", ONE_EACH, fork_of=parent, passed=passed)
        life.ready()
        for pid in (1, 2):
            life.ran("after_restore", pid, "a")
        assert life.judged(observed=True) == ([] if fork_of == 1 else ["NotInTime"])


def test_hooks_that_are_registered_before_ready_are_owed_and_later_ones_are_not() -> None:
    """The counts in `process_joined` may grow."""
    life = Life()
    life.joined(1)
    life.ran("after_restore", 1, "b")
    life.recorder.hooks_changed(1, {"before_snapshot": 1, "after_restore": 2})
    life.ready()
    life.recorder.hooks_changed(1, {"before_snapshot": 1, "after_restore": 9})

    assert [debt.hooks for debt in life.recorder.debts] == [1]


@pytest.mark.parametrize(
    ("hooks", "after_ready", "said"),
    [
        (ONE_EACH, False, ": 1 before-snapshot hook did not run"),
        (ONE_EACH, True, ": 1 before-snapshot hook did not run and 1 after-restore hook ran late"),
        ({"before_snapshot": 0, "after_restore": 2}, False, None),
        ({"before_snapshot": 0, "after_restore": 2}, True, ": 2 after-restore hooks ran late"),
        ({"before_snapshot": 0, "after_restore": 0}, True, None),
    ],
)
def test_a_process_that_joined_too_late_fails_the_life_if_a_hook_missed_its_time(
    hooks: dict[str, int], after_ready: bool, said: str | None
) -> None:
    """Whenever it registers them; a process without hooks missed nothing."""
    life = whole()
    if not after_ready:
        life = Life()
        life.joined(1)
        life.ran("after_restore", 1, "b")
    life.joined(3, {"before_snapshot": 0, "after_restore": 0})
    life.recorder.joined_too_late(2.0, 3, "worker.py", lost="before_snapshot hooks")
    life.recorder.hooks_changed(3, hooks)
    if not after_ready:
        life.ran("after_restore", 3, *["c"] * hooks["after_restore"])
        life.ready()

    assert life.judged() == ([] if said is None else ["JoinedTooLate"])
    assert said is None or life.last_line().endswith(f"process 3 (worker.py) joined too late{said}")


def test_a_process_that_joined_too_late_and_ended_before_the_first_request_has_lost_nothing() -> None:
    """No clone contains it."""
    life = Life()
    life.joined(1)
    life.ran("after_restore", 1, "b")
    life.joined(3)
    life.recorder.joined_too_late(2.0, 3, "worker.py", lost="before_snapshot hooks")
    life.recorder.left(2.0, 3, alive=False)
    life.ready()

    assert life.judged() == []


def test_a_fork_that_joins_before_the_restore_has_lost_nothing() -> None:
    """It is a copy of a process that ran its before-snapshot hooks; an app that forks all the time has such forks."""
    life = Life()
    life.recorder.joined(0.0, 3, "gunicorn", ONE_EACH, fork_of=1)
    life.recorder.joined_too_late(2.0, 3, "gunicorn", lost="before_snapshot hooks")
    life.ran("after_restore", 3, "b")
    life.ready()

    assert life.judged() == []


def test_a_process_that_is_excused_owes_nothing() -> None:
    """It ended, or started after the restore."""
    life = Life()
    life.joined(1)
    life.ran("after_restore", 1, "b")
    life.joined(2)
    life.ready(2)

    assert life.judged() == []


def test_a_process_that_is_not_linked_fails_the_life_once() -> None:
    """However often it is reported, and beside linked processes; its line has the name, the cause and the remedy."""
    life = whole()
    for _ in range(2):
        life.recorder.add(2.0, "not_linked", **NOT_LINKED)

    assert life.judged() == ["NotLinked"]
    named = "! process 9 (python), which runs python -I app.py, is not linked"
    assert f"{named}: it was started with -I; leave out -I in run.sh" in life.lines[-1]
    assert "process 9 (python) is not linked: it was started with -I" in life.last_line()


def test_a_process_that_joins_after_all_was_linked() -> None:
    """Sooner or later."""
    life = whole()
    life.recorder.add(2.0, "not_linked", **NOT_LINKED)
    life.joined(9, {"before_snapshot": 0, "after_restore": 0})

    assert life.judged() == []


def test_after_a_failure_hooks_that_did_not_run_are_not_counted_and_causes_are_named() -> None:
    """They are a consequence; a process that is not linked may be the cause."""
    life = Life()
    life.recorder.trouble(Trouble("init", None, None, "Runtime.AppNotReady", "not ready\nafter 120 s", ""))
    life.recorder.add(2.0, "not_linked", **NOT_LINKED)

    assert life.judged(expected=7) == ["Runtime.AppNotReady", "NotLinked"]
    assert life.last_line() == (
        "FAILED: 0 processes, 0 hooks run, 0 requests served; not ready after 120 s; "
        "process 9 (python) is not linked: it was started with -I"
    )


def test_the_last_line_names_three_reasons_and_counts_the_rest() -> None:
    """It is one line."""
    life = Life()
    for number in range(5):
        life.recorder.trouble(Trouble("init", None, None, "X", f"reason {number}", ""))

    assert life.last_line().endswith("; reason 0; reason 1; reason 2; and 2 more")


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"failed_hook": "app.close_pool"}, "✗ app.close_pool"),
        ({"failed_hook": "app.close_pool", "signal": "USR1"}, "✗ app.close_pool"),
        ({"failed_hook": None, "signal": "USR1"}, "✗ handler of USR1"),
        ({"failed_hook": None}, "✗ failed"),
        ({"failed_hook": "app.close_pool", "failed_hook_ms": 0.4}, " 0.4 ms"),
        ({"failed_hook": "app.close_pool"}, " 1.0 ms"),
    ],
)
def test_the_line_of_a_failed_phase_names_the_hook_or_the_handler(fields: dict[str, Any], shown: str) -> None:
    """With the hook's own time, where the process says it; else with that of the phase."""
    life = Life()
    life.ran("before_snapshot", 1, ok=False, **fields)

    assert shown in life.lines[-1]


def test_what_init_waits_for_is_a_line_of_the_story() -> None:
    """With the time that it waited."""
    life = Life()
    life.recorder.add(5000.0, "waiting", message="3 of 4 processes have joined", waited_ms=5012)

    assert life.lines[-1].endswith("… 3 of 4 processes have joined (5 s)")


def test_a_long_name_of_a_process_is_not_cut() -> None:
    """Nothing is lost where there is no terminal."""
    life = Life()
    life.recorder.joined(0.0, 1, "a-very-long-server-name.py", ONE_EACH)

    assert "a-very-long-server-name.py joined" in life.lines[-1]
