"""Explicit mode: a runtime of one's own says when it is up, and nothing is served before every hook has run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import ROOT, clean_environ, need
from lives import BIN, IN_ORDER, Life, Simulate

SHELL_RUNTIME = ROOT / "examples" / "shell_runtime"
RUNTIME = ["--adapter", "none"]
EXPLICIT = {"SNAPEXT_MODE": "explicit"}
SNAPEXT = [sys.executable, "-m", "snapext"]


def shell(*commands: str) -> list[str]:
    need("curl")
    return ["./runtime.sh", *(commands or ("snapext checkpoint",))]


def check_boundary(life: Life) -> None:
    assert life.status == 0, life.stderr
    (pid,) = life.pids
    assert [hook for hook in life.hooks_of(pid) if hook != "checkpoint"] == IN_ORDER
    (answer,) = life.answers()
    assert answer["ran"] == IN_ORDER
    assert answer["restored"] is True
    assert answer["environment_id"] == life.document["environment_id"]


@pytest.mark.needs("curl")
@pytest.mark.parametrize("mode", ["explicit", "auto"])
def test_the_example_in_bash_serves_what_was_restored(simulate: Simulate, mode: str) -> None:
    """docs/own-runtime.md's own script, whether or not the mode requires the checkpoint."""
    script = f"cd {SHELL_RUNTIME} && exec ./run.sh"
    requests = ["--request", "GET /", "--request", "GET /other"]
    life = simulate(["bash", "-c", script], *RUNTIME, *requests, SNAPEXT_MODE=mode)
    assert life.status == 0, life.stderr
    assert life.document["mode"] == mode
    assert [answer["connection"] for answer in life.answers()] == ["opened after the restore"] * 2
    assert [answer["path"] for answer in life.answers()] == ["/", "/other"]
    names = [event["event"] for event in life.document["events"]]
    assert names.index("before_snapshot") < names.index("snapshot") < names.index("after_restore")
    assert names.index("after_restore") < names.index("ready") < names.index("invoke")


@pytest.mark.cells(2, before="exact, in every process", after="exact, in every process", first="exact")
def test_each_worker_behind_a_checkpoint_runs_its_hooks_before_the_first_invocation(simulate: Simulate) -> None:
    """Of a server with several: the command returns when the last is done."""
    server = "gunicorn -b 127.0.0.1:$PORT -w 2 tracing_flask:app"
    path = f"{BIN}:{os.environ['PATH']}"
    life = simulate(shell(), *RUNTIME, "--workers", "2", SERVER=server, PATH=path, **EXPLICIT)
    assert life.status == 0, life.stderr
    assert [life.hooks_of(pid) for pid in life.pids] == [IN_ORDER] * 2
    last_hook = max(line["at_ns"] for line in life.trace if "hook" in line)
    assert [line for line in life.requests() if line["at_ns"] < last_hook] == []
    assert life.answers()[0]["ran"] == IN_ORDER


def test_the_checkpoint_lives_through_the_snapshot(simulate: Simulate, tmp_path: Path) -> None:
    """It is stopped with all other processes, and returns without output when the hooks have run."""
    life = simulate(shell(), *RUNTIME, "--freeze", "0.5", **EXPLICIT)
    check_boundary(life)
    assert said(tmp_path) == ["status 0"]


@pytest.mark.cells(2, failing="the same")
@pytest.mark.parametrize(
    ("phase", "status"), [("before:raise", 64), ("after:raise", 65)], ids=["before_snapshot", "after_restore"]
)
def test_a_failing_hook_ends_the_checkpoint_as_it_ends_the_managed_runtime(
    simulate: Simulate, tmp_path: Path, phase: str, status: int
) -> None:
    """With its status and one line that names the hook; no invocation is served.

    After a failed restore the platform ends the function at once: the command may be ended before it exits by itself.
    """
    life = simulate(shell(), *RUNTIME, SERVER="python misbehaving_server.py", MISBEHAVE=phase, **EXPLICIT)
    assert life.status == 1
    assert life.events("invoke") == []
    assert life.requests() == []
    (error,) = life.document["errors"]
    assert error["hook"] == "misbehaving.culprit"
    answer = [f"snapext: {error['message']}", f"status {status}"]
    assert said(tmp_path) in ([answer] if status == 64 else [answer, answer[:1], []])


