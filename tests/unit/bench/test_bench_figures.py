"""The benchmarks' statistics, on figures whose answers are known."""

from __future__ import annotations

import pytest

from bench.figures import estimate, line, lines, quantile, ratios, summary
from bench.kernel import referenced
from bench.rounds import MAX_DROPPED, interleave
from bench.stage import BenchError

SMAPS = """\
55c817290000-55c817291000 r--p 00000000 fe:00 73259                      /usr/bin/python3.12
Rss:                   8 kB
Referenced:            8 kB
Anonymous:             0 kB
55c821878000-55c821ced000 rw-p 00000000 00:00 0                          [heap]
Rss:                  40 kB
Referenced:           12 kB
7fb178000000-7fb178021000 rw-p 00000000 00:00 0
Referenced:            4 kB
"""


def test_a_quantile_lies_between_the_nearest_figures() -> None:
    """Whatever their order."""
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.0) == 1.0
    assert quantile([4.0, 1.0, 3.0, 2.0], 1.0) == 4.0
    assert quantile([7.0], 0.99) == 7.0


def test_a_summary_has_the_tail() -> None:
    """Of a hundred figures p99 is next to the largest."""
    s = summary([float(value) for value in range(101)])
    assert (s.n, s.median, s.p5, s.p95, s.p99) == (101, 50.0, 5.0, 95.0, 99.0)


def test_ratios_are_of_pairs() -> None:
    """A slow round cancels out; lists of different lengths have no pairs."""
    assert ratios([2.0, 200.0], [1.0, 100.0]) == [2.0, 2.0]
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0], [1.0, 2.0])


def test_an_interval_holds_the_median_and_is_the_same_each_time() -> None:
    """The resampling is seeded, so the same figures give the same report."""
    values = [1.0 + 0.01 * (value % 7) for value in range(60)]
    first = estimate(values)
    assert first == estimate(values)
    assert first.low <= first.median <= first.high
    assert first.p5 <= first.low
    assert first.high <= first.p95


def test_figures_without_a_spread_have_an_interval_without_one() -> None:
    """Nothing is made up."""
    measured = estimate([3.0] * 10)
    assert (measured.low, measured.median, measured.high) == (3.0, 3.0, 3.0)


def test_a_line_has_a_fixed_part_and_a_slope() -> None:
    """3 ms, and 0.5 ms for each."""
    assert line([(1, 3.5), (2, 4.0), (4, 5.0)]) == (pytest.approx(3.0), pytest.approx(0.5))


def test_lines_are_fitted_round_by_round_up_to_a_count() -> None:
    """Two rounds of slopes 1 and 2; the figure at 128 is left out."""
    by_count = {"1": [1.0, 2.0], "2": [2.0, 4.0], "128": [0.0, 0.0]}
    assert [slope for _, slope in lines(by_count, at_most=64)] == [pytest.approx(1.0), pytest.approx(2.0)]


def test_touched_pages_are_told_apart_by_what_is_behind_them() -> None:
    """An inode means a file; the heap and nameless mappings have none."""
    assert referenced(SMAPS) == (4, 2)


def test_every_setup_is_measured_once_a_round_in_an_order_that_turns() -> None:
    """The first round is warm-up, and is discarded."""
    order: list[str] = []

    def measure(name: str) -> dict[str, float]:
        order.append(name)
        return {"ms": float(len(order))}

    result = interleave({"a": lambda: measure("a"), "b": lambda: measure("b")}, 2, lambda _line: None)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert result.figures == {"ms": {"a": [4.0, 5.0], "b": [3.0, 6.0]}}


def test_a_round_with_a_failure_is_dropped_whole_and_told() -> None:
    """Or the pairs after it would be of different rounds."""
    calls = iter([1.0, BenchError("no answer"), 3.0])

    def flaky() -> dict[str, float]:
        value = next(calls)
        if isinstance(value, BenchError):
            raise value
        return {"ms": value}

    result = interleave({"steady": lambda: {"ms": 0.0}, "flaky": flaky}, 1, lambda _line: None)
    assert result.dropped == ["no answer"]
    assert result.figures == {"ms": {"steady": [0.0], "flaky": [3.0]}}


def test_failures_without_end_end_the_run() -> None:
    """A few are bad luck, more are a fault."""
    seen: list[str] = []

    def broken() -> dict[str, float]:
        seen.append("")
        raise BenchError("no answer")

    with pytest.raises(BenchError, match="no answer"):
        interleave({"broken": broken}, 5, lambda _line: None)
    assert len(seen) == MAX_DROPPED + 1
