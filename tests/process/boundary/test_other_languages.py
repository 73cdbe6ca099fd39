"""Apps that are not Python: a client in JavaScript on the socket, and programs that only know signals."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import AFTER, BEFORE, ROOT, WELCOME, Listener, free_port
from lives import APPS, BIN, IN_ORDER, Simulate

NODE = ROOT / "examples" / "node_app"
NODE_RUNS = pytest.mark.needs("node")
ADAPTERS = pytest.mark.parametrize("adapter", ["builtin", "builtin-1.1"])


@ADAPTERS
@NODE_RUNS
def test_hooks_of_a_node_app_run_in_order_and_once(simulate: Simulate, adapter: str) -> None:
    """Async hooks are awaited, the last registered first before the snapshot, and all are behind before a request."""
    life = simulate("node tracing_node.js", "--workers", "1", "--adapter", adapter, "--freeze", "0.1")
    assert life.status == 0, life.stderr
    (process,) = life.document["processes"]
    assert (process["name"], life.hooks_of(process["pid"])) == ("tracing_node.js", IN_ORDER)
    assert process["hooks"] == {"before_snapshot": 2, "after_restore": 2}
    assert [answer["ran"] for answer in life.answers()] == [IN_ORDER]


@ADAPTERS
@NODE_RUNS
def test_the_node_example_serves_with_what_its_hooks_made(simulate: Simulate, adapter: str) -> None:
    """The example as it is: the answer comes over the connection that was opened after the restore."""
    life = simulate(["node", str(NODE / "server.js")], "--adapter", adapter)
    assert life.status == 0, life.stderr
    assert [answer["connection"] for answer in life.answers()] == ["opened after the restore"]
    assert life.events("shutdown")[0]["ok"]


@ADAPTERS
@pytest.mark.parametrize(
    ("hook", "phase", "ended"), [("before_first", "before_snapshot", 1), ("after_first", "after_restore", 2)]
)
@NODE_RUNS
def test_a_node_hook_that_throws_fails_the_phase_and_is_named(
    simulate: Simulate, hook: str, phase: str, ended: int, adapter: str
) -> None:
    """The report has the hook, the error's class, its message and its stack, and no request is served."""
    life = simulate("node tracing_node.js", "--adapter", adapter, FAIL_IN=hook)
    assert life.status == 1
    (error,) = life.document["errors"]
    assert (error["phase"], error["hook"], error["type"]) == (phase, hook, "TypeError")
    assert "the pool is gone 🦀" in error["message"]
    assert "tracing_node.js:" in error["stack"]
    assert life.events("invoke") == []
    assert len([line for line in life.trace if "hook" in line]) == ended


@NODE_RUNS
def test_each_worker_of_a_node_cluster_has_its_own_hooks(simulate: Simulate) -> None:
    """Two workers join, each runs all of its hooks, and the primary, which has none, is not waited for."""
    life = simulate("node tracing_node.js", "--workers", "2", WORKERS="2")
    assert life.status == 0, life.stderr
    assert len(life.pids) == 2
    assert {pid: life.hooks_of(pid) for pid in life.pids} == dict.fromkeys(life.pids, IN_ORDER)
    assert [answer["ran"] for answer in life.answers()] == [IN_ORDER]


@NODE_RUNS
def test_a_node_app_that_is_told_twice_runs_its_hooks_once(tmp_path: Path) -> None:
    """After its connection broke it comes back, answers the same phase with the new id, and keeps its generation."""
    trace = tmp_path / "trace.jsonl"
    with Listener(tmp_path / "bridge" / "bridge.sock") as listener:
        env = {"SNAPEXT_SOCKET": str(listener.path), "PORT": str(free_port()), "TRACE_FILE": str(trace)}
        app = subprocess.Popen(["node", "tracing_node.js"], cwd=APPS, env={**os.environ, **env})
        try:
            first = listener.accept()
            assert first.greet().pid == app.pid
            assert first.ask(BEFORE).ok
            first.socket.sendall(b"this is no message\n")
            assert first.is_hung_up()
            second = listener.accept()
            assert second.greet().generation == 0
            again = second.ask(BEFORE.replace(id=9))
            assert (again.id, len(again.hooks)) == (9, 2)
            assert second.ask(AFTER).ok
            second.socket.close()
            third = listener.accept()
            assert third.greet(WELCOME.replace(phase="ready", generation=1)).generation == 1
        finally:
            app.kill()
            app.wait()
    assert [json.loads(line)["hook"] for line in trace.read_text().splitlines()] == IN_ORDER


ALIKE = f"""
const fs = require("node:fs");
const {{ afterRestore, randomBytes, randomUUID }} = require({json.dumps(str(NODE / "snapext"))});
const readSync = fs.readSync, openSync = fs.openSync;
let alike = -1;
fs.openSync = (name, ...more) => (name === "/dev/urandom" ? (alike = openSync(name)) : openSync(name, ...more));
fs.readSync = (fd, bytes, at, size) => (fd === alike ? size : readSync(fd, bytes, at, size)); // zeroes
Object.defineProperty(process, "pid", {{ value: 7 }});
process.hrtime.bigint = () => 5n;
Date.now = () => 5;
afterRestore(() => console.log(JSON.stringify([randomBytes(1000).toString("hex"), randomUUID(), randomUUID()])));
setInterval(() => {{}}, 1000);
"""


