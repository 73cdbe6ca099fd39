"""Any failure fails closed: the right error call, the culprit by name, no request admitted, no process left."""

from __future__ import annotations

import socket
import stat
import sys
from pathlib import Path

import pytest

from lives import Life, Simulate

FOUR_WORKERS = "gunicorn -b 127.0.0.1:{port} -w 4 misbehaving:app"
ONE_PROCESS = "waitress-serve --listen 127.0.0.1:{port} misbehaving:app"


def calls(life: Life) -> list[tuple[str, str]]:
    """The error calls that reached the platform, in order, with their types."""
    return [(event["event"], event["error_type"]) for event in life.document["events"] if "error_type" in event]


def check_failed_closed(life: Life, phase: str, kind: str) -> dict[str, object]:
    assert life.status == 1
    assert life.document["ok"] is False
    assert life.events("invoke") == []
    (error,) = life.document["errors"]
    (culprit,) = [line["pid"] for line in life.trace if line["phase"] == "culprit"]
    assert (error["phase"], error["pid"], error["type"]) == (phase, culprit, kind)
    assert error["hook"] == "misbehaving.culprit"
    assert "misbehaving.culprit" in error["message"]
    assert str(culprit) in error["message"]
    return dict(error)


BEFORE_CALLS = [
    ("init_error", "Runtime.BeforeSnapshotError"),
    ("extension_exit_error", "Extension.BeforeSnapshotError"),
]
AFTER_CALLS = [("restore_error", "Runtime.AfterRestoreError"), ("extension_exit_error", "Extension.AfterRestoreError")]


@pytest.mark.cells(1, failing="fails the version, or the restore (`SnapStartException`)")
@pytest.mark.parametrize("adapter", ["builtin", "builtin-1.1"])
def test_a_before_snapshot_hook_that_raises_in_worker_3_of_4_fails_init(simulate: Simulate, adapter: str) -> None:
    """No snapshot is taken, and the report has the hook's own stack."""
    life = simulate(FOUR_WORKERS, "--workers", "4", "--adapter", adapter, MISBEHAVE="before:raise", CULPRIT="3")
    error = check_failed_closed(life, "before_snapshot", "ValueError")
    assert calls(life) == BEFORE_CALLS
    assert life.events("snapshot") == []
    assert "the pool is gone" in str(error["message"])
    assert 'misbehaving.py", line' in str(error["stack"])
    assert "hooks/runner.py" not in str(error["stack"])


@pytest.mark.cells(1, failing="fails the version, or the restore (`SnapStartException`)")
@pytest.mark.parametrize("adapter", ["builtin", "builtin-1.1"])
@pytest.mark.parametrize(
    ("how", "kind"),
    [("raise", "ValueError"), ("exit", "SystemExit"), ("hang", "TimeoutError"), ("die", "ProcessEnded")],
)
def test_an_after_restore_hook_that_fails_fails_the_restore(
    simulate: Simulate, how: str, kind: str, adapter: str
) -> None:
    """Whether it raises, exits, hangs past its budget or its process is killed in the middle of it."""
    budget_ms = "1500" if how == "hang" else "9000"  # the others answer within it, on a busy machine too
    life = simulate(
        FOUR_WORKERS,
        *("--workers", "4", "--adapter", adapter),
        MISBEHAVE=f"after:{how}",
        CULPRIT="2",
        SNAPEXT_AFTER_RESTORE_TIMEOUT_MS=budget_ms,
    )
    error = check_failed_closed(life, "after_restore", kind)
    assert calls(life) == AFTER_CALLS
    assert " ms" in str(error["message"])
    assert life.events("ready") == []


def test_the_platforms_own_deadline_is_never_needed_for_a_hook_that_hangs(simulate: Simulate) -> None:
    """By default our budget ends before the platform's 10 s, so the report names the hook."""
    life = simulate(ONE_PROCESS, MISBEHAVE="after:hang")
    check_failed_closed(life, "after_restore", "TimeoutError")
    assert calls(life) == AFTER_CALLS


