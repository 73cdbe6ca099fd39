"""`snapext status` and `snapext done`, beside a real extension and without one."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import Listener, clean_environ, wait_until
from lives import Simulate
from snapext.command.status_report import OFF

SNAPEXT = [sys.executable, "-m", "snapext"]
RUNTIME = ["./runtime.sh", "snapext checkpoint"]
EXPLICIT = {"SNAPEXT_MODE": "explicit"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A place for the socket and the pipe, as the extension makes it."""
    (tmp_path / "bridge").mkdir(mode=0o700)
    return tmp_path / "bridge"


def run(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SNAPEXT, *words],
        env=clean_environ(SNAPEXT_SOCKET=str(folder / "bridge.sock"), **env),
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
    )


def check_one_line(done: subprocess.CompletedProcess[str], *said: str, status: int = 1) -> None:
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.count("\n") == 1, done.stderr
    for part in said:
        assert part in done.stderr


# --- status ----------------------------------------------------------------------------------------------------------


@pytest.mark.needs("curl")
def test_status_says_who_is_connected_and_how_far_we_are(simulate: Simulate, tmp_path: Path) -> None:
    """As text and as one JSON document, with connected and with signalled processes."""
    life = simulate(
        RUNTIME,
        *("--adapter", "none"),
        SERVER="python beside.py './traps.sh pipe'",
        AFTER="snapext status >$TRACE_FILE.text; snapext status --json >$TRACE_FILE.json",
        SNAPEXT_SIGNALS="1",
        **EXPLICIT,
    )
    assert life.status == 0, life.stderr
    status = json.loads((tmp_path / "trace.jsonl.json").read_text())
    assert set(status) == {
        *("mode", "phase", "generation", "environment_id", "processes", "boundary", "waiting", "not_linked", "version")
    }
    assert (status["waiting"], status["not_linked"]) == (None, [])
    assert (status["mode"], status["phase"], status["generation"]) == ("explicit", "ready", 1)
    assert status["environment_id"] == life.document["environment_id"]
    assert set(status["boundary"]) == {"before_snapshot_ms", "after_restore_ms"}
    server, trap = sorted(status["processes"], key=lambda process: process["how"] != "socket")
    assert {server["pid"], trap["pid"]} == life.pids
    assert server["hook_names"] == {
        "before_snapshot": ["tracing.before_second", "tracing.before_first"],
        "after_restore": ["tracing.after_first", "tracing.after_second"],
    }
    assert server["hooks"] == {"before_snapshot": 2, "after_restore": 2}
    assert (trap["name"], trap["how"], trap["hook_names"]) == ("traps.sh", "RTMIN+5", None)
    for process in (server, trap):
        assert process["running"] is None
        assert set(process["durations_ms"]) == {"before_snapshot", "after_restore"}
    text = (tmp_path / "trace.jsonl.text").read_text()
    for part in (
        "state        ready (mode explicit)",
        "generation   1",
        f"environment  {status['environment_id']}",
        "processes    2",
        f"{server['pid']} beside.py  socket, before_snapshot ",
        f"{trap['pid']} traps.sh  RTMIN+5, before_snapshot ",
        "before_snapshot tracing.before_second, tracing.before_first",
        "after_restore   tracing.after_first, tracing.after_second",
    ):
        assert part in text


def test_status_names_the_hook_that_runs(simulate: Simulate) -> None:
    """Asked in the middle of a phase; a process that is busy with a hook is shown with its counts."""
    life = simulate("python asking.py")
    assert life.status == 0, life.stderr
    (status,) = [line["status"] for line in life.trace if line["phase"] == "asked"]
    assert (status["phase"], status["mode"]) == ("after_restore", "gate")
    (process,) = status["processes"]
    assert process["running"] == "hook __main__.ask"
    assert process["hook_names"] is None
    assert process["hooks"] == {"before_snapshot": 2, "after_restore": 3}


@pytest.mark.needs("curl")
def test_watch_ends_with_the_extension(simulate: Simulate, tmp_path: Path, folder: Path) -> None:
    """It prints again and again, and its last word is that there is no extension any more."""
    printed, go = tmp_path / "printed", tmp_path / "trace.jsonl.go"
    with concurrent.futures.ThreadPoolExecutor() as pool, contextlib.ExitStack() as stack:
        stack.callback(go.touch)
        future = pool.submit(
            simulate,
            RUNTIME,
            *("--adapter", "none"),
            AFTER="until [ -e $TRACE_FILE.go ]; do sleep 0.02; done",
            SNAPEXT_SOCKET=str(folder / "bridge.sock"),
            **EXPLICIT,
        )
        wait_until(lambda: run(folder, "status").returncode == 0)
        with printed.open("w") as out:
            watch = subprocess.Popen(
                [*SNAPEXT, "status", "--watch"],
                env=clean_environ(SNAPEXT_SOCKET=str(folder / "bridge.sock")),
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.callback(watch.kill)
        wait_until(lambda: printed.read_text().count("state        ready") >= 2)
        go.touch()
        assert future.result().status == 0
        _, error = watch.communicate(timeout=20)
    assert watch.returncode == 1
    assert error.count("\n") == 1
    assert "no extension listens at" in error


def test_without_an_extension_status_is_one_line(folder: Path) -> None:
    """Whether there never was an extension, or a killed one left its socket."""
    said = f"no extension listens at {folder}/bridge.sock"
    check_one_line(run(folder, "status"), said)
    check_one_line(run(folder, "status", "--json"), said)
    check_one_line(run(folder, "status", "--watch"), said)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "bridge.sock"))
    check_one_line(run(folder, "status"), said)


