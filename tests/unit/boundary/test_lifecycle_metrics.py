"""What the lines that end a phase say for the metrics."""

from __future__ import annotations

from lifecycle_driver import Driver, settings
from snapext.wire.messages import Done, HookTiming
from snapext_extension.boundary.actions import AnswerReadiness, Report, TimerName
from snapext_extension.boundary.events import Acknowledged, RestoreReturned, Said, SignalsSent, TimerFired
from snapext_extension.boundary.failures import Process

FOR_METRICS = {"hooks", "slowest_hook", "slowest_hook_ms", "slowest_process_ms"}


def answer(driver: Driver, key: int, duration_ms: float, *hooks: tuple[str, float]) -> None:
    timings = tuple(HookTiming(name, hook_ms) for name, hook_ms in hooks)
    driver.handle(Said(key, Done(driver.told(key)[-1].id, True, duration_ms, timings)))


def test_each_phase_says_what_its_own_hooks_took() -> None:
    """Those of the phase before do not count, and no line more is written for it."""
    driver = Driver(settings(metrics=True, debug=False))
    first, second = driver.join(), driver.join()
    driver.app_ready_and_settled()
    answer(driver, first, 20.0, ("close", 19.0))
    answer(driver, second, 1.0, ("close", 0.5))
    driver.handle(RestoreReturned(200, ""))
    answer(driver, first, 2.0, ("open", 1.5), ("warm", 0.5))
    answer(driver, second, 3.0, ("open", 2.5))

    (snapshot,), (ready,) = driver.reports("snapshot"), driver.reports("ready")
    assert {name: snapshot[name] for name in FOR_METRICS} == {
        "hooks": 2,
        "slowest_hook": "close",
        "slowest_hook_ms": 19.0,
        "slowest_process_ms": 20.0,
    }
    assert {name: ready[name] for name in FOR_METRICS} == {
        "hooks": 3,
        "slowest_hook": "open",
        "slowest_hook_ms": 2.5,
        "slowest_process_ms": 3.0,
    }
    assert driver.reported("debug") == []
    last = [action for action in driver.log if isinstance(action, (AnswerReadiness, Report))][-2:]
    assert [type(action) for action in last] == [AnswerReadiness, Report]  # the gate first


def test_a_restore_that_goes_straight_is_measured_alike() -> None:
    """Its twin, which gets nothing but the answers, says the same."""
    driver = Driver(settings(metrics=True))
    first, second = driver.join(), driver.join()
    driver.app_ready_and_settled()
    answer(driver, first, 1.0)
    answer(driver, second, 1.0)
    driver.handle(TimerFired(TimerName.EVENT_NEXT))
    driver.handle(RestoreReturned(200, ""))
    answer(driver, first, 2.0, ("open", 1.5))
    answer(driver, second, 3.0, ("open", 2.5))
    assert driver.went_straight == 1
    (ready,) = driver.reports("ready")
    assert {name: ready[name] for name in FOR_METRICS} == {
        "hooks": 2,
        "slowest_hook": "open",
        "slowest_hook_ms": 2.5,
        "slowest_process_ms": 3.0,
    }


def test_without_metrics_nothing_of_it_is_said() -> None:
    """Nor kept."""
    driver = Driver(settings(debug=False))
    key = driver.join()
    driver.until_after_restore()
    driver.done(key)

    (ready,) = driver.reports("ready")
    assert set(ready) == {"processes", "duration_ms"}


def test_an_answer_without_names_counts_the_hooks_of_its_process_and_a_handler_is_one() -> None:
    """An answer that would be too long names none."""
    driver = Driver(settings(metrics=True, signals=True))
    key = driver.join()
    driver.app_ready_and_settled()
    driver.handle(SignalsSent((Process(77, "bash"),), "RTMIN+4"))
    driver.handle(Acknowledged((77,), None))
    answer(driver, key, 1.0)
    driver.handle(SignalsSent((), "RTMIN+4"))

    (snapshot,) = driver.reports("snapshot")
    assert snapshot["hooks"] == 2
