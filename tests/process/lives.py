"""Real servers under the local Lambda: `simulate` runs a user's command, and checks that no process is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from helpers import free_port

APPS = Path(__file__).parent / "apps"
BIN = Path(sys.executable).parent
READY_PATH = "/ready"
IN_ORDER = ["before_second", "before_first", "after_first", "after_second"]


@dataclass
class Life:
    """The events of one simulated environment, and the app's own trace."""

    status: int
    document: dict[str, Any]
    stderr: str
    trace: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, status: int, document: dict[str, Any], stderr: str, trace_file: Path) -> Life:
        lines = [json.loads(line) for line in trace_file.read_text().splitlines()] if trace_file.exists() else []
        return cls(status, document, stderr, sorted(lines, key=lambda line: line["at_ns"]))

    def events(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.document["events"] if event["event"] == name]

    @property
    def pids(self) -> set[int]:
        return {process["pid"] for process in self.document["processes"]}

    def hooks_of(self, pid: int) -> list[str]:
        """The hooks that ran in a process, in the order in which it says so itself."""
        return [line["hook"] for line in self.trace if line["pid"] == pid and "hook" in line]

    def requests(self) -> list[dict[str, Any]]:
        """The invocations that reached the app; readiness checks go to a path of their own."""
        return [line for line in self.trace if line["phase"] == "request" and line["path"] != READY_PATH]

    def answers(self) -> list[dict[str, Any]]:
        return [json.loads(event["body"]) for event in self.events("invoke")]


Simulate = Callable[..., Life]


@pytest.fixture
def simulate(tmp_path: Path) -> Iterator[Simulate]:
    """Run `snapext simulate --json` on a command, in which {port} stands for the app's port."""
    trace_file = tmp_path / "trace.jsonl"

    def run(command: str | list[str], *options: str, timeout_s: float = 90, **env: str) -> Life:
        port = free_port()
        words = [word.format(port=port) for word in (command.split() if isinstance(command, str) else command)]
        if (BIN / words[0]).exists():
            words[0] = str(BIN / words[0])
        process = subprocess.run(
            [sys.executable, "-m", "snapext", "simulate", "--json", "--port", str(port), *options, "--", *words],
            cwd=APPS,
            env={
                **os.environ,
                "TRACE_FILE": str(trace_file),
                "AWS_LWA_READINESS_CHECK_PATH": READY_PATH,
                "PYTHONDONTWRITEBYTECODE": "1",
                **env,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        document = json.loads(process.stdout) if process.stdout else {}
        return Life.of(process.returncode, document, process.stderr, trace_file)

    yield run
    left = [process for process in psutil.process_iter() if _belongs_to(process, str(trace_file))]
    assert left == [], "processes were left behind"


def _belongs_to(process: psutil.Process, trace_file: str) -> bool:
    try:
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and process.environ().get("TRACE_FILE") == trace_file
    except psutil.Error:
        return False
