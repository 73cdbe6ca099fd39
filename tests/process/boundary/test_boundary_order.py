"""The boundary as AWS's code sees it: the order of the calls, the refusals, and the reports at its edges."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from alone import Life as Alone
from helpers import LIMIT_S, wait_until
from lives import APPS, IN_ORDER, Life, Simulate
from snapext.wire.messages import AfterRestore, BeforeSnapshot, Checkpoint, Result
from snapext_tools.simulator.environment import Environment
from snapext_tools.simulator.platform_server import _ROUTES

SETTLE = {"SNAPEXT_SETTLE_MS": "200"}
BEFORE = ["before_second", "before_first"]


def warnings(life: Life, about: str) -> list[dict[str, Any]]:
    return [event for event in life.events("warning") if event["about"] == about]


def calls(life: Life) -> list[str]:
    return [event["error_type"] for event in life.document["events"] if "error_type" in event]


# --- the order of the calls ------------------------------------------------------------------------------------------


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Alone]:
    with ExitStack() as stack:
        yield Alone(stack, tmp_path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that have reached the platform. They are answered as ever."""
    made: list[str] = []
    for route in [route for route in _ROUTES if route[1].endswith(("restore/next", "event/next"))]:

        def spy(
            environment: Environment, now_ms: float, *more: Any, route: Any = route, call: Any = _ROUTES[route]
        ) -> Any:
            made.append(route[1].split("/", 2)[2])
            return call(environment, now_ms, *more)

        monkeypatch.setitem(_ROUTES, route, spy)  # type: ignore[arg-type]
    return made


def test_event_next_is_asked_when_restore_next_has_not_been_refused(alone: Alone, asked: list[str]) -> None:
    """The platform refuses at once; a call without a refusal within REFUSAL_MS is accepted."""
    alone.start()
    app, command = alone.connect("app"), alone.connect("control")
    command.say(Checkpoint())
    app.answer(BeforeSnapshot, ok=True)
    alone.platform.wait_init_end(LIMIT_S)
    assert asked == ["runtime/restore/next", "extension/event/next"]
    alone.platform.restore()
    app.answer(AfterRestore, ok=True)
    assert command.next(Result) == Result(True)


def test_no_version_is_published_when_the_runtime_went_first(alone: Alone, asked: list[str]) -> None:
    """restore/next is refused then, and event/next is never asked, which would complete the initialisation."""
    alone.start()
    url = f"http://{alone.platform.address}/2018-06-01/runtime/invocation/next"
    threading.Thread(target=_ignore_its_end, args=(url,), daemon=True).start()
    wait_until(lambda: alone.platform.missing() and "runtime" not in " ".join(alone.platform.missing()))
    app, command = alone.connect("app"), alone.connect("control")
    command.say(Checkpoint())
    app.answer(BeforeSnapshot, ok=True)
    result = command.next(Result)
    assert isinstance(result, Result)
    assert not result.ok
    assert "restore/next was answered with 403: another process asked for invocation/next first" in str(result.message)
    assert alone.process.wait(LIMIT_S) == 1
    assert asked == ["runtime/restore/next"]
    assert "init_end" not in [event.name for event in alone.platform.events]


def _ignore_its_end(url: str) -> None:
    with contextlib.suppress(OSError):
        urllib.request.urlopen(url).read()


def test_after_a_failed_restore_the_report_waits_for_shutdown(alone: Alone) -> None:
    """The platform prefers the first fatal error that it has stored: ours would hide the hook's."""
    alone.start()
    app, command = alone.connect("app"), alone.connect("control")
    command.say(Checkpoint())
    app.answer(BeforeSnapshot, ok=True)
    alone.platform.wait_init_end(LIMIT_S)
    alone.platform.restore()
    app.answer(AfterRestore, ok=False)
    assert wait_until(lambda: alone.platform.failure).error_type == "Runtime.AfterRestoreError"
    with pytest.raises(subprocess.TimeoutExpired):
        alone.process.wait(0.3)
    alone.platform.shutdown("failure", 2000)
    assert alone.process.wait(LIMIT_S) == 65
    names = [event.name for event in alone.platform.events]
    order = [name for name in names if name in ("restore_error", "shutdown", "extension_exit_error")]
    assert order == ["restore_error", "shutdown", "extension_exit_error"]
    assert "hasty_end" not in names