def test_on_demand_it_returns_at_once(simulate: Simulate, tmp_path: Path) -> None:
    """There is no snapshot, and the extension is not asked."""
    life = simulate(shell(), *RUNTIME, "--init-type", "on-demand", **EXPLICIT)
    assert life.status == 0, life.stderr
    assert said(tmp_path) == ["status 0"]
    (answer,) = life.answers()
    assert answer["ran"] == []


def test_a_second_checkpoint_returns_at_once(simulate: Simulate, tmp_path: Path) -> None:
    """The boundary is behind."""
    life = simulate(shell("snapext checkpoint && snapext checkpoint"), *RUNTIME, **EXPLICIT)
    check_boundary(life)
    assert said(tmp_path) == ["status 0"]


def test_two_at_once_wait_for_the_same_boundary(simulate: Simulate, tmp_path: Path) -> None:
    """Both return, and each hook runs once."""
    life = simulate(shell("snapext checkpoint & snapext checkpoint && wait $!"), *RUNTIME, **EXPLICIT)
    check_boundary(life)
    assert said(tmp_path) == ["status 0"]


def test_whoever_never_asks_is_told_what_to_run(simulate: Simulate) -> None:
    """Init fails when the time is up, and the line names the command and the setting."""
    life = simulate(shell("sleep 60"), *RUNTIME, SNAPEXT_READY_TIMEOUT_MS="1500", **EXPLICIT)
    assert life.status == 1
    (error,) = life.document["errors"]
    for part in ("`snapext checkpoint`", "SNAPEXT_READY_TIMEOUT_MS", "SNAPEXT_MODE=explicit"):
        assert part in error["message"]
    assert error["phase"] == "init"


def test_a_checkpoint_behind_the_gate_is_refused(simulate: Simulate, tmp_path: Path) -> None:
    """The adapter's check holds the boundary already: one line says so, and the boundary goes on."""
    command = "snapext checkpoint 2>checkpoint.err; echo $? >$TRACE_FILE.status; exec python tracing_http_server.py"
    command = command.replace("checkpoint.err", str(tmp_path / "said"))
    life = simulate(["bash", "-c", command])
    assert life.status == 0, life.stderr
    assert (tmp_path / "trace.jsonl.status").read_text() == "1\n"
    assert "gate mode" in (tmp_path / "said").read_text()
    (pid,) = life.pids
    assert life.hooks_of(pid) == IN_ORDER


def test_an_adapter_and_explicit_mode_do_not_go_together(simulate: Simulate) -> None:
    """Nobody would answer the adapter's check."""
    life = simulate(shell(), SNAPEXT_MODE="explicit", SNAPEXT_PORT="9555", AWS_LWA_READINESS_CHECK_PORT="9555")
    assert life.status == 1
    assert "SNAPEXT_MODE=explicit" in life.document["errors"][0]["message"]


# --- from Python -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["socket", "signal"])
def test_a_runtime_in_python_calls_it(simulate: Simulate, transport: str) -> None:
    """Its own hooks run while it waits: on the link's thread, or in its only one."""
    life = simulate("python checkpointing.py", *RUNTIME, SNAPEXT_TRANSPORT=transport, **EXPLICIT)
    check_boundary(life)
    (pid,) = life.pids
    assert life.hooks_of(pid) == [*IN_ORDER, "checkpoint"]
    assert [line["restored"] for line in life.trace if line["phase"] == "checkpoint"] == [True]


def test_a_python_runtime_that_runs_the_command_is_signalled_all_the_same(simulate: Simulate) -> None:
    """Python runs its handlers while it waits for a command."""
    environ = {**EXPLICIT, "SNAPEXT_TRANSPORT": "signal", "CHECKPOINT": "command"}
    life = simulate("python checkpointing.py", *RUNTIME, **environ)
    assert life.status == 0, life.stderr
    (answer,) = life.answers()
    assert life.hooks_of(answer["pid"])[:4] == IN_ORDER