def test_with_mode_off_no_command_asks_anybody(folder: Path) -> None:
    """A runtime or a handler that runs them goes on: nothing waits, nothing fails, and one line says why."""
    off = {"SNAPEXT_MODE": "off", "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
    for words in (["checkpoint"], ["done"], ["done", "--failed", "no"]):
        check_one_line(run(folder, *words, **off), "SNAPEXT_MODE=off", status=0)
    shown = run(folder, "status", "--watch", **off)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == "mode off (SNAPEXT_MODE): no process is linked, and no hook runs\n"
    document = run(folder, "status", "--json", **off)
    assert json.loads(document.stdout) == OFF
    assert OFF["mode"] == "off"


def test_a_socket_that_others_can_reach_is_not_used(folder: Path) -> None:
    """As the client refuses it."""
    with Listener(folder / "bridge.sock"):
        folder.chmod(0o755)
        check_one_line(run(folder, "status"), "others may enter it")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"[]\n", b"\xff\n", b"{}\n"])
def test_somebody_else_who_listens_there_is_one_line(folder: Path, answer: bytes) -> None:
    """Never a traceback, whatever it says."""
    with Listener(folder / "bridge.sock") as listener, concurrent.futures.ThreadPoolExecutor() as pool:
        future = pool.submit(run, folder, "status")
        peer = listener.accept()
        peer.socket.recv(65536)
        peer.socket.sendall(answer)
        peer.socket.close()
        check_one_line(future.result(), str(folder / "bridge.sock"))


# --- done ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_pipe", [False, True])
def test_done_when_nobody_waits_is_one_line(folder: Path, with_pipe: bool) -> None:
    """No extension, or a dead one that left its pipe: it does not hang."""
    if with_pipe:
        os.mkfifo(folder / "done", 0o600)
    check_one_line(run(folder, "done"), "no extension reads", str(folder / "done"), "SNAPEXT_SIGNALS")


@pytest.mark.parametrize("what", ["file", "symlink", "symlink to a pipe", "directory"])
def test_done_writes_to_nothing_but_a_pipe(folder: Path, tmp_path: Path, what: str) -> None:
    """It does not write to anything else in its place."""
    other = tmp_path / "precious"
    other.write_text("precious")
    if what == "file":
        (folder / "done").write_text("precious")
    elif what == "symlink":
        (folder / "done").symlink_to(other)
    elif what == "directory":
        (folder / "done").mkdir()
    else:
        os.mkfifo(tmp_path / "pipe")
        (folder / "done").symlink_to(tmp_path / "pipe")
    check_one_line(run(folder, "done"), f"{folder}/done is not used: it is not a pipe")
    assert other.read_text() == "precious"


def test_done_does_not_write_where_others_can_read(folder: Path) -> None:
    """The folder is what makes the pipe ours."""
    os.mkfifo(folder / "done", 0o600)
    folder.chmod(0o755)
    check_one_line(run(folder, "done"), "others may enter it")


def test_done_names_its_parents_from_the_inside_out(folder: Path) -> None:
    """Which of them was signalled, the extension knows."""
    os.mkfifo(folder / "done", 0o600)
    reader = os.open(folder / "done", os.O_RDWR | os.O_NONBLOCK)
    code = f"echo $$; {sys.executable} -m snapext done; exit $?"
    env = clean_environ(SNAPEXT_SOCKET=str(folder / "bridge.sock"))
    done = subprocess.run(["bash", "-c", code], env=env, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    pids = os.read(reader, 4096).decode().strip().partition(" since ")[0].split(",")
    os.close(reader)
    assert pids[:2] == [done.stdout.strip(), str(os.getpid())]


@pytest.mark.parametrize("message", ["no\ndatabase", "x" * 10_000, "\U0001f4a5" * 5_000, "\udcff", ""])
def test_done_says_what_failed_in_one_line_that_the_pipe_takes_whole(folder: Path, message: str) -> None:
    """Two writers never mix: whatever the message is, the line is no longer than PIPE_BUF."""
    os.mkfifo(folder / "done", 0o600)
    reader = os.open(folder / "done", os.O_RDWR | os.O_NONBLOCK)
    code = 'depth=$1; shift; [ $depth -gt 0 ] && { bash -c "$0" "$0" $((depth - 1)) "$@"; exit $?; }; "$@"; exit $?'
    words = ["bash", "-c", code, code, "20", *SNAPEXT, "done", "--failed", message]
    env = clean_environ(SNAPEXT_SOCKET=str(folder / "bridge.sock"))
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    line = os.read(reader, 100_000)
    os.close(reader)
    assert len(line) <= 4096
    assert line.count(b"\n") == 2
    match = re.fullmatch(r"\n(\d+,){20,}\d+ since \d+ failed (.*)\n", line.decode())
    assert match is not None
    assert match[2] == " ".join(match[2].split())


def test_done_waits_for_room_in_a_full_pipe(folder: Path) -> None:
    """A process that floods it does not lose the others' answers."""
    os.mkfifo(folder / "done", 0o600)
    reader = os.open(folder / "done", os.O_RDWR | os.O_NONBLOCK)
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(reader, b"x" * 4095 + b"\n")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        future = pool.submit(run, folder, "done")
        with pytest.raises(concurrent.futures.TimeoutError):
            future.result(1)
        assert len(os.read(reader, filled)) == filled
        assert future.result(20).returncode == 0
    assert str(os.getpid()).encode() in os.read(reader, 4096).strip().split(b",")
    os.close(reader)


@pytest.mark.parametrize(
    "words", [["done", "--failed"], ["done", "now"], ["status", "--yaml"], ["checkpoint", "now"], ["chekpoint"]]
)
def test_wrong_usage_is_status_2(folder: Path, words: list[str]) -> None:
    """Never a traceback."""
    done = run(folder, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr
