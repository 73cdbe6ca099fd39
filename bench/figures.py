"""A few statistics of the measured figures, each with its spread."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RESAMPLES = 1000
_SEED = 5  # the same figures give the same report


@dataclass(frozen=True, slots=True)
class Summary:
    n: int
    median: float
    p5: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median, its 95 % confidence interval, and the spread of the figures themselves."""

    median: float
    low: float
    high: float
    p5: float
    p95: float
    n: int


def quantile(values: Sequence[float], share: float) -> float:
    """Interpolate between the two nearest sorted values; with few values p99 is about the largest."""
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (at - below)


def summary(values: Sequence[float]) -> Summary:
    p5, p95, p99 = (quantile(values, share) for share in (0.05, 0.95, 0.99))
    return Summary(len(values), statistics.median(values), p5, p95, p99)


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Divide pair by pair: both of a pair were measured in the same round, so a slow round cancels out."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def estimate(values: Sequence[float]) -> Estimate:
    """The median with its interval, by the bootstrap: the medians of samples drawn from the values themselves."""
    source = random.Random(_SEED)
    medians = [statistics.median(source.choices(values, k=len(values))) for _ in range(RESAMPLES)]
    low, high = quantile(medians, 0.025), quantile(medians, 0.975)
    return Estimate(statistics.median(values), low, high, quantile(values, 0.05), quantile(values, 0.95), len(values))


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The straight line through points, by least squares: its value at 0, and its slope."""
    fit = statistics.linear_regression([x for x, _ in points], [y for _, y in points])
    return fit.intercept, fit.slope


def lines(by_count: Mapping[str, Sequence[float]], *, at_most: int | None = None) -> list[tuple[float, float]]:
    """The line of each round through its figures; their keys are counts such as "1", "2", "4"."""
    counts = [count for count in by_count if at_most is None or int(count) <= at_most]
    rows = zip(*(by_count[count] for count in counts), strict=True)
    return [line([(int(count), value) for count, value in zip(counts, row, strict=True)]) for row in rows]