# --- adapters --------------------------------------------------------------------------------------------------------


def test_an_adapter_that_asks_and_makes_no_check_after_the_restore_is_refused(simulate: Simulate) -> None:
    """Nothing can hold it there: init fails, and says which releases to use."""
    life = simulate("python tracing_http_server.py", "--adapter", "builtin-unchecked")
    assert life.status == 1
    (error,) = life.document["errors"]
    assert "makes no readiness check after the restore" in error["message"]
    assert "1.1.0 and later" in error["message"]
    assert calls(life) == ["Extension.ConfigError"]
    assert life.events("snapshot") == []


def test_to_leave_the_restore_to_an_adapter_that_never_asks_is_refused(simulate: Simulate) -> None:
    """Nobody would ask, and no after-restore hook would ever run."""
    life = simulate("python tracing_http_server.py", SNAPEXT_RESTORE_CALLER="adapter")
    assert life.status == 1
    (error,) = life.document["errors"]
    assert "SNAPEXT_RESTORE_CALLER='adapter'" in error["message"]
    assert "never asks for restore/next" in error["message"]
    assert life.events("snapshot") == []


@pytest.fixture
def impatient(tmp_path: Path) -> str:
    adapter = tmp_path / "impatient-adapter"
    marks = "/runtime/restore/next AWS_LWA_SNAPSTART"
    adapter.write_text(f"#!/bin/sh\n# {marks}\nexec {sys.executable} {APPS / 'impatient_adapter.py'}\n")
    adapter.chmod(0o755)
    return str(adapter)


def test_checks_that_are_dropped_and_repeated_are_not_taken_for_the_restores(
    simulate: Simulate, impatient: str
) -> None:
    """Before the snapshot no after-restore hook runs; after it the log names the unfinished processes at each drop."""
    life = simulate("python slow_hooks.py", "--adapter", impatient, SLOW_BEFORE="1", SLOW_AFTER="1", **SETTLE)
    assert life.status == 0, life.stderr
    (pid,) = life.pids
    assert life.hooks_of(pid) == ["slow_before", *IN_ORDER, "slow_after"]
    (snapshot,), (ready,) = life.events("snapshot"), life.events("ready")
    assert ready["at_ms"] - snapshot["at_ms"] >= 1000
    drops = [(event["at_ms"] > snapshot["at_ms"], event["message"]) for event in warnings(life, "readiness_hung_up")]
    for restored, hook in ((False, "slow_before"), (True, "slow_after")):
        said = [message for after, message in drops if after is restored]
        assert len(said) >= 2
        assert any(f"hook __main__.{hook} in process {pid} (slow_hooks.py)" in message for message in said)
    assert life.requests() != []


TIMEOUT = "AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS"


def test_an_adapter_that_gives_up_before_the_snapshot_fails_init_and_runs_no_later_hook(simulate: Simulate) -> None:
    """A warning has said before that its time is too short for the hooks."""
    env = {TIMEOUT: "0.6", "SLOW_BEFORE": "2", **SETTLE}
    life = simulate("python slow_hooks.py", "--adapter", "builtin-1.1", **env)
    assert life.status == 1
    assert life.events("snapshot") == []
    assert [line["hook"] for line in life.trace if line["phase"] == "after_restore"] == []
    assert any(TIMEOUT in event["message"] for event in warnings(life, "settings"))


def test_an_adapter_that_gives_up_after_the_restore_is_said_to_with_those_that_still_run(simulate: Simulate) -> None:
    """Its own report names no process."""
    life = simulate("python slow_hooks.py", "--adapter", "builtin-1.1", SLOW_AFTER="9", **SETTLE, **{TIMEOUT: "5"})
    assert life.status == 1
    assert "Runtime.AfterRestoreError" in calls(life)
    (warning, *_) = warnings(life, "readiness_hung_up")
    assert "hook __main__.slow_after in process" in warning["message"]
    assert TIMEOUT in warning["message"]


