"""The process table, read from /proc (see proc(5)): who descends from whom, since when, and what signals it catches."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stat:
    """One process. Pid and start (in clock ticks since boot) together are never used twice."""

    pid: int
    name: str
    state: str
    parent_pid: int
    start_ticks: int


def parse_stat(line: bytes) -> Stat:
    """A line of /proc/PID/stat. Raises ValueError if it is none."""
    head, _, tail = line.rpartition(b")")
    pid, _, name = head.partition(b" (")
    fields = tail.split()
    if len(fields) < 20:
        raise ValueError(f"not a line of /proc/PID/stat: {line[:80]!r}")
    return Stat(int(pid), name.decode("utf-8", "replace"), fields[0].decode("ascii"), int(fields[1]), int(fields[19]))


def stat(pid: int) -> Stat | None:
    """One process, or None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return parse_stat(file.read())
    except OSError:
        return None


def tree(root: Stat) -> list[Stat]:
    """A process and all its descendants that are alive; none if `root` itself has ended, whoever has its pid now."""
    everyone = {process.pid: process for process in _everyone() if process.state not in "ZX"}
    found = [everyone[root.pid]] if root.pid in everyone else []
    if not found or found[0].start_ticks != root.start_ticks:
        return []
    children: dict[int, list[Stat]] = {}
    for process in everyone.values():
        children.setdefault(process.parent_pid, []).append(process)
    for process in found:  # grows while it is read
        found += children.get(process.pid, [])
    return found


def ancestors(pid: int) -> Iterator[int]:
    """The parent of a process, its parent, and so on."""
    process = stat(pid)
    while process is not None and process.parent_pid > 0:
        yield process.parent_pid
        process = stat(process.parent_pid)


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler of its own for a signal. Without one most signals end it."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"SigCgt:"):
                    return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    except OSError:
        pass
    return False


def program(pid: int) -> str:
    """The name of the file that a process executes; empty if it may not be read."""
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return ""


def now_ticks() -> int:
    """The present, as starts of processes are given: in clock ticks since boot."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def environment(pid: int) -> dict[str, str]:
    """The variables that a process was started with; empty if it may not be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            pairs = (item.partition(b"=") for item in file.read().split(b"\0"))
            return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
    except OSError:
        return {}


def _everyone() -> Iterator[Stat]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            process = stat(int(entry))
            if process is not None:
                yield process
