"""Three lives under a CPU limit, and how such lives are judged; `make lives` plays forty."""

from __future__ import annotations

from typing import Any

import pytest
from limited_lives import LIMITS, Plan, judge, plans, play_all

from bench.cpu_limit import NoLimitError, cpu_limit

WHOLE = ["forked", "imported", "before", "after", "request"]


# Each of them has left workers out when the boundary went by time.
THREE = (
    Plan(30, 3, "uvicorn", "slow-before", named=False),
    Plan(15, 8, "sync", "slow-before", named=False),
    Plan(7, 6, "uvicorn", "plain", named=False),
)


@pytest.mark.timeout(400)
def test_no_worker_is_left_out_with_a_part_of_a_cpu() -> None:
    """Every worker that is there at the snapshot has run each of its hooks once, in lives of 30, 15 and 7 %."""
    try:
        with cpu_limit(30):
            pass
    except NoLimitError as error:
        pytest.skip(str(error))
    faults = {str(outcome.plan): outcome.faults for outcome in play_all(list(THREE))}
    assert faults == {str(plan): [] for plan in THREE}


def trace(*workers: list[str], late: int = 0) -> list[dict[str, Any]]:
    """A line for each word of each worker, in turn; the last `late` workers begin when the others have ended."""
    lines = []
    for place, words in enumerate(workers):
        start = 100 if place >= len(workers) - late else 0
        for step, word in enumerate(words):
            kind = {"phase": "hook", "hook": word} if word in ("before", "after") else {"phase": word}
            lines.append({"pid": place, **kind, "at_ns": start + step * 10 + place})
    return lines


def plan(*, named: bool = False) -> Plan:
    return Plan(30, 2, "sync", "plain", named)


def test_a_whole_life_has_no_faults() -> None:
    """Each worker has run both hooks, and only then served."""
    assert judge(plan(), trace(WHOLE, WHOLE)) == []


@pytest.mark.parametrize(
    "words",
    [
        ["forked"],
        ["forked", "imported", "after", "request"],
        ["forked", "imported", "request"],
        ["forked", "imported", "before", "request"],
        ["forked", "imported", "before", "before", "after"],
        ["forked", "imported", "before", "request", "after"],
    ],
    ids=" ".join,
)
def test_a_worker_that_is_left_out_is_a_fault(words: list[str]) -> None:
    """By its hooks, however it came to serve."""
    (fault,) = judge(plan(), trace(WHOLE, words))
    assert "worker 1" in fault


def test_a_life_without_hooks_is_a_fault() -> None:
    """Nobody took part."""
    (fault,) = judge(plan(), trace(["forked", "imported", "request"]))
    assert "no before-snapshot hook" in fault


def test_a_worker_from_after_the_snapshot_has_nothing_to_run_unless_the_number_was_named() -> None:
    """With SNAPEXT_WORKERS there is no snapshot before it."""
    lines = trace(WHOLE, ["forked", "imported", "request"], late=1)
    assert judge(plan(), lines) == []
    (fault,) = judge(plan(named=True), lines)
    assert "1 of 2 workers" in fault


def test_forty_lives_are_forty_different_ones() -> None:
    """Under each limit with each number of workers, with and without their number named."""
    forty = plans(40)
    assert len(set(forty)) == 40
    for percent in LIMITS:
        under = [plan for plan in forty if plan.percent == percent]
        assert {plan.workers for plan in under} == set(range(1, 9))
        assert {plan.named for plan in under} == {True, False}