def test_a_route_that_the_adapter_calls_before_the_hooks_is_warned_of_at_init(simulate: Simulate) -> None:
    """It gets the state of the snapshot."""
    route = {"AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH": "/after"}
    life = simulate("python tracing_http_server.py", "--adapter", "builtin-1.1", **SETTLE, **route)
    assert life.status == 0, life.stderr
    (warning,) = warnings(life, "settings")
    assert "AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH is set" in warning["message"]
    assert warning["at_ms"] < life.events("process_joined")[0]["at_ms"]


# --- hooks that come late, processes that go early -------------------------------------------------------------------


def test_a_hook_that_is_registered_after_its_phase_fails_the_version(simulate: Simulate) -> None:
    """As long as another process still runs that phase, it is not too late to refuse the snapshot."""
    life = simulate(["python", "beside.py", "python late_hook.py"], WAIT_FOR="nothing", **SETTLE)
    assert life.status == 1
    (error,) = life.document["errors"]
    (late,) = {line["pid"] for line in life.trace if line["phase"] == "up"}
    assert (error["phase"], error["pid"], error["type"]) == ("before_snapshot", late, "RegisteredTooLate")
    assert f"process {late} (late_hook.py) registered a before_snapshot hook after" in error["message"]
    assert calls(life)[0] == "Runtime.BeforeSnapshotError"
    assert life.events("snapshot") == []


def test_a_hook_that_another_thread_registers_when_the_others_have_run_fails_the_version(simulate: Simulate) -> None:
    """Its process has not answered yet, and has looked for the last time."""
    life = simulate(["python", "beside.py", "python late_hook.py in the end"], WAIT_FOR="nothing", **SETTLE)
    assert life.status == 1
    (error,) = life.document["errors"]
    (late,) = {line["pid"] for line in life.trace if line["phase"] == "up"}
    assert (error["phase"], error["pid"], error["type"]) == ("before_snapshot", late, "RegisteredTooLate")


def test_a_hook_that_is_registered_after_the_restore_is_a_warning_once(simulate: Simulate) -> None:
    """Two of them in one process are one line, and the function goes on."""
    life = simulate("python slow_hooks.py", "--request", "GET /late", "--request", "GET /", **SETTLE)
    assert life.status == 0, life.stderr
    (warning,) = warnings(life, "registered_too_late")
    assert {warning["pid"]} == life.pids
    assert "does not run in this environment" in warning["message"]


def test_a_process_that_ends_between_its_answer_and_the_snapshot_leaves_a_line(simulate: Simulate) -> None:
    """Nothing fails: no clone will hold anything of it."""
    life = simulate(["python", "beside.py", "python raw_client.py before exit"], WAIT_FOR="lost", **SETTLE)
    assert life.status == 0, life.stderr
    (pid,) = {line["pid"] for line in life.trace if line["phase"] == "lost"}
    (warning,) = warnings(life, "process_ended")
    assert warning["pid"] == pid
    assert f"process {pid} (raw) ended" in warning["message"]


def test_an_extension_that_is_terminated_leaves_a_line(simulate: Simulate) -> None:
    """It holds nothing any more: the log must say which process removed it, and when."""
    life = simulate("python kill_extension.py", SIGNAL="TERM")
    assert life.status == 1
    (warning,) = warnings(life, "terminated")
    assert warning["state"] == "init"
    assert "SIGTERM" in warning["message"]


def test_a_failed_hook_is_said_to_have_failed_after_its_own_time(simulate: Simulate) -> None:
    """Not after that of the phase, in which others may have run before it."""
    life = simulate(["python", "beside.py", "python raw_client.py never"], ERROR_MS="41", **SETTLE)
    assert life.status == 1
    assert "hook raw.hook in process" in life.document["errors"][0]["message"]
    assert "failed after 41 ms: ValueError: no" in life.document["errors"][0]["message"]
    assert [event["failed_hook_ms"] for event in life.document["events"] if not event.get("ok", True)] == [41]
