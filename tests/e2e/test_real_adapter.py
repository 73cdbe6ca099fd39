"""The installed layer beside real web adapters, with gunicorn and several workers behind them."""

from __future__ import annotations

import json

import pytest
from installed import ADAPTERS, LWA_VERSIONS, Function, Life

LEFT_OVER = {
    "AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH": "/before",
    "AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH": "/after",
}


def check_boundary(life: Life) -> None:
    assert life.document["ok"], (life.document["errors"], life.stderr)
    assert list(life.hooks().values()) == [["before", "after"]] * 4
    (ready,) = life.events("ready")
    assert len(life.events("after_restore")) == 4
    assert all(event["at_ms"] <= ready["at_ms"] for event in life.events("after_restore"))
    last_hook = max(line["at_ns"] for line in life.trace if line["phase"] == "after_restore")
    assert [line for line in life.trace if line["phase"] == "request" and line["at_ns"] < last_hook] == []


@pytest.mark.parametrize("env", [{}, LEFT_OVER], ids=["", "own hook paths left over"])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_hook_runs_in_every_worker_before_the_adapter_asks_for_an_invocation(
    function: Function, adapter: str, env: dict[str, str]
) -> None:
    """An app that only knows AWS's names, with no change to its code; its requests come from the adapter."""
    life = function.live(adapter, workers=4, **env)
    check_boundary(life)
    answer = json.loads(life.events("invoke")[0]["body"])
    assert answer["ran"] == ["before", "after"]
    assert adapter not in LWA_VERSIONS or answer["peer"] == "lambda-adapter"  # at the other end of the app's connection


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_first_streamed_byte_arrives_before_the_last_is_produced(function: Function, adapter: str) -> None:
    """The app produces the last chunk only when the platform has seen the first."""
    life = function.live(adapter, "/stream", AWS_LWA_INVOKE_MODE="response_stream")
    assert life.document["ok"], (life.document["errors"], life.stderr)
    assert life.events("invoke")[0]["body"] == "first last"


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_on_demand_runs_no_hook_and_serves(function: Function, adapter: str) -> None:
    """$LATEST, buffered."""
    life = function.live(adapter, init_type="on-demand")
    assert life.document["ok"], (life.document["errors"], life.stderr)
    assert life.hooks() == {}
    assert life.events("invoke")[0]["status"] == 200


def test_with_mode_off_the_wrapper_starts_the_app_and_the_adapter_serves(function: Function) -> None:
    """A rollback by one variable: the readiness port still points at snapext, which hands each check to the app."""
    life = function.live(LWA_VERSIONS[0], workers=7, SNAPEXT_MODE="off", SNAPEXT_SIGNALS="1")
    assert life.hooks() == {}
    assert life.events("invoke")[0]["status"] == 200
    assert [error["message"] for error in life.document["errors"]] == [
        "no hook ran, because of SNAPEXT_MODE=off (--expect-hooks 0 if none should)"
    ]
    assert life.document["mode"] == "off"


@pytest.mark.parametrize("phase", ["before", "after"])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_failing_hook_means_that_the_adapter_never_asks_for_an_invocation(
    function: Function, adapter: str, phase: str
) -> None:
    """Init or restore fails with the right error, and nothing is served."""
    life = function.live(adapter, FAIL=phase)
    assert not life.document["ok"]
    assert life.events("ready") == []
    assert life.events("invoke") == []
    names = [event["event"] for event in life.document["events"] if "error_type" in event]
    assert names == [{"before": "init_error", "after": "restore_error"}[phase], "extension_exit_error"]