@pytest.mark.needs("curl")
def test_a_shell_that_waits_for_the_command_is_not_signalled_and_a_warning_says_so(simulate: Simulate) -> None:
    """It could not run its trap: its work belongs before and after the command."""
    script = "trap : RTMIN+4 RTMIN+5; ./runtime.sh 'snapext checkpoint'; exit"
    life = simulate(["bash", "-c", script], *RUNTIME, SNAPEXT_SIGNALS="1", **EXPLICIT)
    assert life.status == 0, life.stderr
    assert life.events("process_signalled") == []
    warnings = [event for event in life.events("warning") if event["about"] == "not_signalled"]
    assert [(event["name"], event["phase"]) for event in warnings] == [
        ("bash", "before_snapshot"),
        ("bash", "after_restore"),
    ]
    assert "snapext checkpoint" in warnings[0]["message"]


def test_called_twice_it_crosses_once(simulate: Simulate) -> None:
    """The second call returns at once."""
    life = simulate("python checkpointing.py", *RUNTIME, CHECKPOINT="twice", **EXPLICIT)
    check_boundary(life)
    (pid,) = life.pids
    assert life.hooks_of(pid) == [*IN_ORDER, "checkpoint", "checkpoint"]


@pytest.mark.parametrize("transport", ["socket", "signal"])
@pytest.mark.parametrize(("when", "status"), [("before", 64), ("after", 65)])
def test_a_failing_hook_raises_with_the_exit_status(simulate: Simulate, when: str, status: int, transport: str) -> None:
    """CheckpointError says what failed, and how the managed runtime would have ended, if the platform lets it."""
    life = simulate("python checkpointing.py", *RUNTIME, HOOK=f"raise:{when}", SNAPEXT_TRANSPORT=transport, **EXPLICIT)
    assert life.status == 1
    assert life.events("invoke") == []
    (error,) = life.document["errors"]
    assert error["hook"] == "__main__.fail"
    refused = [(line["exit_status"], line["message"]) for line in life.trace if line["phase"] == "refused"]
    answer = [(status, error["message"])]
    assert refused in ([answer] if status == 64 else [answer, []])


# --- without an extension --------------------------------------------------------------------------------------------


def test_without_an_extension_it_gives_up_with_one_line(tmp_path: Path) -> None:
    """It looks for one for some seconds: the extension listens a little after the runtime starts."""
    socket = tmp_path / "bridge" / "bridge.sock"
    env = clean_environ(AWS_LAMBDA_INITIALIZATION_TYPE="snap-start", SNAPEXT_SOCKET=str(socket))
    started = time.monotonic()
    done = subprocess.run([*SNAPEXT, "checkpoint"], env=env, capture_output=True, text=True, timeout=30)
    assert 4.5 < time.monotonic() - started < 15
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"snapext: no extension listens at {socket} (SNAPEXT_SOCKET)\n"


@pytest.mark.parametrize("kind", ["on-demand", "provisioned-concurrency", None])
def test_without_snap_start_nothing_is_looked_for(tmp_path: Path, kind: str | None) -> None:
    """On another machine, or in another environment, it is as if the line were not there."""
    variables = {} if kind is None else {"AWS_LAMBDA_INITIALIZATION_TYPE": kind}
    env = clean_environ(SNAPEXT_SOCKET=str(tmp_path / "none" / "bridge.sock"), **variables)
    for command in ([*SNAPEXT, "checkpoint"], [sys.executable, "-c", "import snapext; snapext.checkpoint()"]):
        started = time.monotonic()
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert time.monotonic() - started < 4


def test_the_error_has_the_exit_status_for_a_script() -> None:
    """The same numbers as the command's."""
    env = clean_environ(AWS_LAMBDA_INITIALIZATION_TYPE="snap-start", SNAPEXT_SOCKET="/no/such/folder/bridge.sock")
    code = (
        "import json, snapext, snapext.command.checkpoint as c\n"
        "from snapext.errors import CheckpointError, SnapextError\n"
        "c.START_TIMEOUT_S = 0.1\n"
        "try: snapext.checkpoint()\n"
        "except SnapextError as e: print(json.dumps([type(e) is CheckpointError, e.exit_status, str(e)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=30)
    assert json.loads(done.stdout) == [True, 1, "no extension listens at /no/such/folder/bridge.sock (SNAPEXT_SOCKET)"]


def said(tmp_path: Path) -> list[str]:
    """The output of the checkpoint in runtime.sh, and its status."""
    return (tmp_path / "trace.jsonl.checkpoint").read_text().splitlines()
