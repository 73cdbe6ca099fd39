"""Whether a run's headlines are good enough: each budget is a ratio or a size, measured in the same run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.figures import Estimate, estimate
from bench.headlines import HEADLINES, Headline, Parts, taken


@dataclass(frozen=True, slots=True)
class Judged:
    """A headline with its measured values; empty if it was not measured."""

    headline: Headline
    values: Sequence[float]

    @property
    def measured(self) -> Estimate | None:
        return estimate(self.values) if self.values else None

    @property
    def met(self) -> bool | None:
        """None where there is no budget, or no figure."""
        budget = self.headline.budget
        if budget is None or not self.values:
            return None
        median = statistics.median(self.values)
        return median >= budget if self.headline.at_least else median <= budget


def judged(parts: Parts) -> list[Judged]:
    """All headlines of the parts that were measured."""
    return [Judged(headline, taken(headline.take, parts)) for headline in HEADLINES if headline.part in parts]
