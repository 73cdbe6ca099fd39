"""The middleware and the extension where nothing cooperates, under the local Lambda."""

from __future__ import annotations

import pytest
from test_middleware_alone import AFTER, BEFORE, PATHS

from lives import IN_ORDER, Life, Simulate

GUNICORN = "gunicorn -b 127.0.0.1:{port} -w 2"


LATE = {"_SNAPEXT_SIMULATED_CLOCK": ""}
"""No clock is set after the restore."""


@pytest.fixture
def observe(simulate: Simulate):
    def observe(*options: str, **env: str) -> Life:
        return simulate(f"{GUNICORN} restored:app", *options, APP="flask", **env)

    return observe


@pytest.mark.cells(3, before="exact, in every process", after="exact, in every process", first="exact")
def test_the_adapters_posts_reach_every_worker_through_the_extension(observe):
    """It tells one worker of the restore; that one tells the extension, and all have run before the first request."""
    life = observe("--adapter", "builtin-1.1", SNAPEXT_MODE="observe", **PATHS)
    assert life.status == 0, life.stderr
    assert len(life.pids) == 2
    assert [life.hooks_of(pid) for pid in life.pids] == [BEFORE + AFTER] * 2
    last_hook = max(line["at_ns"] for line in life.trace if "hook" in line)
    assert [line for line in life.requests() if line["at_ns"] < last_hook] == []
    assert life.document["mode"] == "observe"
    assert "run in the thread snapext-link" not in life.stderr  # the worker that is posted to holds its main thread


def test_no_request_passes_before_the_hooks_where_the_clock_is_set_in_time(observe):
    """By simulate, as by Lambda: the middleware and the extension see it, and the adapter's second check waits, too."""
    life = observe("--adapter", "builtin-1.1", SNAPEXT_MODE="observe")
    assert life.status == 0, life.document["errors"]
    assert [life.hooks_of(pid) for pid in life.pids] == [BEFORE + AFTER] * 2
    assert [process["passed"] for process in life.document["processes"]] == [0, 0]
    assert "run in the thread snapext-link" not in life.stderr


@pytest.mark.cells(8, first="yes, if the platform sets the clock before the first request comes")
def test_the_same_without_any_extension(observe):
    """simulate shows that, too: the first request finds all hooks run."""
    life = observe("--adapter", "builtin", "--without-snapext")
    assert [answer["ran"] for answer in life.answers()] == [AFTER]


def test_behind_the_gate_the_posts_disturb_nothing(observe):
    """The same with the settings of the layer: each hook once."""
    life = observe("--adapter", "builtin-1.1", **PATHS)
    assert life.status == 0, life.stderr
    assert [life.hooks_of(pid) for pid in life.pids] == [BEFORE + AFTER] * 2
    assert [process["passed"] for process in life.document["processes"]] == [0, 0]


def test_the_first_invocation_shows_the_restore_at_the_latest(observe):
    """The clock is never set here: the before-snapshot hooks are exact, and the others run once, at the invocation."""
    life = observe("--adapter", "builtin", "--request", "GET /", "--request", "GET /", SNAPEXT_MODE="observe", **LATE)
    assert len(life.pids) == 2, life.stderr
    assert [life.hooks_of(pid) for pid in life.pids] == [BEFORE + AFTER] * 2
    (warning,) = (event for event in life.document["events"] if "only observes" in event.get("message", ""))
    assert "set AWS_LWA_READINESS_CHECK_PORT=9555, and" in warning["message"]  # as on Lambda: nothing listens here


@pytest.mark.cells(3, failing="the same")
def test_a_hook_that_fails_fails_the_restore_by_the_adapters_post(observe):
    """The worker that is posted to tells the extension, which fails the restore: nothing is served."""
    life = observe("--adapter", "builtin-1.1", "--request", "GET /", SNAPEXT_MODE="observe", HOOK_FAILS="1", **PATHS)
    assert life.status == 1
    assert [event["error_type"] for event in life.events("restore_error")] == ["Runtime.AfterRestoreError"]
    assert life.requests() == []
    assert any(error["hook"] == "restored.last" for error in life.document["errors"]), life.document["errors"]


@pytest.mark.cells(
    5,
    before="exact, in every process",
    after="at the first invocation at the latest",
    first="**no**: they run while the first requests are served",
)
def test_without_the_middleware_the_hooks_run_at_the_first_invocation(simulate):
    """The before-snapshot hooks are exact there as well, and the others run once."""
    observed = {"SNAPEXT_MODE": "observe"}
    life = simulate(f"{GUNICORN} tracing_flask:app", "--adapter", "builtin", "--request", "GET /", **observed, **LATE)
    assert len(life.pids) == 2, life.stderr
    assert [life.hooks_of(pid) for pid in life.pids] == [IN_ORDER] * 2
    order = [event["event"] for event in life.document["events"]]
    assert order.index("ready") < order.index("after_restore")  # a request may come between them: nothing holds it
    assert {error["type"] for error in life.document["errors"]} == {"NotInTime"}
    assert all(error["message"].startswith("no middleware in process") for error in life.document["errors"])
