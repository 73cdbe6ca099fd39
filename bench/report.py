"""docs/benchmarks.md, from the raw figures alone: it can be rewritten without another run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import scale
from bench.budgets import Judged, judged
from bench.figures import Estimate, estimate, lines, ratios, summary
from bench.parts import PARTS, Part
from bench.rounds import Figures

UNITS = {"ms": "ms", "ns": "ns", "mb": "MB", "s": "1/s"}
NOT_PLOTTED = ("threads", "own", "import_mb", "first_byte_ms")
MET = {True: "met", False: "**not met**", None: ""}

_HEAD = """\
# Benchmarks

Written by `{command}`; do not edit. The raw figures are in [benchmarks/results.json](benchmarks/results.json).
{quick}
All figures that are compared come from the same run and the same rounds, one per round, in an order that rotates; the
first rounds are warm-up and are discarded. A ratio is taken pair by pair, within a round; its interval is the
bootstrap's 95 % confidence interval of the median. p95 and p99 are those of the figures themselves: with few figures
p99 is about the largest. Absolute figures belong to this machine, and each includes a simulated platform in Python.
Nothing here was measured on Lambda. `make bench COMPARE=1` measures again, and lists what got worse.
"""

_QUICK = """
**A quick run: few rounds, rough figures only.**
"""


def document(results: Mapping[str, Any]) -> str:
    """The whole text. `results` is the content of results.json."""
    about, parts = results["about"], results["parts"]
    figures: dict[str, Figures] = {name: part["figures"] for name, part in parts.items()}
    pieces = [_HEAD.format(command=about["command"], quick=_QUICK if about["quick"] else "")]
    found = judged(figures)
    pieces.append("## Budgets\n")
    pieces.append(_budget_table([one for one in found if one.headline.budget is not None]))
    pieces.append(_beside_table([one for one in found if one.headline.budget is None]))
    pieces.append("## This run\n")
    pieces.append(_table(("this run", ""), [(name, str(value)) for name, value in about["run"].items()]))
    for part in PARTS:
        if part.name in parts:
            pieces += _part(part, parts[part.name])
    return "\n".join(pieces)


def plot_names(part: Part, figures: Figures) -> dict[str, str]:
    """The plots of a part: metric -> file name."""
    if part.by_count:
        return {scale.BY_PROCESSES: "scale-processes.svg", scale.BY_HOOKS: "scale-hooks.svg"}
    return {
        metric: f"{part.name}-{metric.replace(', ', '-').replace(' ', '-').replace('_', '-')}.svg"
        for metric, by_setup in figures.items()
        if len(by_setup) > 1 and not metric.startswith(NOT_PLOTTED)
    }


def write_plots(results: Mapping[str, Any], folder: Path) -> None:
    from bench import plots  # half a second, needed only to draw

    for part in PARTS:
        if part.name not in results["parts"]:
            continue
        figures: Figures = results["parts"][part.name]["figures"]
        for metric, name in plot_names(part, figures).items():
            if part.by_count:
                series = {"snapext": figures[metric]}
                if metric == scale.BY_PROCESSES:
                    series["floor"] = figures[scale.FLOOR]
                plots.growth(folder / name, metric, metric.rpartition(" ")[2], "ms", series)
            else:
                plots.boxes(folder / name, metric, unit_of(metric), figures[metric])


def unit_of(metric: str) -> str:
    """A metric's name ends with its unit: restore_ms, pss_mb, throughput_per_s; else it counts pages."""
    return UNITS.get(metric.partition(",")[0].partition(" ")[0].rpartition("_")[2], "pages")


def _part(part: Part, measured: Mapping[str, Any]) -> Iterator[str]:
    figures: Figures = measured["figures"]
    yield f"## {part.title}\n\n{part.text}\n"
    if measured.get("missing"):
        yield f"Not measured here: {measured['missing']}\n"
        return
    yield f"{measured['rounds']} rounds after {measured['warm_up']} to warm up.\n"
    for reason in measured["dropped"]:
        yield f"A round was dropped because of a failure: {reason}\n"
    plotted = plot_names(part, figures)
    for metric, by_setup in figures.items():
        if metric.startswith("threads"):
            continue
        yield f"### `{metric}`\n" if "`" not in metric else f"### {metric}\n"
        yield _metric_table(by_setup, part.reference.get(metric.partition(",")[0]))
        if metric in plotted:
            yield f"![{metric}](benchmarks/{plotted[metric]})\n"
    if part.by_count:
        yield _fit_table(figures)
    threads = [(metric, by_setup) for metric, by_setup in figures.items() if metric.startswith("threads")]
    if threads:
        rows = [
            (metric, *(f"{summary(values).median:g}" for values in by_setup.values())) for metric, by_setup in threads
        ]
        yield _table(("threads that snapext has started", *threads[0][1]), rows)


def _metric_table(by_setup: Mapping[str, Sequence[float]], reference: str | None) -> str:
    rows = []
    for name, values in by_setup.items():
        s = summary(values)
        row = [name, str(s.n), number(s.median), number(s.p5), number(s.p95), number(s.p99)]
        if reference is not None:
            row.append("1" if name == reference else _interval(estimate(ratios(values, by_setup[reference]))))
        rows.append(row)
    head = ["", "n", "median", "p5", "p95", "p99"]
    return _table([*head, f"ratio to {reference}"] if reference is not None else head, rows)


def _fit_table(figures: Figures) -> str:
    """Straight lines through each round's figures: the fixed cost, and the cost of each further one."""
    rows = []
    for title, metric, at_most in (
        ("snapext, by processes (up to 64)", scale.BY_PROCESSES, 64),
        ("snapext, by processes (all)", scale.BY_PROCESSES, None),
        ("floor, by processes (up to 64)", scale.FLOOR, 64),
        ("snapext, by hooks", scale.BY_HOOKS, None),
    ):
        fits = lines(figures[metric], at_most=at_most)
        fixed, each = estimate([at_0 for at_0, _ in fits]), estimate([slope for _, slope in fits])
        rows.append((title, _interval(fixed), _interval(each)))
    return _table(("fit, median of the rounds' own lines", "fixed, ms", "for each one, ms"), rows)


def _budget_table(found: Sequence[Judged]) -> str:
    rows = []
    for one in found:
        headline = one.headline
        limit = f"{'≥' if headline.at_least else '≤'} {headline.budget:g}{_unit(one)}"
        rows.append((headline.title, *_measured(one), limit, MET[one.met]))
    return _table(("what", "measured: median [95 % interval]", "p5 to p95", "n", "budget", "met"), rows)


def _beside_table(found: Sequence[Judged]) -> str:
    rows = [(one.headline.title, *_measured(one)) for one in found]
    return _table(("without a budget", "measured: median [95 % interval]", "p5 to p95", "n"), rows)


def _measured(one: Judged) -> tuple[str, str, str]:
    measured = one.measured
    if measured is None:
        return ("not measured", "", "0")
    spread = f"{number(measured.p5)} to {number(measured.p95)}"
    return (f"{_interval(measured)}{_unit(one)}", spread, str(measured.n))


def _unit(one: Judged) -> str:
    return f" {one.headline.unit}" if one.headline.unit else ""


def _interval(measured: Estimate) -> str:
    return f"{number(measured.median)} [{number(measured.low)}, {number(measured.high)}]"


def number(value: float) -> str:
    """Three significant digits, no more than the eye can take."""
    if abs(value) >= 100 or value == 0:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in body) + "\n"
