"""The processes of one environment. Each starts in a session of its own, and all its descendants end with it.

The simulator's Sandbox does not fit: it reads output in a thread that stays, and a run has a thousand lives.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.cpu_limit import entering

_PR_SET_CHILD_SUBREAPER = 36  # see prctl(2)


class Children:
    """Starts processes by name; their output goes into one file. `group`: the cgroup.procs of a group to start in."""

    def __init__(self, log: Path, group: Path | None = None) -> None:
        # Orphans of a child become our children: we can wait for them, and no zombie is left.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.log = log
        self.group = group
        self.pids: dict[str, int] = {}
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str], cwd: Path | None = None) -> int:
        """Start a process and return its pid. Raises OSError if that fails."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command if self.group is None else entering(self.group, command),
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(process)
        self.pids[name] = process.pid
        return process.pid

    def kill(self) -> None:
        """Send SIGKILL to every process, and wait until all are gone: the next life needs the machine to itself."""
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in self._started:
            process.wait()
            with contextlib.suppress(ChildProcessError):
                while True:
                    os.waitpid(-process.pid, 0)

    def last_words(self) -> str:
        """The end of their output, on one line."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return " | ".join(lines[-3:]) or "(nothing)"