def drawn(tmp_path: Path, environment_id: str) -> list[str]:
    """What a Node process draws in its hook, that is as like another as can be but for the id of the environment."""
    with Listener(tmp_path / "bridge" / "bridge.sock") as listener:
        env = {**os.environ, "SNAPEXT_SOCKET": str(listener.path)}
        with subprocess.Popen(["node", "-e", ALIKE], env=env, stdout=subprocess.PIPE) as app:
            try:
                peer = listener.accept()
                peer.greet()
                assert peer.ask(AFTER.replace(environment_id=environment_id)).ok
                assert app.stdout is not None
                values: list[str] = json.loads(app.stdout.readline())
            finally:
                app.kill()
    return values


@NODE_RUNS
def test_what_a_node_client_draws_differs_by_the_environment_alone(tmp_path: Path) -> None:
    """When the kernel, the clocks and the process ids give two clones the same, the id still tells them apart."""
    first, same, other = (drawn(tmp_path, letter * 32) for letter in "aab")
    assert first == same
    assert len({*first, *other}) == 6
    for number, *ids in (first, other):
        assert len(number) == 2000
        assert len({number[at : at + 32] for at in range(0, 2000, 32)}) == 63  # no block of the mix comes twice
        assert all(uuid.UUID(text).version == 4 and str(uuid.UUID(text)) == text for text in ids)


SHORT_LIFE = f"require({json.dumps(str(NODE / 'snapext'))}).afterRestore(() => {{}}); setTimeout(() => {{}}, 250)"


@pytest.mark.parametrize("code", [SHORT_LIFE, SHORT_LIFE.partition(";")[0]], ids=["works on", "ends at once"])
@NODE_RUNS
def test_a_node_app_without_an_extension_is_left_alone(tmp_path: Path, code: str) -> None:
    """It ends when it would have ended, without a message."""
    env = {**os.environ, "SNAPEXT_SOCKET": str(tmp_path / "bridge" / "bridge.sock")}
    app = subprocess.run(["node", "-e", code], env=env, capture_output=True, text=True, timeout=20)
    assert (app.returncode, app.stdout, app.stderr) == (0, "", "")


@NODE_RUNS
def test_a_node_app_does_not_connect_where_others_may_enter(tmp_path: Path) -> None:
    """A socket in a folder that is open to other users may be anybody's."""
    with Listener(tmp_path / "bridge" / "bridge.sock") as listener:
        listener.path.parent.chmod(0o755)
        env = {**os.environ, "SNAPEXT_SOCKET": str(listener.path)}
        subprocess.run(["node", "-e", SHORT_LIFE], env=env, check=True, timeout=20)
        listener.server.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.server.accept()


# Not everybody has servers on the path.
WITH_SERVERS = f"{os.environ['PATH']}:/usr/sbin"
NGINX = ROOT / "examples" / "nginx_gunicorn" / "run.sh"


@pytest.fixture
def open_folder() -> Iterator[str]:
    """A folder for temporary files that nginx's workers, which are not root, may enter."""
    with tempfile.TemporaryDirectory(prefix="snapext-test-", dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        yield folder


@pytest.mark.needs("nginx")
def test_nginx_is_reloaded_by_the_script_that_is_signalled(simulate: Simulate, open_folder: str) -> None:
    """gunicorn's workers are told on the socket, the script by a signal, and nginx reloads before the first request."""
    env = {"SNAPEXT_SIGNALS": "1", "TMPDIR": open_folder, "PATH": f"{BIN}:{WITH_SERVERS}"}
    life = simulate([str(NGINX)], "--workers", "2", **env)
    assert life.status == 0, life.stderr
    assert os.listdir(open_folder) == []
    assert [event["name"] for event in life.events("process_signalled")] == ["run.sh"]
    assert sorted(process["name"] for process in life.document["processes"]) == ["gunicorn", "gunicorn", "run.sh"]
    assert "SIGHUP) received" in life.stderr
    assert [answer["connection"] for answer in life.answers()] == ["opened after the restore"]
    assert life.events("shutdown")[0]["ok"]


@pytest.mark.needs("nginx")
def test_an_nginx_that_cannot_reload_fails_the_restore(simulate: Simulate, tmp_path: Path, open_folder: str) -> None:
    """The script reports its failure, and the platform gets that as the reason."""
    nginx = tmp_path / "nginx"
    real = shutil.which("nginx", path=WITH_SERVERS)
    nginx.write_text(f'#!/bin/sh\ncase "$*" in *reload) exit 1; esac\nexec {real} "$@"\n')
    nginx.chmod(0o755)
    env = {"SNAPEXT_SIGNALS": "1", "TMPDIR": open_folder, "PATH": f"{tmp_path}:{BIN}:{WITH_SERVERS}"}
    life = simulate([str(NGINX)], "--workers", "2", **env)
    assert life.status == 1
    (error,) = life.document["errors"]
    assert error["phase"] == "after_restore"
    assert "nginx does not reload" in error["message"]
    assert life.events("invoke") == []


@pytest.mark.needs("curl")
def test_a_runtime_in_bash_serves_after_its_checkpoint(simulate: Simulate) -> None:
    """The example as it is, in explicit mode and without an adapter; an event may be longer than an argument."""
    run = str(ROOT / "examples" / "shell_runtime" / "run.sh")
    long = f"/{'x' * 100_000}"  # it is in an event twice; Linux takes arguments of 128 KiB
    options = ("--adapter", "none", "--request", "GET /hello", "--request", f"GET {long}")
    life = simulate([run], *options, SNAPEXT_MODE="explicit", PATH=f"{BIN}:{os.environ['PATH']}")
    assert life.status == 0, life.stderr
    said = [(answer["path"], answer["connection"]) for answer in life.answers()]
    assert said == [("/hello", "opened after the restore"), (long, "opened after the restore")]
