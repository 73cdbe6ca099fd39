"""A run against a recorded one, with figures that are made up: what is worse, what is noise, what cannot be judged."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from bench import footprint, invocation, scale, startup
from bench.budgets import judged
from bench.compare import FEWEST, LEAST, changes, comparison, judge, ratio_interval

NOISE = [0.96, 1.03, 1.0, 0.98, 1.05, 1.01, 0.95, 1.04, 0.99, 1.02]
PAGES = "pages that a linked process touches in a restore"
FIRST_HOOK = f"`import snapext` and the first hook, {startup.PIP}"
THROUGHPUT = "throughput, buffered: with snapext / without"

Parts = dict[str, dict[str, dict[str, list[float]]]]


def noisy(factor: float, count: int = 40) -> list[float]:
    return [factor * NOISE[(3 * place) % len(NOISE)] for place in range(count)]


def parts(*, pages: float = 850, import_ms: float = 60, machine: float = 1, throughput: float = 500) -> Parts:
    """`machine`: how slow it is."""
    return {
        "footprint": {"pages": {footprint.APP_SNAPEXT: noisy(pages)}},
        "startup": {
            "register_ms": {startup.EXIT_ONLY: noisy(15 * machine)},
            "import_ms": {startup.PIP: noisy(1 * machine)},
            "first_hook_ms": {startup.PIP: noisy(import_ms * machine)},
        },
        "invocation": {
            "throughput_per_s, buffered": {
                invocation.WITH: [throughput * value for value in noisy(1)[::-1]],
                invocation.WITHOUT: noisy(500),
                invocation.AGAIN: noisy(500)[::-1],
            }
        },
    }


def verdicts(recorded: Parts, now: Parts) -> dict[str, str]:
    return {change.title: change.verdict for change in changes(recorded, now)}


def test_the_same_again_is_no_change() -> None:
    """Nothing is marked, and only what both runs have is compared."""
    assert verdicts(parts(), parts()) == {
        PAGES: "",
        FIRST_HOOK: "",
        f"`import snapext`, {startup.PIP}": "",
        THROUGHPUT: "",
    }


def test_what_grew_beyond_its_noise_is_worse_and_what_shrank_is_better() -> None:
    """By the medians, with an interval that leaves 1 out."""
    assert verdicts(parts(), parts(pages=1000))[PAGES] == "worse"
    assert verdicts(parts(), parts(pages=600))[PAGES] == "better"
    assert verdicts(parts(), parts(import_ms=90))[FIRST_HOOK] == "worse"


def test_of_throughput_less_is_worse() -> None:
    """A budget that says "at least" turns the comparison around."""
    assert verdicts(parts(), parts(throughput=400))[THROUGHPUT] == "worse"
    assert verdicts(parts(), parts(throughput=600))[THROUGHPUT] == "better"


def test_a_slower_machine_is_not_a_slower_snapext() -> None:
    """Milliseconds are compared by their ratio to what was measured beside them."""
    assert set(verdicts(parts(), parts(machine=3)).values()) == {""}
    assert verdicts(parts(), parts(machine=3, import_ms=90))[FIRST_HOOK] == "worse"


def test_a_quick_run_has_the_noise_of_the_recorded_one() -> None:
    """Three figures lie close together by chance: their own spread would call half of all quick runs a change."""
    then = [100.0 * value for value in (0.7, 1.4, 1.0, 0.8, 1.2, 1.1, 0.9, 1.3, 1.0, 1.0)] * 4
    ratio, low, high = ratio_interval(then, [120.0, 121.0, 122.0])
    assert ratio == pytest.approx(1.21)
    assert low < 1 < high
    ratio, low, high = ratio_interval(then, [240.0, 242.0, 244.0])
    assert low > 1


def test_a_run_on_a_busy_machine_has_its_own_noise() -> None:
    """The recorded one was quiet: with its spread alone, everything would be a change."""
    now = [1.0, 1.5, 0.7, 1.4, 0.8, 1.3]
    ratio, low, high = ratio_interval([1.0, 1.01, 0.99] * 12, now)
    assert ratio == pytest.approx(1.15)
    assert low < 1 < high


def test_what_slows_down_throughput_without_snapext_is_not_snapext() -> None:
    """The noise of a run is measured in it, between two environments without."""
    now = parts(throughput=400)
    by_setup = now["invocation"]["throughput_per_s, buffered"]
    by_setup[invocation.AGAIN] = [400 / 500 * value for value in by_setup[invocation.AGAIN]]
    assert verdicts(parts(), now)[THROUGHPUT] == ""


def test_a_busy_machine_is_named() -> None:
    """Before somebody looks for a cause in the code."""
    now = record(parts())
    now["about"]["run"]["load before the run"] = "0.62"
    assert "busy" not in comparison(record(parts()), now)[0]
    now["about"]["run"]["load before the run"] = "9.83"
    assert "The machine was busy" in comparison(record(parts()), now)[0]


def test_a_floor_without_a_slope_gives_no_ratio() -> None:
    """Of a short run on a busy machine it lies about 0; a ratio to it would be met, or not, by chance."""
    flat = {"scale": {scale.BY_PROCESSES: {"1": [3.0] * 9, "64": [9.0] * 9}, scale.FLOOR: {"1": [1.2], "64": [1.1]}}}
    flat["scale"][scale.FLOOR] = {count: values * 9 for count, values in flat["scale"][scale.FLOOR].items()}
    assert [*verdicts(flat, flat)] == ["each further process, up to 64"]
    (one,) = (one for one in judged(flat) if one.headline.title == "each further process / a bare line there and back")
    assert one.met is None
    assert one.measured is None


def test_an_interval_is_the_same_each_time_and_narrows_with_the_figures() -> None:
    """The resampling is seeded; no spread at all gives no interval at all."""
    assert ratio_interval(noisy(1), noisy(2)) == ratio_interval(noisy(1), noisy(2))
    few, many = ratio_interval(noisy(1), noisy(2, 5)), ratio_interval(noisy(1), noisy(2, 200))
    assert few[2] - few[1] > many[2] - many[1]
    assert ratio_interval([4.0] * 9, [8.0] * 9) == (2.0, 2.0, 2.0)


def test_a_change_that_is_certain_but_tiny_is_no_alarm() -> None:
    """Two runs of the same code differ by as much."""
    assert judge(LEAST - 0.01, 1.02, 1.06, at_least=False) == ""
    assert judge(LEAST, 1.02, 1.06, at_least=False) == "worse"
    assert judge(2.0, 0.99, 4.0, at_least=False) == ""
    assert judge(1 / LEAST, 0.9, 0.99, at_least=True) == "worse"
    assert judge(1 / LEAST + 0.01, 0.9, 0.99, at_least=True) == ""


def test_too_few_figures_are_not_judged() -> None:
    """Two quick runs do not know their noise."""
    few = {"footprint": {"pages": {footprint.APP_SNAPEXT: noisy(850, FEWEST // 2 - 1)}}}
    more = {"footprint": {"pages": {footprint.APP_SNAPEXT: noisy(2000, FEWEST // 2)}}}
    assert verdicts(few, more) == {PAGES: "?"}
    assert verdicts(more, more) == {PAGES: ""}


def test_a_slope_without_a_rise_is_not_compared() -> None:
    """Of a quick run on a busy machine: it has no ratio."""
    flat = {"scale": {scale.BY_HOOKS: {"1": [3.0] * 9, "100": [3.0] * 9}, scale.FLOOR: {"1": [1.0] * 9}}}
    assert verdicts(flat, flat) == {}


def record(of: Parts) -> dict[str, Any]:
    run = {"date": "2026-11-22 05:07 UTC", "snapext": "0.1.0, commit f4ea806", "machine": "a processor"}
    return {"about": {"run": run}, "parts": {name: {"figures": figures} for name, figures in of.items()}}


def test_the_comparison_names_both_runs_and_counts_what_got_worse() -> None:
    """Each line has the recorded figure, the present one, their ratio with its interval, and the mark."""
    text, worse = comparison(record(parts()), record(parts(pages=1700)))
    assert worse
    lines = text.splitlines()
    assert lines[0] == "recorded: 2026-11-22 05:07 UTC, 0.1.0, commit f4ea806, a processor"
    (line,) = (line for line in lines if PAGES in line)
    assert line.split()[:3] == ["854.2", "1708", "2.00"]
    assert "[" in line
    assert " worse " in line
    assert "1 of 4 headlines got worse" in text
    text, worse = comparison(record(parts()), record(parts()))
    assert not worse
    assert "0 of 4 headlines got worse" in text


def test_a_headline_that_the_record_lacks_is_not_compared_but_named() -> None:
    """An older record stays of use, and nobody takes what it lacks for unchanged."""
    older = copy.deepcopy(parts())
    del older["startup"]
    text, worse = comparison(record(older), record(parts()))
    assert [*verdicts(older, parts())] == [PAGES, THROUGHPUT]
    assert not worse
    assert f"Not in the record yet, a full `make bench` puts them there: {FIRST_HOOK}; `import snapext`" in text
    assert "Not in the record" not in comparison(record(parts()), record(older))[0]
