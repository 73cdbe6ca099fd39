"""A life as lanes: from the document alone, and for every way in which a life ends."""

from __future__ import annotations

from itertools import pairwise

import pytest

from snapext_tools.simulator.report.axis import Axis
from snapext_tools.simulator.report.life import life_of
from snapext_tools.simulator.report.parts import Chapter
from told_lives import document, error, event, joined, process, ran, until_restore, whole


def kinds(told: dict) -> list[str]:
    return [chapter.kind for chapter in life_of(told).chapters]


def test_the_chapters_of_a_whole_life_follow_one_another_without_a_gap() -> None:
    """From 0 to its end."""
    life = life_of(whole(11, 12))
    assert [chapter.kind for chapter in life.chapters] == [
        *("init", "before_snapshot", "frozen", "after_restore", "requests", "shutdown")
    ]
    ends = [(chapter.start_ms, chapter.end_ms) for chapter in life.chapters]
    assert ends[0][0] == 0
    assert ends[-1][1] == life.end_ms == 3800.0
    assert all(before[1] == after[0] for before, after in pairwise(ends))
    assert ends[3] == (3200.0, 3213.0)


def test_hooks_lie_one_after_another_at_the_end_of_their_phase() -> None:
    """The document has when the phase ended, and how long each hook took."""
    (lane,) = life_of(whole(10)).lanes
    before, after = lane.turns
    assert (before.phase, after.phase) == ("before_snapshot", "after_restore")
    assert (after.start_ms, after.end_ms) == pytest.approx((3201.4, 3204.0))
    assert [(hook.name, hook.ok) for hook in after.hooks] == [("app.reconnect", True), ("app.token", True)]
    assert [hook.start_ms for hook in after.hooks] == pytest.approx([3201.6, 3203.6])
    assert after.hooks[0].end_ms == after.hooks[1].start_ms
    assert (lane.started_ms, lane.joined_ms, lane.ended_ms, lane.until_ms) == (500.0, 910.0, None, 3800.0)


def test_a_hook_that_failed_is_the_last_of_its_phase() -> None:
    """With its own time."""
    failed = ran(3203.0, "after_restore", 1, ("app.a", 1.0), ok=False, failed_hook="app.b", failed_hook_ms=0.5)
    life = life_of(document([*until_restore(1), failed], [process(1)], [error(3203.1, "after_restore", 1, "app.b")]))
    hooks = life.lanes[0].turns[-1].hooks
    assert [(hook.name, hook.ok, round(hook.end_ms - hook.start_ms, 3)) for hook in hooks] == [
        *(("app.a", True, 1.0), ("app.b", False, 0.5))
    ]
    assert [chapter.kind for chapter in life.chapters][-1] == "after_restore"


def test_a_hook_that_did_not_finish_lasts_until_the_failure() -> None:
    """Its process has sent no answer, so the document has no event of it."""
    told = document(
        until_restore(1), [process(1, ended_at_ms=9000.0)], [error(5200.0, "after_restore", 1, "app.hangs")]
    )
    life = life_of(told)
    turn = life.lanes[0].turns[-1]
    assert (turn.phase, turn.start_ms, turn.end_ms, turn.ok) == ("after_restore", 3200.0, 5200.0, False)
    assert [(hook.name, hook.finished) for hook in turn.hooks] == [("app.hangs", False)]
    assert [chapter.kind for chapter in life.chapters][-2:] == ["after_restore", "stopped"]


