"""Every way to start a Python server that we know of, each as a whole life: the tables say what becomes of each.

A row is what a run.sh would hold. The app registers its hooks with AWS's module alone and never mentions snapext, so
that a process takes part only if a channel of ours reaches it. What the channels themselves reach is tried without
lives in test_channels.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipapp
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from helpers import free_port
from lives import APPS, BIN, IN_ORDER, READY_PATH, Life, Simulate
from snapext_layer.tree import layer_tree
from snapext_layer.write import install
from snapext_tools.simulator.folder import _adapter_script, _write_launcher
from snapext_tools.simulator.plan import Plan, Request
from snapext_tools.simulator.simulation import Simulation
from snapext_tools.simulator.states import InitType
from snapext_tools.simulator.story import Story

INTERPRETER = str(Path(sys.executable).resolve())
SITE_PACKAGES = Path(pytest.__file__).parent.parent
CHAINING = """
import importlib.machinery, importlib.util, os, sys
here = os.path.dirname(os.path.abspath(__file__))
spec = importlib.machinery.PathFinder.find_spec("sitecustomize", [path for path in sys.path if path != here])
spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""
LOST = frozenset({"joined_too_late", "registered_too_late", "gave_up_waiting", "no_process_joined", "process_ended"})
"""Warnings of the extension that say that a hook did not run when it should have."""


@dataclass(frozen=True)
class Linked:
    """So many processes ran each hook once, in order, before the first request; that one reached one of them."""

    processes: int = 1

    def check(self, life: Life) -> None:
        assert life.status == 0, (life.document["errors"], life.stderr)
        check_hooks(life, self.processes)


@dataclass(frozen=True)
class Refused:
    """No process is linked: no version is published, and the error names the cause and what to do about it."""

    cause: str
    remedy: str

    def check(self, life: Life) -> None:
        assert life.status == 1
        first, *others = life.document["errors"]
        assert (first["phase"], first["type"]) == ("init", "Runtime.ProcessNotLinked")
        assert self.cause in first["message"]
        assert self.remedy in first["message"]
        assert {error["type"] for error in others} <= {"NotLinked"}  # others like the one that is named
        assert [line for line in life.trace if line.get("path") != READY_PATH] == []


@dataclass(frozen=True)
class Named:
    """This many processes are linked, and one that cannot be is named: a warning, and the life is not OK."""

    processes: int
    cause: str
    remedy: str

    def check(self, life: Life) -> None:
        assert life.status == 1
        (error,) = life.document["errors"]
        assert error["type"] == "NotLinked"
        assert self.cause in error["message"]
        (warning,) = life.events("not_linked")
        assert self.remedy in warning["remedy"]
        check_hooks(life, self.processes)


def check_hooks(life: Life, processes: int) -> None:
    hooks = [line for line in life.trace if line["phase"] != "request"]
    pids = {line["pid"] for line in hooks}
    assert {pid: life.hooks_of(pid) for pid in pids} == dict.fromkeys(pids, IN_ORDER)
    assert len(pids) == processes, life.stderr
    assert [line for line in life.requests() if line["at_ns"] < max(hook["at_ns"] for hook in hooks)] == []
    first = life.answers()[0]
    assert (first["ran"], first["pid"] in pids) == (IN_ORDER, True)
    assert not LOST & {event["about"] for event in life.events("warning")}


@dataclass(frozen=True)
class Way:
    """The last line of a run.sh, the options of `snapext simulate`, the function's variables, and what must hold."""

    line: str
    outcome: Linked | Refused | Named = Linked()
    options: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


