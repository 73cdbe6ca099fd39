"""From `exec` to the register call, which every cold start waits for; memory; the cost of `import snapext`."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from bench import restore
from bench.children import Children
from bench.cpu_limit import entering
from bench.kernel import pss_mb
from bench.life import TIMEOUT_S, Life
from bench.listen import listening
from bench.rounds import Measure, Result, interleave
from bench.stage import REAL, BenchError, Stage, adapter_binary

SNAPEXT, ISOLATED, EXIT_ONLY = "snapext", "python -I -S, the call alone", "python -I -S -c pass, to its exit"
ASYNCIO, REQUESTS = "python -I -S, imports asyncio", "python -I, imports requests"
ADAPTER = f"the web adapter {REAL} (native)"
BEFORE, AFTER = "snapext, before the snapshot", "snapext, after the restore"
PIP, LAYER, BESIDE_UVICORN = "installed by pip", "from the layer, never compiled", "installed by pip, after uvicorn"

_CALL = (
    "import os, socket; host, port = os.environ['AWS_LAMBDA_RUNTIME_API'].split(':'); "
    "call = socket.create_connection((host, int(port))); "
    "call.sendall(b'POST /2020-01-01/extension/register HTTP/1.1\\r\\nContent-Length: 0\\r\\n\\r\\n'); call.recv(1)"
)
_REQUESTS = (
    "import os, requests; requests.post("
    "'http://' + os.environ['AWS_LAMBDA_RUNTIME_API'] + '/2020-01-01/extension/register')"
)


def measure(stage: Stage, rounds: int, tell: Callable[[str], None]) -> Result:
    python = stage.python
    starts: dict[str, Measure] = {
        SNAPEXT: start(stage, [str(stage.layer / "extensions" / "snapext")]),
        EXIT_ONLY: exit_only(stage),
        ISOLATED: start(stage, [python, "-I", "-S", "-c", _CALL]),
        ASYNCIO: start(stage, [python, "-I", "-S", "-c", "import asyncio; " + _CALL]),
        REQUESTS: start(stage, [sys.executable, "-I", "-c", _REQUESTS]),
        ADAPTER: start(stage, [str(adapter_binary(REAL))]),
        "boundary": lambda: _boundary(stage),
        "listening": listening(stage, REAL),
    }
    starts |= {
        PIP: import_snapext(stage, stage.python, as_pip_installs(stage)),
        LAYER: import_snapext(stage, stage.python, stage.uncompiled / "snapext" / "python"),
        BESIDE_UVICORN: import_snapext(stage, sys.executable, as_pip_installs(stage), "uvicorn"),
    }
    result = interleave(starts, rounds, tell)
    pss = result.figures["pss_mb"]
    for name in (BEFORE, AFTER):
        pss[name] = result.figures.pop(name)["boundary"]
    result.figures["listen_ms"] = {SNAPEXT: result.figures["listen_ms"]["listening"]}
    return result


def start(stage: Stage, command: Sequence[str], group: Path | None = None) -> Measure:
    """From `exec` to the register call; in a control group, if there is one."""

    def once() -> Mapping[str, float]:
        children = Children(stage.root / "start.log", group)
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(TIMEOUT_S)
            env = stage.environ(AWS_LAMBDA_RUNTIME_API=f"127.0.0.1:{server.getsockname()[1]}")
            began = time.perf_counter()
            pid = children.start(command[0], command, env)
            try:
                with server.accept()[0] as call:
                    call.settimeout(TIMEOUT_S)
                    call.recv(65536)
                    took_ms = (time.perf_counter() - began) * 1000
                    return {"register_ms": took_ms, "pss_mb": pss_mb(pid)}
            except TimeoutError as error:
                message = f"{command[0]} has not asked to register; it wrote: {children.last_words()}"
                raise BenchError(message) from error
            finally:
                children.kill()

    return once


def exit_only(stage: Stage, group: Path | None = None) -> Measure:
    """A bare interpreter that does nothing, from `exec` to its exit."""
    command = [stage.python, "-I", "-S", "-c", "pass"]
    command = command if group is None else entering(group, command)

    def once() -> Mapping[str, float]:
        began = time.perf_counter()
        subprocess.run(command, env=stage.environ(), check=True)
        return {"register_ms": (time.perf_counter() - began) * 1000}

    return once


def _boundary(stage: Stage) -> Mapping[str, float]:
    """The extension's memory before and after the boundary, with one process of the app linked to it."""
    with Life(restore.setups(1)[restore.SNAPEXT_REAL], stage) as life:
        before_mb = pss_mb(life.extension_pid)
        life.restore()
        return {BEFORE: before_mb, AFTER: pss_mb(life.extension_pid)}


def as_pip_installs(stage: Stage) -> Path:
    """A folder with snapext, compiled, as pip installs it."""
    site = stage.root / "site"
    if not site.exists():
        spec = find_spec("snapext")
        if spec is None or not spec.submodule_search_locations:
            raise BenchError("snapext is not installed beside the benchmarks")
        source = next(iter(spec.submodule_search_locations))
        shutil.copytree(source, site / "snapext", ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run([stage.python, "-m", "compileall", "-q", str(site)], env=stage.environ(), check=True)
    return site


def import_snapext(stage: Stage, python: str, path: Path, *first: str, group: Path | None = None) -> Measure:
    """`import snapext` and the first hook, after the modules named `first`."""
    # /opt is read-only on Lambda: every process compiles the files that the layer does not contain compiled.
    env = stage.environ(PYTHONPATH=str(path), PYTHONDONTWRITEBYTECODE="1")
    command = [python, str(stage.apps / "import_snapext.py"), *first]
    if group is not None:
        command = entering(group, command)

    def run() -> Mapping[str, float]:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if done.returncode:
            raise BenchError(f"import snapext failed: {done.stderr.strip().splitlines()[-1:]}")
        measured: dict[str, float] = json.loads(done.stdout)
        return measured

    return run
