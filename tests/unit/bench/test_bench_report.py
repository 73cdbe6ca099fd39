"""The benchmarks' report, from made-up figures: each budget is met or not, and each figure has its spread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import footprint, integrations, invocation, limited, middleware, restore, scale, startup
from bench.budgets import judged
from bench.cpu_limit import NoLimitError
from bench.headlines import HEADLINES, LISTEN_TIMES
from bench.parts import PARTS
from bench.report import document, number, unit_of
from bench.stage import Stage

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
    imports = {startup.PIP: times(1.0), startup.LAYER: times(9.0), startup.BESIDE_UVICORN: times(4.1)}
    in_a_group = {name: times(100.0) for name in limited.COMPARED}
    return {
        "restore": {
            "restore_ms, 1 worker": setups,
            "first_response_ms, 1 worker": setups,
            "ping_cold_ms, 1 worker": {restore.FLOOR: times(0.2)},
        },
        "scale": dict.fromkeys(by_count, by_processes),
        "invocation": {f"throughput_per_s, {mode}": invocations for mode in invocation.MODES},
        "middleware": {
            metric: {middleware.ASGI: times(90.0), middleware.WSGI: times(80.0), middleware.CLOCK: times(45.0)}
            for metric in (middleware.BEFORE, middleware.AFTER)
        },
        "startup": {
            "register_ms": starts,
            "listen_ms": {startup.SNAPEXT: times(28.0)},
            "pss_mb": {startup.BEFORE: times(10.0), startup.AFTER: times(20.0)},
            "import_ms": imports,
            "first_hook_ms": imports,
            "threads_hook": imports,
        },
        "footprint": {
            metric: {
                footprint.EXTENSION_SNAPEXT: times(900.0),
                footprint.APP_SNAPEXT: times(400.0),
                footprint.APP_HTTP: times(800.0),
            }
            for metric in ("pages", "own pages")
        },
        "integrations": {
            metric: {
                integrations.NOTHING: times(1.0),
                integrations.SQLALCHEMY: times(2.0),
                integrations.DJANGO: times(3.0),
            }
            for metric in (integrations.INSTALL, integrations.BEFORE, integrations.AFTER)
        },
        "limited": {
            **{f"{metric}, 1 worker": in_a_group for metric in ("restore_ms", "first_response_ms")},
            **{f"{metric}, 4 workers": in_a_group for metric in ("restore_ms", "first_response_ms")},
            "register_ms": starts,
            "import_ms": imports,
            "first_hook_ms": imports,
        },
    }


@pytest.fixture
def results() -> dict[str, Any]:
    about = {"command": "make bench QUICK=1", "quick": True, "run": {"machine": "a | b"}}
    parts = {
        name: {"figures": by_metric, "rounds": 3, "warm_up": 1, "dropped": []} for name, by_metric in figures().items()
    }
    return {"about": about, "parts": parts}


def test_a_budget_is_met_or_not_by_its_median() -> None:
    """Each kind: at most, at least, a size, a slope; and those without a budget are neither."""
    met = {one.headline.title: one.met for one in judged(figures())}
    assert met["pages that a linked process touches in a restore"] is True
    assert met["pages that the extension touches in a restore"] is False
    assert met["pages that the extension touches in a restore, its own ones"] is None
    assert met[f"restore: {restore.SNAPEXT_BARE} / {restore.HTTP_BARE}"] is True  # 4 of 10
    assert met[f"restore without the measuring itself: {restore.SNAPEXT_BARE} / one cold ping"] is False  # 3 of 0.2
    assert met[f"restore: {restore.SNAPEXT_STAND_IN} / {restore.HTTP_STAND_IN}"] is True  # 3 of 5
    assert met["throughput, buffered: with snapext / without"] is True
    assert met["throughput, buffered: without / without, the noise of this run"] is None
    assert met[f"exec to register: snapext / {startup.EXIT_ONLY}"] is False  # 5 times
    assert LISTEN_TIMES > 7
    assert met[f"from register until it listens / {startup.EXIT_ONLY}"] is True  # 7 times
    assert met[f"memory (PSS) of the extension: {startup.BEFORE}"] is True
    assert met[f"memory (PSS) of the extension: {startup.AFTER}"] is False
    assert met[f"`import snapext`, {startup.LAYER}"] is False
    assert met[f"`import snapext` and the first hook, {startup.PIP}"] is True  # 1 and 1
    assert met[f"`import snapext` and the first hook, {startup.BESIDE_UVICORN}"] is False  # 4.1 and 4.1
    assert met["each further process, up to 64"] is True  # 0.1 ms
    assert met["each further process / a bare line there and back"] is True
    assert met["each further hook"] is False


def test_every_headline_is_measured_when_every_part_is() -> None:
    """None uses a name that no part has."""
    found = judged(figures())
    assert [one.headline for one in found] == [*HEADLINES]
    assert [one.headline.title for one in found if one.measured is None] == []
    titles = [headline.title for headline in HEADLINES]
    assert len(titles) == len(set(titles))


def test_the_cost_of_being_measured_can_be_taken_away() -> None:
    """(4 - 1) / (10 - 1)."""
    found = {one.headline.title: one.measured for one in judged(figures())}
    measured = found[f"restore without the measuring itself: {restore.SNAPEXT_BARE} / {restore.HTTP_BARE}"]
    assert measured is not None
    assert measured.median == pytest.approx(3 / 9)


def test_an_older_record_is_readable_and_what_it_lacks_is_said(results: dict[str, Any]) -> None:
    """A headline that was added since has no figure there, and is neither met nor not."""
    del results["parts"]["startup"]["figures"]["listen_ms"]
    del results["parts"]["limited"]
    title = f"from register until it listens / {startup.EXIT_ONLY}"
    text = document(results)
    assert f"| {title} | not measured |  | 0 | ≤ {LISTEN_TIMES:g} |  |" in text
    assert "0.1 CPU" not in text


def test_a_part_that_cannot_be_measured_says_why_and_the_rest_is_reported(results: dict[str, Any]) -> None:
    """Where no control group can be made, one line stands for it."""
    results["parts"]["limited"] = {"rounds": 0, "warm_up": 0, "dropped": [], "missing": "no group", "figures": {}}
    text = document(results)
    assert "## With 0.1 CPU\n" in text
    assert "Not measured here: no group\n" in text
    assert "| exec to register at 0.1 CPU | not measured |" in text
    assert "| exec to register: snapext / " in text


def test_without_control_groups_nothing_is_measured_but_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The rest of the run goes on."""

    def none(percent: int) -> None:
        raise NoLimitError("a CPU limit needs a control group: read-only")

    monkeypatch.setattr(limited, "cpu_limit", none)
    result = limited.measure(Stage(tmp_path), 2, lambda _line: None)
    assert result.missing == "a CPU limit needs a control group: read-only"
    assert result.figures == {}


