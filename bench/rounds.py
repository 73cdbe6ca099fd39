"""Rounds: each measures every set-up once, in an order that rotates, so the figures of a round are comparable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.stage import BenchError

Figures = dict[str, dict[str, list[float]]]
"""Metric -> set-up -> one figure per round; figures at the same index of two lists belong to the same round."""
Measure = Callable[[], Mapping[str, float]]
MAX_DROPPED = 3


@dataclass(slots=True)
class Result:
    """The figures of one part. `dropped` says why a round is missing, `missing` why something was not measured."""

    figures: Figures = field(default_factory=dict)
    rounds: int = 0
    warm_up: int = 0
    dropped: list[str] = field(default_factory=list)
    missing: str = ""


def interleave(setups: Mapping[str, Measure], rounds: int, tell: Callable[[str], None], *, warm_up: int = 1) -> Result:
    """Measure each set-up once per round. The first rounds are warm-up and are discarded.

    A round with a failure is dropped as a whole, or the pairs would no longer fit; the report says so.
    """
    result = Result(rounds=rounds, warm_up=warm_up)
    names = list(setups)
    done = turn = 0
    while done < rounds + warm_up:
        at = turn % len(names)
        turn += 1
        try:
            measured = {name: setups[name]() for name in (*names[at:], *names[:at])}
        except BenchError as error:
            result.dropped.append(str(error))
            if len(result.dropped) > MAX_DROPPED:
                raise
            continue
        done += 1
        tell(f"round {done} of {rounds + warm_up}")
        if done > warm_up:
            _add(result.figures, names, measured)
    return result


def _add(figures: Figures, names: Sequence[str], measured: Mapping[str, Mapping[str, float]]) -> None:
    for name in names:
        for metric, value in measured[name].items():
            figures.setdefault(metric, {}).setdefault(name, []).append(value)