# What the lines below may use, beside $PORT:
#   $PYTHON     an interpreter in which nothing is installed, as Lambda's own
#   $PACKAGES   a folder with all that the app needs, as /var/task/python may be
#   python      a virtual environment in which all of that is installed
#   $VENV       another one, in which nothing is; $PROJECT is the folder that it lies in, with a pyproject.toml
#   $FOREIGN    a folder with a sitecustomize of somebody else, which runs no other; $CHAINING: it runs the next one
GUNICORN = "exec gunicorn -b 127.0.0.1:$PORT"
QUIET_OTEL = "--traces_exporter none --metrics_exporter none --logs_exporter none"
BARE = "PATH=$PATH PORT=$PORT TRACE_FILE=$TRACE_FILE"
UV = "exec uv run --offline --no-cache"
TWO = ("--workers", "2")
NEWER = ("--adapter", "builtin-1.1")
SLOW = {"SLOW": "before", "SLOW_S": "1.5"}
SLOW_BETWEEN = {"SLOW": "between", "SLOW_S": "1.5"}
PATIENT = {"SNAPEXT_SETTLE_MS": "1000"}  # until then a worker that has had its last request has ended, and was replaced

WAYS = {
    # --- Python itself -----------------------------------------------------------------------------------------------
    "python": Way("exec python ways.py"),
    "python -m": Way("exec python -m ways"),
    "python -c": Way('exec python -c "import ways; ways.serve()"'),
    "python from standard input": Way("exec python < ways.py"),
    "from within an import": Way('exec python -c "import ways_import"'),
    "a zipapp": Way("exec python $ZIPAPP"),
    "below another program": Way("timeout 60 nice -n 1 python ways.py"),
    "python -E": Way("exec $PYTHON -E ways.py"),
    "python -E in a venv": Way("exec python -E ways.py", Refused("-E ignores PYTHONPATH", "start it without -E")),
    "python -I": Way("exec python -I ways.py", Refused("-I ignores PYTHONPATH", "start it without -I")),
    "python -S": Way("PYTHONPATH=$PACKAGES:$PYTHONPATH exec python -S ways.py", Refused("-S", "start it without -S")),
    # --- another environment -----------------------------------------------------------------------------------------
    "a venv": Way("exec $VENV/bin/python ways.py"),
    "uv run": Way(f"{UV} --no-sync --project $PROJECT python ways.py"),
    "env -i": Way(f"exec env -i {BARE} python ways.py", Refused("with an environment of its own", "pass PYTHONPATH")),
    "env -i, PYTHONPATH alone passed on": Way(
        f"exec env -i {BARE} PYTHONPATH=$PYTHONPATH python ways.py",
        Refused("it looks for snapext at /tmp/snapext-", "pass SNAPEXT_SOCKET on to it"),
    ),
    "env -i, both passed on": Way(
        f"exec env -i {BARE} PYTHONPATH=$PYTHONPATH SNAPEXT_SOCKET=$SNAPEXT_SOCKET python ways.py"
    ),
    "env -i, and the app imports snapext": Way(
        f"exec env -i {BARE} HOOKS=snapext SNAPEXT_SOCKET=$SNAPEXT_SOCKET python ways.py"
    ),
    "another sitecustomize": Way("PYTHONPATH=$FOREIGN:$PYTHONPATH exec $PYTHON ways.py"),
    "another sitecustomize that runs the next": Way("PYTHONPATH=$CHAINING:$PYTHONPATH exec python ways.py"),
    "another sitecustomize in a venv": Way(
        "PYTHONPATH=$FOREIGN:$PYTHONPATH exec python ways.py",
        Refused("sitecustomize.py comes before snapext's on its PYTHONPATH", "`import snapext` in the app"),
    ),
    # --- servers -----------------------------------------------------------------------------------------------------
    "uvicorn": Way("exec uvicorn --port $PORT ways:asgi"),
    "uvicorn with workers": Way("exec uvicorn --port $PORT --workers 2 ways:asgi", Linked(2)),
    "uvicorn --reload": Way("exec uvicorn --port $PORT --reload ways:asgi"),
    "hypercorn": Way("exec hypercorn -b 127.0.0.1:$PORT -w 2 ways:asgi", Linked(2)),
    "gunicorn": Way(f"{GUNICORN} -w 2 ways:wsgi", Linked(2)),
    "gunicorn with uvicorn's workers": Way(f"{GUNICORN} -w 2 -k uvicorn_worker.UvicornWorker ways:asgi", Linked(2)),
    "gunicorn with threads": Way(f"{GUNICORN} -w 2 -k gthread --threads 4 ways:wsgi", Linked(2)),
    "gunicorn with gevent": Way(f"{GUNICORN} -w 2 -k gevent ways:wsgi", Linked(2)),
    "gunicorn --preload": Way(f"{GUNICORN} -w 2 --preload ways:wsgi", Linked(3)),
    "waitress": Way("exec waitress-serve --listen 127.0.0.1:$PORT ways:wsgi"),
    "flask run": Way("exec flask --app ways_flask run --port $PORT"),
    "flask run --debug": Way("exec python -m flask --app ways_flask run --debug --port $PORT", Linked(2)),
    "django runserver": Way("exec django-admin runserver --noreload --settings ways_django --pythonpath . $PORT"),
    "django runserver that reloads": Way("exec django-admin runserver --settings ways_django --pythonpath . $PORT"),
    "opentelemetry-instrument gunicorn": Way(
        f"PYTHONPATH=$PACKAGES:$PYTHONPATH exec $PYTHON {BIN}/opentelemetry-instrument {QUIET_OTEL} "
        "$PYTHON -m gunicorn -b 127.0.0.1:$PORT -w 2 ways:wsgi",
        Linked(2),
    ),
    "opentelemetry-instrument in a venv": Way(
        f"exec opentelemetry-instrument {QUIET_OTEL} uvicorn --port $PORT ways:asgi",
        Refused("auto_instrumentation/sitecustomize.py comes before snapext's", "`import snapext` in the app"),
    ),
    # --- more than one -----------------------------------------------------------------------------------------------
    "two servers in one run.sh": Way("python ways.py & PORT=0 python ways.py & wait", Linked(2)),
    "two servers in one run.sh, counted": Way("python ways.py & PORT=0 python ways.py & wait", Linked(2), TWO),
    "two servers, and one cannot be linked": Way(
        "python ways.py & PORT=0 python -I ways.py & wait",
        Named(1, "-I ignores PYTHONPATH", "start it without -I"),
    ),
    "ProcessPoolExecutor that forks": Way("exec python ways_pool.py", Linked(3), env={"POOL": "executor fork"}),
    "ProcessPoolExecutor that spawns": Way("exec python ways_pool.py", Linked(3), env={"POOL": "executor spawn"}),
    "a forkserver": Way("exec python ways_pool.py", Linked(3), env={"POOL": "executor forkserver"}),
    "a pool made by gunicorn's workers": Way(f"{GUNICORN} -w 2 ways_pool:wsgi", Linked(6), env={"POOL": "pool fork"}),
    "a pool made before the server listens": Way(
        "exec waitress-serve --listen 127.0.0.1:$PORT ways_pool:wsgi", Linked(3), env={"POOL": "pool fork"}
    ),
    # --- starts that take a turn -------------------------------------------------------------------------------------
    "one that executes itself anew": Way("exec python ways_starts.py exec"),
    "one that crashes once, in a loop": Way("until python ways_starts.py crash; do :; done"),
    "a daemon": Way("python ways_starts.py daemon; exec sleep 60"),
    "gunicorn --daemon": Way("gunicorn --daemon -b 127.0.0.1:$PORT -w 2 ways:wsgi; exec sleep 60", Linked(2)),
    "a slow worker": Way(f"{GUNICORN} -w 2 ways_slow:wsgi", Linked(2), env=SLOW),
    "a slow worker that has joined": Way(f"{GUNICORN} -w 2 ways_slow:wsgi", Linked(2), env=SLOW_BETWEEN),
    "a slow worker, counted": Way(f"{GUNICORN} -w 2 ways_slow:wsgi", Linked(2), TWO, SLOW_BETWEEN),
    "gunicorn's max_requests": Way(f"{GUNICORN} -w 2 --max-requests 1 ways:wsgi", Linked(2), NEWER, PATIENT),
    "max_requests, and a slow worker": Way(f"{GUNICORN} -w 1 --max-requests 1 ways_slow:wsgi", env={**SLOW, **PATIENT}),
    "max_requests, and a slow worker that has joined": Way(
        f"{GUNICORN} -w 1 --max-requests 1 ways_slow:wsgi", options=NEWER, env={**SLOW_BETWEEN, **PATIENT}
    ),
}

