"""The plots of the report, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.figures import line, quantile, summary

MOST_DOTS = 500
_COLOURS = ("#1f5fa8", "#d1661a", "#3a8a4d")


def boxes(path: Path, title: str, unit: str, by_setup: Mapping[str, Sequence[float]]) -> None:
    """A box from the first to the third quartile for each set-up, whiskers from p5 to p95; beyond, dots if few."""
    figure = Figure(figsize=(9, 0.9 + 0.42 * len(by_setup)), layout="constrained")
    axes = figure.subplots()
    names = [*by_setup][::-1]
    values = [by_setup[name] for name in names]
    few = max(map(len, values)) <= MOST_DOTS
    axes.boxplot(values, orientation="horizontal", whis=(5, 95), widths=0.6, sym=".", showfliers=few)
    axes.set_yticks(range(1, len(names) + 1), names)
    axes.set_title(title, loc="left")
    axes.set_xlabel(unit)
    axes.set_xlim(left=0)
    axes.grid(axis="x", alpha=0.3)
    _save(figure, path)


def growth(
    path: Path, title: str, of_what: str, unit: str, series: Mapping[str, Mapping[str, Sequence[float]]]
) -> None:
    """Figures by counts: the medians, p5 to p95 around them, and the straight line through the medians."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for colour, (name, by_count) in zip(_COLOURS, series.items(), strict=False):
        counts = [int(count) for count in by_count]
        medians = [summary(values).median for values in by_count.values()]
        low, high = ([quantile(values, share) for values in by_count.values()] for share in (0.05, 0.95))
        axes.plot(counts, medians, "o-", color=colour, label=name)
        axes.fill_between(counts, low, high, color=colour, alpha=0.2)
        at_0, slope = line([*zip(counts, medians, strict=True)])
        fit = f"fit: {at_0:.2f} + {slope:.3f} for each"
        axes.plot(counts, [at_0 + slope * count for count in counts], "--", color=colour, alpha=0.6, label=fit)
    axes.set_title(title, loc="left")
    axes.set_xlabel(of_what)
    axes.set_ylabel(unit)
    axes.set_ylim(bottom=0)
    axes.legend()
    axes.grid(alpha=0.3)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    # The same figures give the same file: no date in it, no random ids.
    with mpl.rc_context({"svg.hashsalt": "snapext", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
