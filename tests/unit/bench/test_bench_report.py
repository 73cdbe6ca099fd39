"""The benchmarks' report, from figures that are made up: what is held, what is not, and nothing without its spread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import footprint, invocation, restore, scale, startup
from bench.budgets import budgets
from bench.parts import PARTS
from bench.report import document, number, plot_names, unit_of, write_plots

ROUNDS = [1.0, 1.1, 0.9]


def times(factor: float) -> list[float]:
    return [round(factor * value, 4) for value in ROUNDS]


def figures() -> dict[str, dict[str, dict[str, list[float]]]]:
    """One of each metric, with setups that are twice, thrice and so on as slow as the first."""
    setups = {name: times(index + 2.0) for index, name in enumerate([*restore.setups(1)])}
    setups[restore.HTTP_BARE] = times(10.0)
    setups[restore.NOTHING] = times(1.0)
    by_processes = {str(count): times(2 + count / 10) for count in (1, 2, 64, 128)}
    invocations = {name: times(500.0) for name in (invocation.WITH, invocation.WITHOUT, invocation.AGAIN)}
    by_count = (scale.BY_PROCESSES, scale.FLOOR, scale.BY_HOOKS, scale.EXTENSION_CPU, scale.PROCESS_CPU)
    starts = {startup.SNAPEXT: times(20.0), startup.EXIT_ONLY: times(4.0), startup.ISOLATED: times(20.0)}
    imports = {startup.PIP: times(1.0), startup.LAYER: times(9.0)}
    return {
        "restore": {
            "restore_ms, 1 worker": setups,
            "first_response_ms, 1 worker": setups,
            "ping_cold_ms, 1 worker": {restore.FLOOR: times(0.2)},
        },
        "scale": dict.fromkeys(by_count, by_processes),
        "invocation": {f"throughput_per_s, {mode}": invocations for mode in invocation.MODES},
        "startup": {
            "register_ms": starts,
            "pss_mb": {startup.BEFORE: times(10.0), startup.AFTER: times(20.0)},
            "import_ms": imports,
            "first_hook_ms": imports,
            "threads_hook": imports,
        },
        "footprint": {"pages": {footprint.EXTENSION_SNAPEXT: times(900.0), footprint.APP_HTTP: times(800.0)}},
    }


@pytest.fixture
def results() -> dict[str, Any]:
    about = {"command": "make bench QUICK=1", "quick": True, "run": {"machine": "a | b"}}
    parts = {
        name: {"figures": by_metric, "rounds": 3, "warm_up": 1, "dropped": []} for name, by_metric in figures().items()
    }
    return {"about": about, "parts": parts}


def test_a_budget_is_held_or_not_by_its_median() -> None:
    """Each kind: at most, at least, a size, a slope; and those without a limit are neither."""
    held = {budget.title: budget.held for budget in budgets(figures())}
    assert held[f"restore latency: {restore.SNAPEXT_BARE} / {restore.HTTP_BARE}"] is True  # 4 of 10
    assert held[f"restore latency: {restore.SNAPEXT_STAND_IN} / {restore.HTTP_STAND_IN}"] is True  # 3 of 5
    assert held["throughput, buffered: with snapext / without"] is True
    assert held["throughput, buffered: without / without, the noise of this run"] is None
    assert held[f"exec to register: snapext / {startup.EXIT_ONLY}"] is False  # 5 times
    assert held[f"memory (PSS) of the extension: {startup.BEFORE}"] is True
    assert held[f"memory (PSS) of the extension: {startup.AFTER}"] is False
    assert held[f"import snapext: {startup.LAYER}"] is False
    assert held["restore latency for each process beyond the first, up to 64"] is True  # 0.1 ms


def test_the_cost_of_being_measured_can_be_taken_away() -> None:
    """(4 - 1) / (10 - 1)."""
    found = {budget.title: budget.measured.median for budget in budgets(figures())}
    title = f"the same without the measuring itself: {restore.SNAPEXT_BARE} / {restore.HTTP_BARE}"
    assert found[title] == pytest.approx(3 / 9)


def test_the_report_has_every_part_and_every_spread(results: dict[str, Any]) -> None:
    """And says what was run, and that a quick run is one."""
    text = document(results)
    for part in PARTS:
        assert f"## {part.title}\n" in text
    assert "`make bench QUICK=1`" in text
    assert "A quick run" in text
    assert "| machine | a / b |" in text  # a bar would end the cell
    assert f"| {restore.HTTP_BARE} | 3 | 10.0 | 9.10 | 10.9 | 11.0 | 1 |" in text
    assert "**not held**" in text
    assert "fixed, ms" in text


def test_a_part_alone_makes_a_report(results: dict[str, Any]) -> None:
    """`--only startup` judges what can be judged."""
    results["parts"] = {"startup": results["parts"]["startup"]}
    text = document(results)
    assert "exec to register" in text
    assert "throughput" not in text


def test_a_dropped_round_is_in_the_report(results: dict[str, Any]) -> None:
    """Nobody has to look for what failed."""
    results["parts"]["restore"]["dropped"] = ["gunicorn: no answer"]
    assert "A round was dropped, because something in it failed: gunicorn: no answer" in document(results)


def test_each_plot_that_is_shown_is_drawn_and_the_same_each_time(results: dict[str, Any], tmp_path: Path) -> None:
    """Figures alone make the file: a run that is rendered again changes nothing."""
    results["parts"] = {name: results["parts"][name] for name in ("scale", "footprint")}
    shown = {name for part in PARTS[1::3] for name in plot_names(part, results["parts"][part.name]["figures"]).values()}
    write_plots(results, tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(first) == shown
    assert all(content.startswith(b"<?xml") for content in first.values())
    write_plots(results, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first


def test_numbers_have_the_digits_that_count() -> None:
    """Three, as a rule."""
    assert [number(value) for value in (0.0, 0.0312, 1.234, 12.34, 1234.5)] == ["0", "0.031", "1.23", "12.3", "1234"]


def test_a_metric_says_its_unit() -> None:
    """In its name."""
    names = ("restore_ms, 4 workers", "restore_ms by processes", "pss_mb", "throughput_per_s, buffered", "own pages")
    assert [unit_of(name) for name in names] == ["ms", "ms", "MB", "1/s", "pages"]
