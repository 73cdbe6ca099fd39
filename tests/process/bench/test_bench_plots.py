"""The plots of the benchmarks' report. Their library takes seconds to load, so this is no unit test."""

from __future__ import annotations

from pathlib import Path

from bench import footprint, scale
from bench.parts import PARTS
from bench.report import plot_names, write_plots

ROUNDS = [1.0, 1.1, 0.9]


def test_each_plot_that_is_shown_is_drawn_and_the_same_each_time(tmp_path: Path) -> None:
    """The file depends only on the figures: rendering a run again changes nothing."""
    by_processes = {str(count): [(2 + count / 10) * value for value in ROUNDS] for count in (1, 2, 64, 128)}
    by_count = (scale.BY_PROCESSES, scale.FLOOR, scale.BY_HOOKS, scale.EXTENSION_CPU, scale.PROCESS_CPU)
    touched = dict.fromkeys((footprint.EXTENSION_SNAPEXT, footprint.APP_SNAPEXT, footprint.APP_HTTP), ROUNDS)
    figures = {
        "scale": dict.fromkeys(by_count, by_processes),
        "footprint": dict.fromkeys(("pages", "own pages"), touched),
    }
    results = {"parts": {name: {"figures": of_part} for name, of_part in figures.items()}}
    shown = {name for part in PARTS if part.name in figures for name in plot_names(part, figures[part.name]).values()}

    write_plots(results, tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(first) == shown
    assert len(shown) > 1
    assert all(content.startswith(b"<?xml") for content in first.values())
    write_plots(results, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
