"""Lives with an extension in the test's hands: the local Lambda at the edges, and what simulate makes of it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from helpers import AUTOSTART, free_port
from lives import APPS
from snapext_tools.simulator.folder import _adapter_script, _extension_script, _write_launcher
from snapext_tools.simulator.plan import Plan
from snapext_tools.simulator.platform import InitType
from snapext_tools.simulator.simulation import Simulation
from snapext_tools.simulator.story import Story

# An extension that asks for the restore on the runtime's behalf, fails it, and then does what $THEN says.
FAILING = """
import http.client, json, os, threading

def ask(method, path, headers={}, body=None):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"], timeout=20)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()

def say(**fields):
    with open(os.environ["SAID"], "a") as file:
        file.write(json.dumps(fields) + "\\n")

def wait_for_event():
    _, headers, body = ask("GET", "/2020-01-01/extension/event/next", me)
    say(event=json.loads(body), kind=headers["Content-Type"])

_, headers, _ = ask("POST", "/2020-01-01/extension/register", {"Lambda-Extension-Name": "snapext"},
                    '{"events": ["SHUTDOWN"]}')
me = {"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}
waiter = threading.Thread(target=wait_for_event, daemon=True)
waiter.start()
ask("GET", "/2018-06-01/runtime/restore/next")
error = {"Lambda-Runtime-Function-Error-Type": "Runtime.AfterRestoreError"}
ask("POST", "/2018-06-01/runtime/restore/error", error, '{"errorMessage": "no pool"}')
if os.environ["THEN"] != "hasty":
    waiter.join()
ask("POST", "/2020-01-01/extension/exit/error",
    {**me, "Lambda-Extension-Function-Error-Type": "Extension.AfterRestoreError"}, "{}")
if os.environ["THEN"] == "stays":
    threading.Event().wait(30)
say(ended=True)
"""


# What the layer's wrapper does: without it all processes of our user would be taken for the function's, pytest's too.
LEAVE_START_COMMAND = """
folder=${SNAPEXT_SOCKET%/*}
mkdir -p -m 700 "$folder" && read -r stat <"/proc/$$/stat" && echo "$stat" >"$folder/start-command"
exec "$@"
"""


class Life:
    """A simulation with an /opt/extensions of the test's."""

    def __init__(self, folder: Path, command: list[str], adapter: str | None, snapext: str, **env: str) -> None:
        extensions = folder / "opt" / "extensions"
        extensions.mkdir(parents=True)
        _write_launcher(str(extensions / "snapext"), snapext)
        if adapter is not None:
            _write_launcher(str(extensions / "lambda-adapter"), _adapter_script(adapter))
        self.said_file = folder / "said"
        self.lines: list[str] = []
        port = free_port()
        plan = Plan(
            command=("sh", "-c", LEAVE_START_COMMAND, "sh", *command),
            port=port,
            workers=None,
            init_type=InitType.SNAP_START,
            freeze_s=0.0,
            requests=(),
            adapter="none" if adapter is None else adapter,
            timeout_s=40.0,
            installed_layer=str(folder / "opt"),
        )
        environ = {**os.environ, "SAID": str(self.said_file), "TRACE_FILE": str(folder / "trace"), **env}
        story = Story(lambda line, _indent: self.lines.append(line))
        began = time.monotonic()
        self.document = Simulation(plan, environ, tell=story.tell, hear_app=lambda _who, _line: None).run()
        self.took_s = time.monotonic() - began

    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.said_file.read_text().splitlines()]

    def warnings(self) -> dict[str, str]:
        return {e["about"]: e["message"] for e in self.document["events"] if e["event"] == "warning"}


def failing(tmp_path: Path, then: str, command: list[str] | None = None, **env: str) -> Life:
    script = tmp_path / "failing.py"
    script.write_text(FAILING)
    launcher = f"exec {sys.executable} {script}"
    return Life(tmp_path, command or ["sleep", "30"], None, launcher, THEN=then, **env)


def pipes() -> set[str]:
    """The pipes that this process has open."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the folder itself
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return {name for name in found if name.startswith("pipe")}


def test_after_a_failed_restore_the_extension_gets_shutdown_and_has_time_to_end(tmp_path: Path) -> None:
    """Nobody else asks for the SHUTDOWN: the platform sends it, as plain text, and waits for the end."""
    life = failing(tmp_path, "waits")
    event, ended = life.said()
    assert ended == {"ended": True}
    assert event["event"]["eventType"] == "SHUTDOWN"
    assert event["event"]["shutdownReason"] == "failure"
    assert event["kind"] == "text/plain; charset=utf-8"
    (error,) = life.document["errors"]
    assert (error["phase"], error["type"]) == ("restore", "Runtime.AfterRestoreError")
    assert "no pool" not in error["message"]
    assert life.warnings() == {}


def test_an_extension_that_reports_right_after_restore_error_is_warned_of(tmp_path: Path) -> None:
    """On Lambda users may see its report instead of the hook's error. The life leaves no descriptor and no thread."""
    before, threads = pipes(), threading.enumerate()
    life = failing(tmp_path, "hasty")
    assert not pipes() - before
    assert [thread.name for thread in threading.enumerate() if thread not in threads] == []
    assert life.document["errors"][0]["type"] == "Runtime.AfterRestoreError"
    assert life.warnings()["hasty_end"].startswith("Extension.ExitError ")
    assert "reports it instead of the hook's error" in life.warnings()["hasty_end"]


def test_an_extension_that_stays_after_shutdown_is_killed_in_the_end(tmp_path: Path) -> None:
    """After 2 s, and the story says so."""
    life = failing(tmp_path, "stays")
    assert {"ended": True} not in life.said()
    assert "was killed" in life.warnings()["killed"]
    assert life.took_s < 15


def test_sigterm_reaches_the_whole_process_group_of_the_runtime(tmp_path: Path) -> None:
    """A server in a script's background gets it like the script itself."""
    script = tmp_path / "run.sh"
    script.write_text(
        """#!/bin/bash
        say() { echo '{"group": "child"}' >> "$SAID"; exit; }
        (trap say TERM; while :; do sleep 0.05; done) &
        trap 'wait; exit' TERM
        wait
        """
    )
    script.chmod(0o755)
    assert {"group": "child"} in failing(tmp_path, "waits", [str(script)]).said()


LINKED_SERVER = [sys.executable, str(APPS / "tracing_http_server.py")]
PYTHONPATH = {"PYTHONPATH": str(AUTOSTART)}


def logging(**record: Any) -> str:
    """Our extension, with one more record in its log."""
    line = json.dumps({"time": time.time(), "level": "info", "source": "snapext", **record})
    return f"cat <<'END'\n{line}\nEND\n{_extension_script()}"


@pytest.fixture
def gate() -> dict[str, str]:
    port = str(free_port())
    return {"SNAPEXT_PORT": port, "AWS_LWA_READINESS_CHECK_PORT": port, **PYTHONPATH}


def test_a_process_that_the_extension_calls_not_linked_fails_the_life(tmp_path: Path, gate: dict[str, str]) -> None:
    """With another linked, and all its hooks run: OK means OK."""
    who = {"pid": 1, "name": "python", "command": "python -I worker.py", "cause": "-I", "remedy": "leave it out"}
    snapext = logging(event="not_linked", **who, level="warning")
    life = Life(tmp_path, LINKED_SERVER, "builtin", snapext, **gate)
    assert life.document["hooks_run"] == 4
    assert life.document["ok"] is False
    (error,) = life.document["errors"]
    assert (error["type"], error["pid"], error["message"]) == (
        "NotLinked",
        1,
        "process 1 (python) is not linked: -I",
    )
    (event,) = (event for event in life.document["events"] if event["event"] == "not_linked")
    assert {key: event[key] for key in who} == who
    assert any("python -I worker.py" in line and "leave it out" in line for line in life.lines)


def test_what_the_extension_waits_for_is_told(tmp_path: Path, gate: dict[str, str]) -> None:
    """As a line, and it fails nothing."""
    snapext = logging(event="waiting", message="3 of 4 processes have joined", waited_ms=5000)
    life = Life(tmp_path, LINKED_SERVER, "builtin", snapext, **gate)
    assert life.document["ok"] is True
    assert any("… 3 of 4 processes have joined (5 s)" in line for line in life.lines)


def test_a_life_whose_init_was_reported_and_exited_names_the_report_and_the_exit(tmp_path: Path) -> None:
    """init/error says why, and the exit that ended init stands beside it."""
    script = tmp_path / "runtime.py"
    script.write_text(
        FAILING.partition("_, headers, _ =")[0]
        + """
error = {"Lambda-Runtime-Function-Error-Type": "Runtime.BeforeSnapshotError"}
ask("POST", "/2018-06-01/runtime/init/error", error, '{"errorMessage": "no pool"}')
"""
    )
    life = Life(tmp_path, [sys.executable, str(script)], None, _extension_script(), **PYTHONPATH)
    (error,) = life.document["errors"]
    assert (error["phase"], error["type"]) == ("init", "Runtime.BeforeSnapshotError")
    assert error["message"] == "no pool (Runtime.ExitError)"