def test_a_handler_of_a_signal_and_hooks_without_a_list() -> None:
    """A handler has no hooks; an answer that was too long has no names."""
    signalled = ran(2000.0, "before_snapshot", 1, signal="USR1")
    unlisted = ran(2001.0, "before_snapshot", 2)
    life = life_of(document([joined(900.0, 2), signalled, unlisted], [process(1), process(2)]))
    first, second = (lane.turns[0] for lane in life.lanes)
    assert [hook.name for hook in first.hooks] == ["handler of USR1"]
    assert (second.hooks, second.unlisted) == ((), 1)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, []),
        ({"ok": False, "errors": [error(None, "usage")]}, []),
        (document([], [], [error(2500.0, "init")]), ["init"]),
        (document([event(9000.0, "restore_error", error_type="X")], [], [error(2500.0, "init")]), ["init", "stopped"]),
        (
            document([event(900.0, "ready"), event(1500.0, "shutdown", ok=True, duration_ms=300.0)]),
            [*("init", "requests", "shutdown")],
        ),
        (
            document([event(900.0, "snapshot", freeze_s=0), event(900.2, "restore")]),
            [*("init", "snapshot", "after_restore")],
        ),
        (
            document([event(900.0, "snapshot", freeze_s=1), event(1900.0, "restore"), event(1900.0, "ready")]),
            [*("init", "frozen", "requests")],
        ),
        (document([], [process(1)], [error(2000.0, "before_snapshot", 1, "app.x")]), ["init", "before_snapshot"]),
        (
            document([joined(900.0, 1)], [process(1)], [error(2000.0, "before_snapshot", 1, "app.hangs")]),
            [*("init", "before_snapshot")],
        ),
    ],
    ids=[
        "nothing",
        "usage",
        "init",
        "reset",
        "on-demand",
        "not-frozen",
        "without-snapext",
        "first-hook",
        "first-hook-hangs",
    ],
)
def test_a_life_that_is_cut_short_has_the_chapters_that_it_got_to(told: dict, expected: list[str]) -> None:
    """No field of the document is required."""
    assert kinds(told) == expected


def test_a_process_that_is_not_linked_has_a_lane_of_its_own() -> None:
    """Unless it joined after all."""
    stray = {"name": "python", "command": "", "cause": "it was started with -I", "remedy": None}
    events = [event(700.0, "not_linked", pid=pid, **stray) for pid in (7, 1)]
    lanes = life_of(document([*until_restore(1), *events], [process(1)])).lanes
    assert [(lane.pid, lane.linked) for lane in lanes] == [(1, True), (7, False)]


def test_notices_are_told_in_the_words_of_the_story() -> None:
    """A warning is more than news."""
    events = [
        event(5.0, "waiting", message="init waits", waited_ms=3000),
        event(6.0, "warning", about="clock", message="the clock was set"),
    ]
    notes = life_of(document(events)).notes
    assert [(note.text, note.warns) for note in notes] == [("init waits (3 s)", False), ("the clock was set", True)]


def test_each_chapter_has_a_scale_of_its_own_and_time_runs_to_the_right() -> None:
    """However short a chapter is, and at its edges."""
    axis = Axis([Chapter("init", 0, 9000), Chapter("snapshot", 9000, 9000), Chapter("after_restore", 9000, 9010)])
    first, second, third = axis.columns
    assert first.left == 0
    assert third.left + third.width == pytest.approx(100)
    assert axis.span(0, 4500) == pytest.approx((0, first.width / 2))
    assert axis.span(9000, 9005) == pytest.approx((third.left, third.width / 2))
    assert axis.span(8000, 9000)[1] == pytest.approx(first.width / 9)
    assert axis.point(99_999) == pytest.approx(100)
    assert second.width > 0


def test_ticks_are_round_and_end_before_the_next_chapter() -> None:
    """As many as there is room for."""
    axis = Axis([Chapter("init", 0, 4000), Chapter("after_restore", 4000, 4013)])
    init, after = (list(column.ticks()) for column in axis.columns)
    assert init == [1000.0, 2000.0, 3000.0]
    assert after == [2.0, 4.0, 6.0, 8.0, 10.0]
    assert list(Axis([Chapter("init", 0, 0)]).columns[0].ticks()) == []


def test_the_text_of_the_last_tick_fits() -> None:
    """However many round times there are."""
    for length_ms in (1, 13, 634, 2_007, 99_999):
        (column,) = Axis([Chapter("init", 0, length_ms)]).columns
        ticks = [column.place(at_ms) for at_ms in column.ticks()]
        assert ticks
        assert max(ticks) <= 94
