"""`snapext simulate` as a person or a script meets it: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from lives import APPS, free_port

from helpers import wait_until

SNAPEXT = [sys.executable, "-m", "snapext"]
SERVER = [sys.executable, "tracing_http_server.py"]


def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SNAPEXT, "simulate", *words],
        cwd=APPS,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing argument"),
        (["--port", "0", "--", "python"], "0 is not in the range"),
        (["--port", "web", "--", "python"], "not a valid integer"),
        (["--workers", "0", "--", "python"], "0 is not in the range"),
        (["--init-type", "warm", "--", "python"], "'warm' is not one of"),
        (["--freeze", "-1", "--", "python"], "-1.0 is not in the range"),
        (["--request", "GET", "--", "python"], "'GET' is not a method and a path"),
        (["--request", "FETCH /", "--", "python"], "'FETCH /' is not a method and a path"),
        (["--request", "GET / HTTP/1.1", "--", "python"], "is not a method and a path"),
        (["--adapter", "/etc/passwd", "--", "python"], "neither builtin, builtin-1.1, none nor an executable"),
        (["--", "no-such-command"], "'no-such-command' is not a command that can be run"),
        (["--freese", "1", "--", "python"], "No such option"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_status_2(words: list[str], said: str) -> None:
    """Never a traceback, and nothing on standard output."""
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_somebody_listens_on_is_refused() -> None:
    """That server would be taken for the app."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("--port", port, "--", *SERVER)
    assert done.returncode == 2
    assert f"port {port} cannot be listened on" in done.stderr


def test_the_story_is_told_on_standard_output_and_the_app_is_kept_apart(tmp_path: Path) -> None:
    """Every chapter in its order, hooks with durations and their share of the budget, then one verdict."""
    done = run("--port", str(free_port()), "--", *SERVER, TRACE_FILE=str(tmp_path / "trace"))
    assert done.returncode == 0
    chapters = [line.split()[0] for line in done.stdout.splitlines() if line and not line.startswith(" ")]
    assert chapters == [
        *("init", "before_snapshot", "snapshot", "restore", "after_restore", "ready", "invoke", "shutdown", "OK:")
    ]
    after = [line for line in done.stdout.splitlines() if "after_first" in line]
    assert "% of 10 s" in after[0]
    assert "\x1b[" not in done.stdout
    assert "OK: 1 process, 4 hooks run" in done.stdout.splitlines()[-1]


def test_a_failure_shows_hook_process_stack_and_what_users_would_have_seen(tmp_path: Path) -> None:
    """In the story, not only in the document."""
    words = [f"{Path(sys.executable).parent}/waitress-serve", "--listen", "127.0.0.1:{port}", "misbehaving:app"]
    port = str(free_port())
    done = run(
        "--port",
        port,
        "--",
        *(word.format(port=port) for word in words),
        TRACE_FILE=str(tmp_path / "trace"),
        MISBEHAVE="after:raise",
    )
    assert done.returncode == 1
    for part in ("misbehaving.culprit", "(waitress-serve)", "ValueError: the pool is gone", "SnapStartException"):
        assert part in done.stdout
    assert done.stdout.splitlines()[-1].startswith("FAILED:")


def test_with_json_standard_output_is_one_document(tmp_path: Path) -> None:
    """With every field that a program may rely on; the story goes to standard error."""
    done = run("--json", "--port", str(free_port()), "--", *SERVER, TRACE_FILE=str(tmp_path / "trace"))
    document = json.loads(done.stdout)
    assert set(document) == {
        *("ok", "mode", "init_type", "adapter", "environment_id", "restore_ms", "processes", "events", "errors")
    }
    assert (document["mode"], document["init_type"], document["adapter"]) == ("gate", "snap-start", "builtin")
    (process,) = document["processes"]
    assert set(process) == {"pid", "name", "hooks"}
    assert process["hooks"] == {"before_snapshot": 2, "after_restore": 2}
    names = [event["event"] for event in document["events"]]
    assert names == [
        *("extension_registered", "extension_registered", "process_joined", "before_snapshot", "snapshot"),
        *("restore", "after_restore", "ready", "invoke", "shutdown"),
    ]
    times = [event["at_ms"] for event in document["events"]]
    assert times == sorted(times)
    (invoke,) = [event for event in document["events"] if event["event"] == "invoke"]
    assert {"path", "status", "duration_ms", "body"} <= set(invoke)
    assert "OK:" in done.stderr


def test_a_server_error_is_a_failure_of_the_app(tmp_path: Path) -> None:
    """A 500 to a request is not success."""
    done = run(
        *("--json", "--port", str(free_port()), "--request", "PUT /", "--", *SERVER), TRACE_FILE=str(tmp_path / "trace")
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["errors"][0]["type"] == "HTTP 501"


def test_a_story_without_an_end_is_ended_and_says_what_it_waited_for(tmp_path: Path) -> None:
    """An app that never listens."""
    done = run(
        *("--timeout", "2", "--port", str(free_port()), "--"),
        *(sys.executable, "-c", "import threading; threading.Event().wait(60)"),
    )
    assert done.returncode == 1
    assert "has not asked for" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_simulation_leaves_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    """Whoever stops it, everything that it started is stopped too."""
    marker = str(tmp_path / "marker")
    process = subprocess.Popen(
        # A shell starts what runs in the background with SIGINT ignored, this test perhaps included.
        ["env", "--default-signal=INT", *SNAPEXT, "simulate", "--port", str(free_port()), "--", *_TOUCH_AND_WAIT],
        env={**os.environ, "MARKER": marker},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: Path(marker).exists(), 30)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 3
    process.send_signal(number)
    assert process.wait(20) != 0
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


_TOUCH_AND_WAIT = [
    *(sys.executable, "-c"),
    "import os, threading; open(os.environ['MARKER'], 'w').close(); threading.Event().wait(60)",
]
