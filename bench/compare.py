"""A run against the last recorded one, headline by headline: what got worse beyond the noise of both."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.figures import quantile, ratios
from bench.headlines import HEADLINES, Headline, Parts, taken

RESAMPLES = 2000
CONFIDENCE = 0.99
"""Of each of some thirty headlines: with 95 % most runs would show one that has not changed."""
LEAST = 1.05
"""A smaller change than this is not worth an alarm: two runs of the same code differ by as much."""
FEWEST = 10
"""With fewer figures in both runs together, nobody knows what the noise is."""
BUSY_LOAD = 1.0
"""From here on something else takes a processor from what is measured."""
_SEED = 7  # the same two runs give the same verdict


@dataclass(frozen=True, slots=True)
class Change:
    """Of one headline: medians of both runs, and now / recorded with its interval.

    Figures in ms are compared by their ratio to what was measured beside them, so that a slower machine cancels out.
    """

    title: str
    unit: str
    recorded: float
    now: float
    ratio: float
    low: float
    high: float
    verdict: str


def changes(recorded: Parts, now: Parts) -> list[Change]:
    """Of every headline that both runs have."""
    return [change for headline in HEADLINES if headline.compared for change in _change(headline, recorded, now)]


def _change(headline: Headline, recorded: Parts, now: Parts) -> Iterator[Change]:
    figures = taken(headline.take, recorded), taken(headline.take, now)
    then, since = _relative(headline, recorded), _relative(headline, now)
    if not then or not since or min(statistics.median(then), statistics.median(since)) <= 0:
        return
    ratio, low, high = ratio_interval(then, since)
    verdict = "?" if len(then) + len(since) < FEWEST else judge(ratio, low, high, at_least=headline.at_least)
    before, after = map(statistics.median, figures)
    yield Change(headline.title, headline.unit, before, after, ratio, low, high, verdict)


def _relative(headline: Headline, parts: Parts) -> list[float]:
    values = taken(headline.take, parts)
    return ratios(values, taken(headline.beside, parts)) if values and headline.beside else values


def ratio_interval(then: Sequence[float], now: Sequence[float]) -> tuple[float, float, float]:
    """The ratio of the medians, now / then, and its interval by the bootstrap.

    Each is drawn from its own deviations or from those of both runs together, whichever lie further apart: the two or
    three figures of a quick run do not show their spread, the recorded ones do; and on a busy machine there is more.
    """
    source = random.Random(_SEED)
    own = [[value / statistics.median(values) for value in values] for values in (then, now)]
    pooled = [*own[0], *own[1]]
    below, above = (max(deviations, pooled, key=_spread) for deviations in own)
    noise = []
    for _ in range(RESAMPLES):
        numerator = statistics.median(source.choices(above, k=len(now)))
        denominator = statistics.median(source.choices(below, k=len(then)))
        if numerator > 0 and denominator > 0:
            noise.append(numerator / denominator)
    ratio = statistics.median(now) / statistics.median(then)
    tail = (1 - CONFIDENCE) / 2
    low, high = (quantile(noise, share) if noise else 1.0 for share in (tail, 1 - tail))
    return ratio, ratio * low, ratio * high


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def judge(ratio: float, low: float, high: float, *, at_least: bool) -> str:
    """`worse` or `better` when the whole interval is beyond 1, and the ratio by more than is worth an alarm."""
    up, down = ratio >= LEAST and low > 1, ratio <= 1 / LEAST and high < 1
    worse, better = (down, up) if at_least else (up, down)
    return "worse" if worse else "better" if better else ""


def comparison(record: Mapping[str, Any], results: Mapping[str, Any]) -> tuple[str, bool]:
    """The text, and whether something got worse. Both arguments are what a results.json holds."""
    then, now = ({name: part["figures"] for name, part in run["parts"].items()} for run in (record, results))
    found, new = changes(then, now), _not_recorded(then, now)
    lines = [f"recorded: {_about(record)}", f"now:      {_about(results)}", ""]
    lines.append(f"{'recorded':>9} {'now':>9}  {'now / recorded':24}  {'':6}  headline")
    for change in found:
        interval = f"{change.ratio:.2f} [{change.low:.2f}, {change.high:.2f}]"
        title = f"{change.title}, {change.unit}" if change.unit else change.title
        lines.append(f"{change.recorded:9.4g} {change.now:9.4g}  {interval:24}  {change.verdict:6}  {title}")
    worse = [change.title for change in found if change.verdict == "worse"]
    lines += ["", f"{len(worse)} of {len(found)} headlines got worse than the record, by {LEAST - 1:.0%} at least and"]
    lines[-1] += f" beyond the noise of both runs ({CONFIDENCE:.0%} intervals)"
    lines.append(
        "Ratios of figures in ms are relative to what was measured beside them, so a slower machine cancels out"
    )
    if any(change.verdict == "?" for change in found):
        lines.append(f"?: fewer than {FEWEST} figures in both runs together, too few to judge")
    if new:
        lines.append(f"Not in the record yet, a full `make bench` puts them there: {'; '.join(new)}")
    if _busy(results):
        lines.append("The machine was busy before this run: measure again when it is idle, before you look for a cause")
    return "\n".join(lines), bool(worse)


def _not_recorded(recorded: Parts, now: Parts) -> list[str]:
    return [
        headline.title
        for headline in HEADLINES
        if headline.compared and taken(headline.take, now) and not taken(headline.take, recorded)
    ]


def _about(results: Mapping[str, Any]) -> str:
    run = results["about"]["run"]
    return ", ".join(str(run[name]) for name in ("date", "snapext", "Python", "machine") if name in run)


def _busy(results: Mapping[str, Any]) -> bool:
    return float(results["about"]["run"].get("load before the run", 0)) >= BUSY_LOAD
