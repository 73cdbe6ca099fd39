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

    Both are drawn from the deviations of both runs together: a quick run's two or three figures do not show their own
    spread, the recorded one's do.
    """
    source = random.Random(_SEED)
    then_median, now_median = statistics.median(then), statistics.median(now)
    ratio = now_median / then_median
    deviations = [*(value / then_median for value in then), *(value / now_median for value in now)]
    noise = []
    for _ in range(RESAMPLES):
        above, below = (statistics.median(source.choices(deviations, k=len(values))) for values in (now, then))
        if above > 0 and below > 0:
            noise.append(above / below)
    tail = (1 - CONFIDENCE) / 2
    low, high = (quantile(noise, share) if noise else 1.0 for share in (tail, 1 - tail))
    return ratio, ratio * low, ratio * high


def judge(ratio: float, low: float, high: float, *, at_least: bool) -> str:
    """`worse` or `better` when the whole interval is beyond 1, and the ratio by more than is worth an alarm."""
    up, down = ratio >= LEAST and low > 1, ratio <= 1 / LEAST and high < 1
    worse, better = (down, up) if at_least else (up, down)
    return "worse" if worse else "better" if better else ""


def comparison(record: Mapping[str, Any], results: Mapping[str, Any]) -> tuple[str, bool]:
    """The text, and whether something got worse. Both arguments are what a results.json holds."""
    found = changes(*({name: part["figures"] for name, part in run["parts"].items()} for run in (record, results)))
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
    return "\n".join(lines), bool(worse)


def _about(results: Mapping[str, Any]) -> str:
    run = results["about"]["run"]
    return ", ".join(str(run[name]) for name in ("date", "snapext", "Python", "machine") if name in run)