# With the layer's wrapper as the start command, and nothing but it to set PYTHONPATH.
REPLACED = "PYTHONPATH=/opt/python:$LAMBDA_RUNTIME_DIR"
WAYS_BY_THE_WRAPPER = {
    "python": Way("exec $PYTHON ways.py"),
    "PYTHONPATH is added to": Way(
        "PYTHONPATH=$PACKAGES:$PYTHONPATH exec $PYTHON -m gunicorn -b 127.0.0.1:$PORT ways:wsgi"
    ),
    "PYTHONPATH is replaced": Way(f"{REPLACED} exec $PYTHON ways.py"),
    "PYTHONPATH is removed": Way("unset PYTHONPATH; exec $PYTHON ways.py"),
    "PYTHONPATH is replaced, without a user site": Way(
        f"{REPLACED}:$PACKAGES PYTHONNOUSERSITE=1 exec $PYTHON ways.py",
        Refused("its PYTHONPATH was replaced: /opt/python:", "write PYTHONPATH=...:$PYTHONPATH instead"),
    ),
    "a venv": Way("exec $VENV/bin/python ways.py"),
    "a venv, and PYTHONPATH is replaced": Way(
        f"{REPLACED} exec python ways.py",
        Refused("replaced: /opt/python:/var/runtime has no folder of snapext's; the virtual environment", "--venv"),
    ),
    "a user site of its own": Way(
        f"{REPLACED}:$PACKAGES exec $PYTHON ways.py",
        Refused("PYTHONUSERBASE=/var/task/user is not snapext's", "write PYTHONPATH=...:$PYTHONPATH instead"),
        env={"PYTHONUSERBASE": "/var/task/user"},
    ),
    "uv run": Way(f"{UV} --no-sync --project $PROJECT python ways.py"),
    "uv run, and PYTHONPATH is replaced": Way(
        f"PYTHONPATH=$PACKAGES {UV} --no-sync --project $PROJECT python ways.py",
        Refused("its PYTHONPATH was replaced", "write PYTHONPATH=...:$PYTHONPATH instead"),
    ),
    "opentelemetry-instrument uvicorn": Way(
        f"PYTHONPATH=$PACKAGES exec $PYTHON {BIN}/opentelemetry-instrument {QUIET_OTEL} "
        "$PYTHON -m uvicorn --port $PORT ways:asgi"
    ),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The fields of the lines."""
    root = tmp_path_factory.mktemp("places")
    project, foreign, chaining, packed = (root / name for name in ("project", "foreign", "chaining", "packed"))
    for folder in (project, foreign, chaining, packed):
        folder.mkdir()
    (project / "pyproject.toml").write_text('[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\n')
    subprocess.run([INTERPRETER, "-m", "venv", "--without-pip", project / ".venv"], check=True, timeout=60)
    (foreign / "sitecustomize.py").write_text("somebody = 'else'\n")
    (chaining / "sitecustomize.py").write_text(CHAINING)
    (packed / "ways.py").write_bytes((APPS / "ways.py").read_bytes())
    zipapp.create_archive(packed, root / "app.pyz", main="ways:serve")
    return {
        "PYTHON": INTERPRETER,
        "PACKAGES": str(SITE_PACKAGES),
        "PROJECT": str(project),
        "VENV": str(project / ".venv"),
        "FOREIGN": str(foreign),
        "CHAINING": str(chaining),
        "ZIPAPP": str(root / "app.pyz"),
    }


Live = Callable[..., Life]


@pytest.fixture
def settings(places: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The function's variables. The settling is shorter than the default: nothing here depends on its length."""
    path = f"{BIN}:/usr/local/bin:/usr/bin:/bin"
    mark = str(tmp_path / "mark")
    return {**places, "PATH": path, "MARK": mark, "SNAPEXT_SETTLE_MS": "200", "SNAPEXT_READY_TIMEOUT_MS": "30000"}


@pytest.fixture
def live(simulate: Simulate, settings: dict[str, str], tmp_path: Path) -> Live:
    """Play a life under `snapext simulate`."""

    def live(way: Way, *options: str) -> Life:
        return simulate([write_script(tmp_path, way)], *way.options, *options, **{**settings, **way.env})

    return live


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed layer, with an adapter beside it."""
    root = tmp_path_factory.mktemp("layer")
    install(layer_tree(), root)
    _write_launcher(str(root / "opt" / "extensions" / "lambda-adapter"), _adapter_script("builtin"))
    return root / "opt"


def by_the_wrapper(layer: Path, folder: Path, settings: dict[str, str], way: Way) -> Life:
    """Play a life of the installed layer, whose wrapper starts the script. Variables of ours come from nowhere else."""
    write_script(folder, way)
    trace = folder / "trace.jsonl"
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SNAPEXT_", "AWS_"))},
        **settings,
        "TRACE_FILE": str(trace),
        "AWS_LAMBDA_EXEC_WRAPPER": "/opt/snapext/bootstrap",
        "AWS_LWA_READINESS_CHECK_PATH": READY_PATH,
        "LAMBDA_TASK_ROOT": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        **way.env,
    }
    plan = Plan(
        command=(str(layer / "snapext" / "bootstrap"),),
        port=free_port(),
        workers=None,
        init_type=InitType.SNAP_START,
        freeze_s=0.0,
        requests=(Request("GET", "/"),),
        adapter="builtin",
        timeout_s=60.0,
        installed_layer=str(layer),
    )
    lines: list[str] = []
    story = Story(lambda line, _indent: lines.append(line))
    document = Simulation(plan, environ, tell=story.tell, hear_app=lambda _who, line: lines.append(line)).run()
    return Life.of(0 if document["ok"] else 1, document, "\n".join(lines), trace)


def write_script(folder: Path, way: Way) -> str:
    script = folder / "run.sh"
    script.write_text(f"#!/bin/sh\ncd {APPS}\n{way.line}\n")
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize("name", WAYS)
def test_a_server_is_linked_or_refused_with_the_cause(live: Live, name: str) -> None:
    """However it is started: no way leads to a version whose hooks never run."""
    WAYS[name].outcome.check(live(WAYS[name]))


@pytest.mark.parametrize("name", WAYS_BY_THE_WRAPPER)
def test_the_wrapper_links_a_server_or_it_is_refused_with_the_cause(
    layer: Path, settings: dict[str, str], tmp_path: Path, name: str
) -> None:
    """The user site makes up for a run.sh that changes PYTHONPATH, or a message names the line to change."""
    way = WAYS_BY_THE_WRAPPER[name]
    way.outcome.check(by_the_wrapper(layer, tmp_path, settings, way))


def test_a_hook_in_the_program_itself_runs_twice_in_a_worker_and_the_file_and_line_are_said(live: Live) -> None:
    """`python main.py` with uvicorn.run("main:app", workers=2): the file is there as the program and as a module."""
    life = live(Way("exec python ways_main.py"))
    assert life.status == 0
    hooks = sorted(life.hooks_of(pid) for pid in life.pids)
    twice = [*IN_ORDER, "renew", "renew"]
    assert hooks == [[*IN_ORDER, "renew"], twice, twice]
    assert life.answers()[0]["ran"] == twice
    said = [line for line in life.stderr.splitlines() if "is registered twice" in line]
    assert len(said) == 2
    assert f"({APPS}/ways_main.py:10) is registered twice, from the modules __mp_main__ and ways_main" in said[0]


def test_a_worker_that_is_recycled_after_the_restore_owes_nothing_and_serves(live: Live) -> None:
    """gunicorn's max_requests: the next worker was started in the restored environment, and has nothing to run."""
    way = Way(f"{GUNICORN} -w 1 --max-requests 2 ways:wsgi")
    life = live(way, *("--request", "GET /") * 3)
    check_hooks(life, 1)
    assert life.status == 0
    first, *_, last = life.answers()
    assert last == {"pid": last["pid"], "ran": []}
    assert last["pid"] != first["pid"]