def test_the_budgets_come_before_everything_else(results: dict[str, Any]) -> None:
    """In one table: what, measured, budget, met or not."""
    text = document(results)
    table = text.index("| what | measured: median [95 % interval] | p5 to p95 | n | budget | met |")
    assert table < text.index("## This run") < text.index(f"## {PARTS[0].title}")
    title = "pages that a linked process touches in a restore"
    assert f"| {title} | 400 [360, 440] pages | 364 to 436 | 3 | ≤ 420 pages | met |" in text
    assert (
        "| throughput, buffered: with snapext / without | 1.00 [1.00, 1.00] | 1.00 to 1.00 | 3 | ≥ 0.98 | met |" in text
    )


def test_the_report_has_every_part_and_every_spread(results: dict[str, Any]) -> None:
    """And says what was run, and that a quick run is one."""
    text = document(results)
    for part in PARTS:
        assert f"## {part.title}\n" in text
    assert "`make bench QUICK=1`" in text
    assert "A quick run" in text
    assert "| machine | a / b |" in text  # a bar would end the cell
    assert f"| {restore.HTTP_BARE} | 3 | 10.0 | 9.10 | 10.9 | 11.0 | 1 |" in text
    assert "**not met**" in text
    assert "fixed, ms" in text


def test_a_part_alone_makes_a_report(results: dict[str, Any]) -> None:
    """`--only startup` judges what can be judged."""
    results["parts"] = {"startup": results["parts"]["startup"]}
    text = document(results)
    assert "exec to register" in text
    assert "throughput" not in text


def test_a_dropped_round_is_in_the_report(results: dict[str, Any]) -> None:
    """A reader sees the failure there."""
    results["parts"]["restore"]["dropped"] = ["gunicorn: no answer"]
    assert "A round was dropped because of a failure: gunicorn: no answer" in document(results)


def test_numbers_have_the_digits_that_count() -> None:
    """Three, as a rule."""
    assert [number(value) for value in (0.0, 0.0312, 1.234, 12.34, 1234.5)] == ["0", "0.031", "1.23", "12.3", "1234"]


def test_a_metric_says_its_unit() -> None:
    """In its name."""
    names = ("restore_ms, 4 workers", "restore_ms by processes", "pss_mb", "throughput_per_s, buffered", "own pages")
    assert [unit_of(name) for name in names] == ["ms", "ms", "MB", "1/s", "pages"]