def test_a_before_snapshot_hook_that_hangs_names_the_variable_of_its_budget(simulate: Simulate) -> None:
    """The reader learns which setting to change, if it is the setting that is wrong."""
    life = simulate(ONE_PROCESS, MISBEHAVE="before:hang", SNAPEXT_BEFORE_SNAPSHOT_TIMEOUT_MS="1000")
    error = check_failed_closed(life, "before_snapshot", "TimeoutError")
    assert "SNAPEXT_BEFORE_SNAPSHOT_TIMEOUT_MS" in str(error["message"])


def test_missing_workers_fail_init_and_are_counted(simulate: Simulate) -> None:
    """Three of four is not four."""
    life = simulate(
        "gunicorn -b 127.0.0.1:{port} -w 3 tracing_flask:app", "--workers", "4", SNAPEXT_READY_TIMEOUT_MS="6000"
    )
    assert life.status == 1
    assert "3 of 4 processes" in life.document["errors"][0]["message"]
    assert calls(life)[0] == ("init_error", "Runtime.AppNotReady")


def test_an_app_that_ends_while_it_starts_is_reported(simulate: Simulate) -> None:
    """The runtime's exit is what the platform sees."""
    life = simulate(["python", "-c", "import sys; sys.exit('no database')"])
    assert life.status == 1
    assert life.document["errors"][0]["phase"] == "init"
    assert "no database" in life.stderr


@pytest.mark.parametrize(
    ("variable", "value", "accepted"),
    [
        ("SNAPEXT_WORKERS", "four", "a whole number from 0 to 1000"),
        ("SNAPEXT_MODE", "gait", "one of auto, gate"),
        ("SNAPEXT_RESTORE_CALLER", "me", "one of extension, adapter"),
        ("AWS_LWA_READINESS_CHECK_PROTOCOL", "tcp", "http"),
    ],
)
def test_a_setting_that_is_not_accepted_ends_init_with_one_line(
    simulate: Simulate, variable: str, value: str, accepted: str
) -> None:
    """It names the variable, the value and what is allowed."""
    life = simulate(ONE_PROCESS, MISBEHAVE="before:none", **{variable: value})
    assert life.status == 1
    (error,) = life.document["errors"]
    assert f"{variable}='{value}'" in error["message"]
    assert accepted in error["message"]
    assert "\n" not in error["message"]
    assert calls(life) == [("extension_init_error", "Extension.ConfigError")]


def test_an_adapter_that_asks_for_an_invocation_first_is_explained(simulate: Simulate, tmp_path: Path) -> None:
    """restore/next is refused then; the line names the setting that makes an adapter do so."""
    adapter = tmp_path / "impatient-adapter"
    adapter.write_text(_IMPATIENT.format(python=sys.executable))
    adapter.chmod(adapter.stat().st_mode | stat.S_IXUSR)
    life = simulate(ONE_PROCESS, "--adapter", str(adapter), MISBEHAVE="before:none")
    assert life.status == 1
    assert "AWS_LWA_ASYNC_INIT" in life.document["errors"][0]["message"]
    assert life.events("snapshot") == []
    assert life.events("invoke") == []


_IMPATIENT = """#!{python}
import os, threading, requests
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"]
extension = {{"Lambda-Extension-Name": "lambda-adapter"}}
answer = requests.post(api + "/2020-01-01/extension/register", headers=extension, json={{"events": []}})
identifier = {{"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]}}
ask = threading.Thread(target=requests.get, args=(api + "/2020-01-01/extension/event/next",),
                       kwargs={{"headers": identifier}})
ask.start()
while requests.get(api + "/2018-06-01/runtime/invocation/next").status_code == 403:
    pass  # the runtime has not been started yet
"""


def test_a_port_in_use_is_one_line(simulate: Simulate) -> None:
    """The gate cannot listen: which port, which variable, what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        life = simulate(ONE_PROCESS, MISBEHAVE="before:none", SNAPEXT_PORT=str(port))
    assert life.status == 1
    assert f"port {port} (SNAPEXT_PORT)" in life.document["errors"][0]["message"]


def test_an_extension_that_crashes_is_reported_as_such(simulate: Simulate) -> None:
    """The platform resets the environment; nothing is served."""
    life = simulate("python kill_extension.py")
    assert life.status == 1
    assert life.document["errors"][0]["type"] == "Extension.Crash"
