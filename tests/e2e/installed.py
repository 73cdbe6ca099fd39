"""The installed layer with programs that we did not write: in a private mount namespace, so that /opt is the layer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from helpers import free_port, leave_out, namespaces
from snapext_layer.tree import Entry, layer_tree
from snapext_layer.write import install
from snapext_tools.simulator.folder import _adapter_script, _write_launcher

HERE = Path(__file__).parent
CACHE = Path(
    os.environ.get("SNAPEXT_TOOLS") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "snapext"
)
LWA_VERSIONS = ("0.9.1", "1.0.0-rc1")
# From 1.1 on the crate registry has no adapter: our stand-in plays that generation.
ADAPTERS = (*LWA_VERSIONS, "builtin-1.1")
IN_NAMESPACE = 'mount --make-rprivate / && mkdir -p /opt && mount --bind "$0" /opt && exec "$@"'


def tool(name: str) -> Path:
    path = CACHE / name
    if not path.exists():
        leave_out(f"{path} is missing: `.ci/e2e-tools` makes it, or says why it cannot")
    return path


@dataclass
class Function:
    """A function's environment: the layer under `root`/opt, with an adapter beside it."""

    root: Path
    port: int

    @property
    def opt(self) -> Path:
        return self.root / "opt"

    def add_adapter(self, adapter: str) -> None:
        target = self.opt / "extensions" / "lambda-adapter"
        if adapter in LWA_VERSIONS:
            shutil.copy(tool(f"lwa-{adapter}/bin/lambda-adapter"), target)
        else:
            _write_launcher(str(target), _adapter_script(adapter))

    def environ(self, **env: str) -> dict[str, str]:
        """The function's variables, as a template would set them, and what the tests add."""
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith(("SNAPEXT_", "AWS_"))},
            "PATH": f"{Path(sys.executable).resolve().parent}:/usr/bin:/bin",
            "E2E_BIN": str(Path(sys.executable).parent),
            "PORT": str(self.port),
            "AWS_LWA_PORT": str(self.port),
            "AWS_LWA_READINESS_CHECK_PATH": "/ready",
            "LAMBDA_TASK_ROOT": str(HERE / "apps"),
            "_HANDLER": "run.sh",
            "TRACE_FILE": str(self.root / "trace"),
            "FIRST_BYTE_FILE": str(self.root / "first-byte"),
            "PYTHONDONTWRITEBYTECODE": "1",
            **env,
        }

    def in_namespace(self, *command: str, options: tuple[str, ...] = ()) -> list[str]:
        """A command for a shell in new namespaces, in which /opt is the function's."""
        return [*namespaces("--mount", *options), "sh", "-c", IN_NAMESPACE, str(self.opt), *command]

    def live(self, adapter: str, *paths: str, workers: int = 2, init_type: str = "snap-start", **env: str) -> Life:
        """Play a life under the local Lambda."""
        self.add_adapter(adapter)
        plan = {
            "port": self.port,
            "workers": workers,
            "init_type": init_type,
            "paths": paths or ("/",),
            "adapter": adapter,
        }
        done = subprocess.run(
            self.in_namespace(sys.executable, str(HERE / "life.py")),
            input=json.dumps(plan),
            env=self.environ(**env),
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.stdout, done.stderr
        trace = self.root / "trace"
        lines = [json.loads(line) for line in trace.read_text().splitlines()] if trace.exists() else []
        return Life(json.loads(done.stdout), done.stderr, sorted(lines, key=lambda line: line["at_ns"]))


@dataclass
class Life:
    document: dict[str, Any]
    stderr: str
    trace: list[dict[str, Any]]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.document["events"] if event["event"] == name]

    def hooks(self) -> dict[int, list[str]]:
        """The hooks that ran in each process, in order."""
        ran: dict[int, list[str]] = {}
        for line in self.trace:
            if line["phase"] != "request":
                ran.setdefault(line["pid"], []).append(line["hook"])
        return ran


@cache
def precompiled_layer() -> list[Entry]:
    """The files of the layer, compiled for this interpreter once for all tests."""
    return layer_tree([sys.executable])


@pytest.fixture
def function(tmp_path: Path) -> Function:
    install(precompiled_layer(), tmp_path)
    return Function(tmp_path, free_port())
