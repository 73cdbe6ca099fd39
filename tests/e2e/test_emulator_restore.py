"""The installed layer and real adapters under AWS's own emulator with `--enable-init-caching`: it knows SnapStart then.

Its first invocation releases restore/next. That invocation is never answered, which is a limit of this binary: it hands
the event out as the answer to restore/next. So each test waits for what it means and ends the emulator with it.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from emulator import CACHING, SNAP_START, Emulator, at, emulator
from installed import ADAPTERS, Function

from snapext_tools.simulator import apigw

BOOTSTRAP = "/opt/snapext/bootstrap"
INIT_ENDED = r"INIT RTDONE\(status: success\)"
RESTORE_ASKED = "GET /2018-06-01/runtime/restore/next"
RELEASED = "Release runtime condition"
INVOCATION_ASKED = "GET /2018-06-01/runtime/invocation/next"
WORKERS = 4


def trace(function: Function) -> list[dict[str, Any]]:
    file = function.root / "trace"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def hooks_of(lines: list[dict[str, Any]]) -> list[list[str]]:
    """The hooks of each process, in order."""
    ran: dict[int, list[str]] = {}
    for line in sorted(lines, key=lambda line: int(line["at_ns"])):
        ran.setdefault(line["pid"], []).append(line["hook"])
    return list(ran.values())


def hook_times(lines: list[dict[str, Any]], phase: str) -> list[int]:
    """When the hooks ran, in ms of the clock of the emulator's log."""
    offset_ns = time.time_ns() - time.monotonic_ns()
    return [(line["at_ns"] + offset_ns) // 1_000_000 for line in lines if line["phase"] == phase]


def logged_at(log: str, pattern: str) -> int:
    """When the emulator first logged something, in ms."""
    found = re.search(rf"^(\d+ \w+ \d+ [\d:]+),(\d+) .*{pattern}", log, re.MULTILINE)
    assert found, f"{pattern} is not in the log:\n{log[-6000:]}"
    return int(time.mktime(time.strptime(found[1], "%d %b %Y %H:%M:%S"))) * 1000 + int(found[2])


def event_next_of(log: str, name: str) -> str:
    """The line of an extension's first event/next."""
    found = re.search(rf"External agent {name} \(([\w-]+)\) registered", log)
    assert found, f"{name} has not registered:\n{log[-6000:]}"
    return rf"GET /2020-01-01/extension/event/next, Headers:map\[.*Lambda-Extension-Identifier:\[{found[1]}\]"


def check_boundary(function: Function, platform: Emulator) -> None:
    """Every hook on its side of the snapshot and before the first request, by the emulator's own log."""
    log, lines = platform.log, trace(function)
    assert hooks_of(lines) == [["before", "after"]] * WORKERS, "a request was served, or a hook is missing"
    assert at(log, r"External agent snapext \(.*\) registered, subscribed to \[SHUTDOWN\]")  # written some time after
    assert at(log, r"POST /2020-01-01/extension/register.*Name:\[snapext\]") < at(log, "Start runtime")
    assert len(re.findall(RESTORE_ASKED, log)) == 1
    assert at(log, event_next_of(log, "snapext")) < at(log, INIT_ENDED)
    assert at(log, RESTORE_ASKED) < at(log, INIT_ENDED) < at(log, RELEASED) < at(log, INVOCATION_ASKED)
    assert max(hook_times(lines, "before_snapshot")) <= logged_at(log, RESTORE_ASKED)
    assert min(hook_times(lines, "after_restore")) >= logged_at(log, RELEASED)
    assert max(hook_times(lines, "after_restore")) <= logged_at(log, INVOCATION_ASKED)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_awss_emulator_takes_the_boundary_as_we_play_it(function: Function, adapter: str) -> None:
    """Init ends behind the before-snapshot hooks, the release runs the after-restore hooks, then an event is asked."""
    function.add_adapter(adapter)
    with emulator(function, CACHING, BOOTSTRAP, SNAPEXT_WORKERS=str(WORKERS), **SNAP_START) as platform:
        platform.begin(apigw.http_event("GET", "/"))
        platform.await_log(INVOCATION_ASKED)
        assert "INIT START(type: snap-start" in platform.log
        check_boundary(function, platform)
        platform.terminate()
        platform.await_log("Handling termination for extension-snapext", 20)
    assert not re.search(r"Sending SIGKILL to extension-snapext", platform.log)


def test_a_checkpoint_is_taken_by_awss_emulator(function: Function) -> None:
    """Without a web adapter: a shell runtime runs `snapext checkpoint` and then asks for an event."""
    env = {"_HANDLER": "checkpoint.sh", "SNAPEXT_MODE": "explicit", "SNAPEXT_WORKERS": str(WORKERS), **SNAP_START}
    with emulator(function, CACHING, BOOTSTRAP, **env) as platform:
        platform.begin({})
        platform.await_log(INVOCATION_ASKED)
        check_boundary(function, platform)


def test_a_failed_before_snapshot_hook_is_what_awss_emulator_reports(function: Function) -> None:
    """Init ends with our error type and message, restore/next is never asked, nothing is served."""
    function.add_adapter("0.9.1")
    env = {"FAIL": "before", "SNAPEXT_WORKERS": str(WORKERS), **SNAP_START}
    with emulator(function, CACHING, BOOTSTRAP, **env) as platform:
        response = platform.invoke(apigw.http_event("GET", "/"))
    assert response.status_code == 502
    said = response.json()
    assert said["errorType"] == "Runtime.BeforeSnapshotError"
    assert re.search(r"before_snapshot hook app\.lifespan\S* in process \d+ \(gunicorn\) failed", said["errorMessage"])
    assert re.search(r"INIT RTDONE\(status: error", platform.log)
    assert RESTORE_ASKED not in platform.log
    assert INVOCATION_ASKED not in platform.log


def test_a_failed_after_restore_hook_is_reported_and_nothing_is_served(function: Function) -> None:
    """restore/error carries the type, and the runtime asks for no invocation."""
    function.add_adapter("0.9.1")
    env = {"FAIL": "after", "SNAPEXT_WORKERS": str(WORKERS), **SNAP_START}
    with emulator(function, CACHING, BOOTSTRAP, **env) as platform:
        platform.begin(apigw.http_event("GET", "/"))
        platform.await_log(r"POST /2018-06-01/runtime/restore/error.*Error-Type:\[Runtime.AfterRestoreError\]")
        platform.terminate()
        platform.await_log("Handling termination for extension-snapext|Process extension-snapext-1 exited", 20)
    assert at(platform.log, RELEASED) < at(platform.log, "runtime/restore/error")
    assert INVOCATION_ASKED not in platform.log
    assert [line for line in trace(function) if line["phase"] == "request"] == []


def test_on_demand_the_same_binary_takes_no_boundary(function: Function) -> None:
    """With the flag but another initialization type no hook runs, and requests are served."""
    function.add_adapter("0.9.1")
    with emulator(function, CACHING, BOOTSTRAP, AWS_LAMBDA_INITIALIZATION_TYPE="on-demand") as platform:
        response = platform.invoke(apigw.http_event("GET", "/"))
    assert json.loads(apigw.parse_response(response.content).body)["ran"] == []
    assert RESTORE_ASKED not in platform.log
