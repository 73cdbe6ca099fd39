"""`snapext signal`: the hooks of processes that run on this machine, without a platform."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers import SRC, Listener, clean_environ, namespaces, wait_until
from lives import APPS, BIN, IN_ORDER

SNAPEXT = [sys.executable, "-m", "snapext"]
Start = Callable[..., int]
HOOKS = {"before": ["before_second", "before_first"], "after": ["after_first", "after_second"]}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder of the programs, their trace and the socket; its scripts have unique names."""
    (tmp_path / "bridge").mkdir(mode=0o700)
    return tmp_path


@pytest.fixture
def start(place: Path) -> Iterator[Start]:
    """Start a copy of one of the apps under its own name, and return its pid when it is up."""
    groups = []

    def start(app: str, *words: str, name: str | None = None, **env: str) -> int:
        script = place / (name or f"{uuid.uuid4().hex[:12]}{Path(app).suffix}")
        if not script.exists():
            shutil.copy(APPS / app, script)
        command = [sys.executable, str(script)] if app.endswith(".py") else [str(script)]
        program = subprocess.Popen(
            [*command, *words],
            env=environ(place, PYTHONPATH=os.pathsep.join((str(APPS), str(SRC))), **env),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        groups.append(program)
        wait_until(lambda: "up" in ran(place, program.pid))
        return program.pid

    yield start
    for program in groups:
        os.killpg(program.pid, signal.SIGKILL)
        program.wait(20)


def environ(place: Path, **env: str) -> dict[str, str]:
    paths = {"TRACE_FILE": str(place / "trace"), "SNAPEXT_SOCKET": str(place / "bridge" / "bridge.sock")}
    return clean_environ(**paths, **{"PATH": f"{BIN}:{os.environ['PATH']}", **env})


def ran(place: Path, pid: int) -> list[str]:
    """The trace of a process, in order."""
    trace = place / "trace"
    lines = [json.loads(line) for line in trace.read_text().splitlines()] if trace.exists() else []
    return [line["hook"] for line in lines if line["pid"] == pid]


def tell(place: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SNAPEXT, "signal", *words],
        env=environ(place, **env),
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


# --- who is told -----------------------------------------------------------------------------------------------------


def test_a_linked_process_runs_its_hooks_by_pid(place: Path, start: Start) -> None:
    """Before and after, and again: each time in order, with a line that says how it went."""
    pid = start("standing.py")
    for _ in range(2):
        for phase in ("before-snapshot", "after-restore"):
            done = tell(place, phase, "--pid", str(pid), "--wait")
            assert (done.returncode, done.stderr) == (0, "")
            (line,) = done.stdout.splitlines()
            assert line.startswith("✓ ")
            for part in (str(pid), "socket", "done in", *HOOKS[phase.partition("-")[0]]):
                assert part in line
    assert ran(place, pid) == ["up", *IN_ORDER, *IN_ORDER]


@pytest.mark.parametrize("env", [{}, {"SNAPEXT_TRANSPORT": "signal"}], ids=["socket", "signal"])
def test_the_same_phase_again_runs_the_hooks_again(place: Path, start: Start, env: dict[str, str]) -> None:
    """On repeated use the answer to the last command is not an answer to this one."""
    pid = start("standing.py", MISBEHAVE="raise once", **env)
    assert tell(place, "after-restore", "--pid", str(pid), "--wait").returncode == 1
    assert tell(place, "after-restore", "--pid", str(pid), "--wait").returncode == 0
    for _ in range(2):
        assert tell(place, "before-snapshot", "--pid", str(pid), "--wait").returncode == 0
    assert ran(place, pid) == ["up", *HOOKS["after"] * 2, *HOOKS["before"] * 2]


def test_without_wait_they_are_told_and_no_more(place: Path, start: Start) -> None:
    """The command ends, and the hooks run."""
    pid = start("standing.py")
    done = tell(place, "after-restore", "--pid", str(pid))
    assert (done.returncode, done.stderr) == (0, "")
    assert "told; without --wait nothing waits for its answer" in done.stdout
    wait_until(lambda: ran(place, pid) == ["up", *HOOKS["after"]])


def test_by_name_everyone_of_that_name_is_told_and_nobody_else(place: Path, start: Start) -> None:
    """On the socket and by signal."""
    name = uuid.uuid4().hex[:8]
    two = [start("standing.py", name=f"{name}_{number}.py") for number in range(2)]
    trap = start("traps.sh", "pipe", name=f"{name}.sh", SNAPEXT_SIGNALS="1")
    others = [start("standing.py"), start("traps.sh", "pipe", SNAPEXT_SIGNALS="1")]
    done = tell(place, "before-snapshot", "--name", f"{name}*", "--wait")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 3
    for pid in two:
        assert ran(place, pid) == ["up", *HOOKS["before"]]
    assert ran(place, trap) == ["up", "before_snapshot"]
    for pid in others:
        assert ran(place, pid) == ["up"]


@pytest.mark.parametrize("how", ["done", "pipe"])
def test_a_trap_is_told_by_signal(place: Path, start: Start, how: str) -> None:
    """With the signals of its own variables, and the command waits until it reports that it is done."""
    pid = start("traps.sh", how, "USR1", "USR2", SNAPEXT_SIGNALS="USR1,USR2")
    for phase, name in (("before-snapshot", "USR1"), ("after-restore", "USR2")):
        done = tell(place, phase, "--pid", str(pid), "--wait")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"{name}" in done.stdout
        assert "acknowledged" in done.stdout
    assert ran(place, pid) == ["up", "before_snapshot", "after_restore"]


def test_who_has_not_asked_for_signals_is_sent_none_unless_it_is_named_by_pid(place: Path, start: Start) -> None:
    """A trap may serve another purpose; a person who names the pid has checked."""
    name = f"{uuid.uuid4().hex[:12]}.sh"
    pid = start("traps.sh", "pipe", name=name)
    assert tell(place, "before-snapshot", "--name", name, "--wait").returncode == 1
    assert ran(place, pid) == ["up"]
    assert tell(place, "before-snapshot", "--pid", str(pid), "--wait").returncode == 0
    assert ran(place, pid) == ["up", "before_snapshot"]


def test_a_program_without_a_thread_of_ours_is_rung_and_comes_to_the_socket(place: Path, start: Start) -> None:
    """It has registered hooks and waits for the signal."""
    pid = start("standing.py", SNAPEXT_TRANSPORT="signal")
    for phase in ("before-snapshot", "after-restore"):
        done = tell(place, phase, "--pid", str(pid), "--wait")
        assert (done.returncode, done.stderr) == (0, "")
        assert "done in" in done.stdout
    assert ran(place, pid) == ["up", *IN_ORDER]


def test_without_wait_it_still_gets_to_know_what_the_signal_was_for(place: Path, start: Start) -> None:
    """The command stays until the process has connected and been told."""
    pid = start("standing.py", SNAPEXT_TRANSPORT="signal")
    done = tell(place, "after-restore", "--pid", str(pid))
    assert (done.returncode, done.stderr) == (0, "")
    wait_until(lambda: ran(place, pid) == ["up", *HOOKS["after"]])


def test_all_means_everyone_on_this_machine_that_takes_part() -> None:
    """In its own pid namespace: no other processes are told."""
    script = """
        set -e
        folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
        export TRACE_FILE=$folder/trace SNAPEXT_SOCKET=$folder/bridge/bridge.sock; touch "$TRACE_FILE"
        "$PYTHON" standing.py & "$PYTHON" standing.py & "$PYTHON" deaf.py nothing &
        SNAPEXT_SIGNALS=1 ./traps.sh done & SNAPEXT_SIGNALS=1 "$PYTHON" deaf.py nothing & ./traps.sh never &
        until [ "$(grep -c '"up"' "$TRACE_FILE")" = 6 ]; do sleep 0.02; done
        "$PYTHON" -m snapext signal after-restore --all --wait
        grep -c '"deaf' "$TRACE_FILE" || true
        cat "$TRACE_FILE"
        jobs -r | wc -l
    """
    done = subprocess.run(
        [*namespaces("--pid", "--fork", "--mount-proc", "--kill-child"), "bash", "-c", script],
        cwd=APPS,
        env=clean_environ(
            PATH=f"{BIN}:{os.environ['PATH']}",
            PYTHON=sys.executable,
            PYTHONPATH=os.pathsep.join((str(APPS), str(SRC))),
            PYTHONDONTWRITEBYTECODE="1",
        ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line[0] for line in lines[:3]] == ["✓"] * 3, done.stdout
    told = sorted(line.split()[3] for line in lines[:3])
    assert told == ["RTMIN+5", "socket", "socket"]
    hooks = sorted(json.loads(line)["hook"] for line in lines if line.startswith("{"))
    assert hooks == sorted([*HOOKS["after"] * 2, "after_restore", *["up"] * 6])
    assert lines[-1] == "6"


# --- how it fails ----------------------------------------------------------------------------------------------------


def test_a_failing_hook_is_status_1_and_named(place: Path, start: Start) -> None:
    """The others are still told."""
    name = uuid.uuid4().hex[:8]
    bad = start("standing.py", name=f"{name}_bad.py", MISBEHAVE="raise")
    good = start("standing.py", name=f"{name}_good.py")
    done = tell(place, "after-restore", "--name", f"{name}*", "--wait")
    assert done.returncode == 1
    lines = {int(line.split()[1]): line for line in done.stdout.splitlines()}
    assert "__main__.misbehave failed: ValueError: the pool is gone" in lines[bad]
    assert lines[bad].startswith("✗")
    assert lines[good].startswith("✓")


def test_a_handler_that_says_it_failed_is_status_1(place: Path, start: Start) -> None:
    """With its words."""
    pid = start("traps.sh", "failed", SNAPEXT_SIGNALS="1")
    done = tell(place, "before-snapshot", "--pid", str(pid), "--wait")
    assert done.returncode == 1
    assert "failed: no database" in done.stdout


def test_a_hook_that_hangs_uses_up_its_budget(place: Path, start: Start) -> None:
    """The same variable as on Lambda."""
    pid = start("standing.py", MISBEHAVE="hang")
    done = tell(place, "after-restore", "--pid", str(pid), "--wait", SNAPEXT_AFTER_RESTORE_TIMEOUT_MS="400")
    assert done.returncode == 1
    assert "no answer after 400 ms" in done.stdout


def test_a_handler_that_never_answers_uses_up_its_budget(place: Path, start: Start) -> None:
    """As does a signalled process."""
    pid = start("traps.sh", "never", SNAPEXT_SIGNALS="1")
    done = tell(place, "before-snapshot", "--pid", str(pid), "--wait", SNAPEXT_BEFORE_SNAPSHOT_TIMEOUT_MS="400")
    assert done.returncode == 1
    assert "no answer after 400 ms" in done.stdout


@pytest.mark.parametrize(
    ("app", "words", "phase", "env"),
    [
        ("standing.py", [], "after-restore", {"MISBEHAVE": "die"}),
        ("traps.sh", ["exit"], "before-snapshot", {"SNAPEXT_SIGNALS": "1"}),
    ],
    ids=["socket", "signal"],
)
def test_a_process_that_ends_is_not_waited_for(
    place: Path, start: Start, app: str, words: list[str], phase: str, env: dict[str, str]
) -> None:
    """It will not answer, and nothing waits until the budget is used up."""
    pid = start(app, *words, **env)
    started = time.monotonic()
    done = tell(place, phase, "--pid", str(pid), "--wait")
    assert done.returncode == 1
    assert "ended before it answered" in done.stdout
    assert time.monotonic() - started < 8


def test_a_process_that_takes_no_part_is_said_to(place: Path, start: Start) -> None:
    """It is not on the socket and catches nothing: it is not signalled, and lives on."""
    pid = start("deaf.py", "nothing")
    done = tell(place, "after-restore", "--pid", str(pid), "--wait")
    assert done.returncode == 1
    assert "not told: it is not on the socket, and does not catch the signal" in done.stdout
    os.kill(pid, 0)


def test_nobody_is_status_1(place: Path) -> None:
    """A pid and a name without a process."""
    by_pid = tell(place, "after-restore", "--pid", "4194304")
    assert by_pid.returncode == 1
    assert "there is no such process" in by_pid.stdout
    by_name = tell(place, "after-restore", "--name", uuid.uuid4().hex)
    assert (by_name.returncode, by_name.stdout) == (1, "")
    assert "snapext reached no process" in by_name.stderr


@pytest.mark.parametrize(
    ("words", "env", "said"),
    [
        (["after-restore"], {}, "one of --pid, --name and --all"),
        (["after-restore", "--pid", "1", "--all"], {}, "one of --pid, --name and --all"),
        (["after-restore", "--pid", "0"], {}, "0 is not in the range"),
        (["after-restore", "--pid", "x"], {}, "not a valid integer"),
        (["restore", "--all"], {}, "'restore' is not one of"),
        ([], {}, "Missing argument"),
        (["after-restore", "--all"], {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1"}, "only the platform starts hooks"),
    ],
)
def test_wrong_usage_is_status_2(place: Path, words: list[str], env: dict[str, str], said: str) -> None:
    """With a reason, and no process is told."""
    done = tell(place, *words, **env)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_where_an_extension_runs_it_is_refused(place: Path, start: Start) -> None:
    """The extension starts the hooks; the command does not touch its socket."""
    path = place / "bridge" / "bridge.sock"
    with Listener(path):
        done = tell(place, "after-restore", "--pid", str(os.getpid()))
        assert path.is_socket()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "another extension listens on" in done.stderr


def test_a_bad_setting_is_one_line(place: Path) -> None:
    """The command reads the extension's own settings."""
    done = tell(place, "after-restore", "--all", SNAPEXT_AFTER_RESTORE_TIMEOUT_MS="soon")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: SNAPEXT_AFTER_RESTORE_TIMEOUT_MS='soon' is not accepted")
    assert done.stderr.count("\n") == 1
