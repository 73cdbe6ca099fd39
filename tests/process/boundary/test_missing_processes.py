"""The kernel shows missing processes: none is overlooked, and each that cannot be linked is named."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator

import pytest

from helpers import ROOT, free_port
from lives import APPS, BIN, IN_ORDER, Life, Simulate
from snapext_extension.boundary.attendance import LONG_REST_MS

SLOW_SECOND = "gunicorn -c gunicorn_slow.py -b 127.0.0.1:{port} -w 2 tracing_flask:app"
SETTLE = {"SNAPEXT_SETTLE_MS": "200"}
SOON = {"SNAPEXT_READY_TIMEOUT_MS": "20000"}
UP = 'until grep -q up "$TRACE_FILE" 2>/dev/null; do sleep 0.02; done'
"""Wait for the line that a program in the background writes into the trace."""
NGINX = ROOT / "examples" / "nginx_gunicorn" / "run.sh"


def script(text: str) -> list[str]:
    """A run.sh of that text, in which $OTHER is a second free port."""
    return ["bash", "-c", f"OTHER={free_port()}; {text}".replace("{", "{{").replace("}", "}}")]


def check_everybody_ran(life: Life, processes: int) -> None:
    assert life.status == 0, life.stderr
    assert len(life.pids) == processes
    assert {pid: life.hooks_of(pid) for pid in life.pids} == dict.fromkeys(life.pids, IN_ORDER)


def calls(life: Life) -> list[str]:
    return [event["error_type"] for event in life.document["events"] if "error_type" in event]


# --- workers that are still importing --------------------------------------------------------------------------------


@pytest.mark.parametrize("slow", ["work", "sleep", "listen"])
def test_a_worker_whose_start_takes_longer_is_not_left_out(simulate: Simulate, slow: str) -> None:
    """Whatever it waits for: it holds the app's port, and does not wait for connections."""
    check_everybody_ran(simulate(SLOW_SECOND, SLOW=slow), 2)


def test_a_server_that_has_started_without_hooks_is_named_and_not_waited_for(simulate: Simulate) -> None:
    """It holds the app's port beside a joined process, and waits for connections: it has imported no hook module."""
    both = script(f"python reuse_port.py & {UP}; HOOKS=1 exec python reuse_port.py")
    life = simulate(both, SNAPEXT_SETTLE_MS="2500")  # time for the second to start on a busy machine
    check_everybody_ran(life, 1)
    (notice,) = life.events("without_hooks")
    assert {notice["pid"]} == {line["pid"] for line in life.trace if line["phase"] == "up"} - life.pids
    up = next(line["at_ns"] for line in life.trace if line["pid"] == notice["pid"])
    hook = next(line["at_ns"] for line in life.trace if "hook" in line)
    assert (hook - up) / 1e6 < LONG_REST_MS


def test_a_worker_that_was_forked_in_c_is_named_and_the_life_is_not_ok(simulate: Simulate) -> None:
    """It has the hooks of its parent and no link: it serves what no hook has touched."""
    life = simulate("python fork_in_c.py")
    (error,) = life.document["errors"]
    (worker,) = life.answers()
    assert (life.status, error["type"], error["pid"]) == (1, "NotLinked", worker)
    assert "which has 4 hooks, and has not joined" in error["message"]


def test_without_a_start_command_file_the_workers_are_found_all_the_same(simulate: Simulate) -> None:
    """An image need not use our wrapper: then every process of our user counts, except extensions."""
    forget = 'until rm "${SNAPEXT_SOCKET%/*}/start-command" 2>/dev/null; do :; done'
    check_everybody_ran(simulate(script(f"{forget}; exec {SLOW_SECOND.format(port='$PORT')}"), SLOW="sleep"), 2)


@pytest.fixture
def open_folder() -> Iterator[str]:
    """A folder for temporary files that nginx's workers, which are not root, may enter."""
    with tempfile.TemporaryDirectory(prefix="snapext-test-", dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        yield folder


def test_behind_nginx_the_start_commands_processes_tell_who_is_missing(simulate: Simulate, open_folder: str) -> None:
    """nginx alone holds the app's port; gunicorn's workers listen on a Unix socket behind it."""
    life = simulate(
        [str(NGINX)],
        SNAPEXT_SIGNALS="1",
        GUNICORN_CMD_ARGS=f"-c {APPS}/gunicorn_slow.py",
        SLOW="sleep",
        TMPDIR=open_folder,
        PATH=f"{BIN}:{os.environ['PATH']}",
    )
    assert life.status == 0, life.stderr
    names = sorted(process["name"] for process in life.document["processes"])
    assert names == ["gunicorn", "gunicorn", "run.sh"]
    assert [event["name"] for event in life.events("stranger")] == ["nginx"]


def test_the_primary_of_a_node_cluster_is_named_and_not_waited_for(simulate: Simulate) -> None:
    """It alone holds the port, and nothing can be known of its state."""
    life = simulate("node tracing_node.js", WORKERS="2", **SETTLE)
    check_everybody_ran(life, 2)
    (stranger,) = life.events("stranger")
    assert stranger["pid"] not in life.pids
    assert "listens on the app's port and is not connected" in stranger["message"]


# --- SNAPEXT_WORKERS -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", ["python tracing_http_server.py & wait", "exec python tracing_http_server.py"])
def test_two_servers_in_one_script_are_two_workers(simulate: Simulate, last: str) -> None:
    """Also where the second takes the script's place, and so is the first one's parent."""
    life = simulate(script(f"PORT=$OTHER python tracing_http_server.py & {last}"), "--workers", "2", **SETTLE, **SOON)
    check_everybody_ran(life, 2)


def test_too_few_workers_are_named_with_those_that_are_not_counted(simulate: Simulate) -> None:
    """Three of them are wanted; a process that serves another thing has not joined."""
    servers = "PORT=$OTHER python tracing_http_server.py & exec python tracing_http_server.py"
    life = simulate(script(servers), "--workers", "3", **SETTLE, SNAPEXT_READY_TIMEOUT_MS="6000")
    assert life.status == 1
    (error,) = life.document["errors"]
    assert "2 of 3 processes have joined (SNAPEXT_WORKERS): " in error["message"]
    for pid in life.pids:
        assert f"process {pid} (tracing_http_server.py)" in error["message"]
    assert len(life.pids) == 2
    assert calls(life)[0] == "Runtime.AppNotReady"


# --- processes without a channel -------------------------------------------------------------------------------------


def isolated(life: Life) -> int:
    (pid,) = {line["pid"] for line in life.trace if line["phase"] == "up"}
    return int(pid)


CAUSE = "-I ignores PYTHONPATH and the user site"


def test_a_process_that_cannot_be_linked_fails_init_when_nobody_has_joined(simulate: Simulate) -> None:
    """Its hooks would never run: the message names the process, its start, the cause and the change."""
    life = simulate("python -I isolated.py", **SETTLE)
    assert life.status == 1
    (error,) = life.document["errors"]
    for part in (f"process {isolated(life)} (python)", "python -I isolated.py", CAUSE, "start it without -I"):
        assert part in error["message"]
    assert calls(life) == ["Runtime.ProcessNotLinked", "Extension.ProcessNotLinked"]
    assert life.events("snapshot") == []


def test_workers_0_makes_that_a_warning(simulate: Simulate) -> None:
    """A version is published, but the simulation is not OK."""
    life = simulate("python -I isolated.py", "--workers", "0", "--expect-hooks", "0", **SETTLE)
    assert life.status == 1
    assert calls(life) == []
    assert len(life.events("invoke")) == 1
    (warning,) = life.events("not_linked")
    assert (warning["pid"], warning["cause"]) == (isolated(life), CAUSE)


def test_beside_one_that_has_joined_it_is_a_warning_everywhere(simulate: Simulate) -> None:
    """In the log, in `snapext status`, and in the last line of the simulation, whose exit status is 1."""
    life = simulate(script(f"PORT=$OTHER {BIN}/python -I isolated.py & {UP}; exec {BIN}/python asking.py"), **SETTLE)
    assert life.status == 1
    assert calls(life) == []
    assert len(life.events("invoke")) == 1
    pid = isolated(life)
    assert [(event["pid"], event["cause"]) for event in life.events("not_linked")] == [(pid, CAUSE)]
    (asked,) = [line["status"] for line in life.trace if line["phase"] == "asked"]
    assert [(process["pid"], process["cause"]) for process in asked["not_linked"]] == [(pid, CAUSE)]
    last = life.stderr.splitlines()[-1]
    assert last.startswith("FAILED: ")
    assert f"process {pid} (python) is not linked: {CAUSE}" in last


# --- apps that do not get ready --------------------------------------------------------------------------------------


def test_workers_that_are_killed_while_they_start_are_counted(simulate: Simulate) -> None:
    """The memory may be too small for them; that nothing answers is only the consequence."""
    life = simulate(
        "gunicorn -c gunicorn_killed.py -b 127.0.0.1:{port} -w 6 tracing_flask:app", SNAPEXT_READY_TIMEOUT_MS="5000"
    )
    assert life.status == 1
    (error,) = life.document["errors"]
    said = re.search(r"meanwhile (\d+) processes of the function have ended: do workers crash", error["message"])
    assert said is not None, error["message"]
    assert int(said[1]) >= 2
    assert "GET http://127.0.0.1" in error["message"]


def test_a_wrong_port_is_said_within_seconds(simulate: Simulate) -> None:
    """Not when two minutes are over."""
    life = simulate(script("PORT=$OTHER exec python tracing_http_server.py"), SNAPEXT_READY_TIMEOUT_MS="5000")
    assert life.status == 1
    (waiting, *_) = life.events("waiting")
    assert waiting["waited_ms"] < 5000
    assert "/ready: Connection refused" in waiting["message"]
    assert "listens, but not on that port" in waiting["message"]
    assert f"… {waiting['message']}" in life.stderr
