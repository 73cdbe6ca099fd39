"""One process, read from /proc (see proc(5)): its parent, its start, its program, and what it was started with.

Nothing here raises for a process that has ended or may not be read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from snapext_extension.data import Data

_CHUNK_BYTES = 1 << 16
_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD of include/linux/sched.h, in the flags of /proc/PID/stat."""
_INTERPRETERS = ("python", "pypy")
_PYTHON_IS_MAPPED = (b"/libpython", b"/libpypy", b".cpython-")
"""In the path of a mapped file: the library itself, or an extension module where the library was linked in."""


class Stat(Data):
    """One process. Pid and start (in clock ticks since boot) together are never used twice."""

    pid: int
    name: str
    state: str
    parent_pid: int
    start_ticks: int
    is_kernel_thread: bool = False


def read(path: str) -> bytes:
    """A file, whole; empty if it is gone or may not be read. For /proc, where open() would take three times as long."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        parts = []
        while part := os.read(file, _CHUNK_BYTES):
            parts.append(part)
        return b"".join(parts)
    except OSError:  # it has ended since
        return b""
    finally:
        os.close(file)


def stat_fields(line: bytes) -> list[bytes]:
    """What follows the name in a line of /proc/PID/stat, from the state on: fields 3 and later in the words of proc(5).

    A process chooses its name, so it may hold anything, a bracket or a space too.
    """
    return line.rpartition(b")")[2].split()


def parse_stat(line: bytes) -> Stat:
    """A line of /proc/PID/stat. Raises ValueError if it is none."""
    pid, _, name = line.rpartition(b")")[0].partition(b" (")
    fields = stat_fields(line)
    if len(fields) < 20:
        raise ValueError(f"not a line of /proc/PID/stat: {line[:80]!r}")
    return Stat(
        int(pid),
        name.decode("utf-8", "replace"),
        fields[0].decode("ascii"),
        int(fields[1]),
        int(fields[19]),
        bool(int(fields[6]) & _KERNEL_THREAD),
    )


def stat(pid: int) -> Stat | None:
    """One process, or None if it is gone."""
    line = read(f"/proc/{pid}/stat")
    return parse_stat(line) if line else None


def ancestors(pid: int) -> Iterator[int]:
    """The parent of a process, its parent, and so on."""
    process = stat(pid)
    while process is not None and process.parent_pid > 0:
        yield process.parent_pid
        process = stat(process.parent_pid)


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler of its own for a signal. Without one most signals end it."""
    caught = _status_field(pid, b"SigCgt:")
    return bool(caught) and bool(int(caught[0], 16) >> (number - 1) & 1)


def is_python(pid: int) -> bool:
    """Whether a process runs Python: by its executable, or because it has loaded Python, as uWSGI does."""
    name = os.path.basename(executable(pid)).lstrip(".")
    return name.startswith(_INTERPRETERS) or maps_python(read(f"/proc/{pid}/maps"))


def maps_python(maps: bytes) -> bool:
    """Whether /proc/PID/maps names Python's library or one of its extension modules."""
    return any(mark in maps for mark in _PYTHON_IS_MAPPED)


def command(pid: int) -> tuple[str, ...]:
    """The command line of a process; empty if it may not be read. A process can write anything there."""
    line = read(f"/proc/{pid}/cmdline").rstrip(b"\0")
    return tuple(os.fsdecode(word) for word in line.split(b"\0")) if line else ()


def executable(pid: int) -> str:
    """The path of the file that a process executes; empty if it may not be read."""
    try:
        return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    except OSError:
        return ""


def program(pid: int) -> str:
    """The name of the file that a process executes; empty if it may not be read."""
    return os.path.basename(executable(pid))


def now_ticks() -> int:
    """The present, as starts of processes are given: in clock ticks since boot."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def environment(pid: int) -> dict[str, str]:
    """The variables that a process was started with; empty if it may not be read."""
    pairs = (item.partition(b"=") for item in read(f"/proc/{pid}/environ").split(b"\0") if item)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def user(pid: int) -> int:
    """The effective user of a process; -1 if it is gone. The owner of /proc/PID would be root where it hides itself."""
    uids = _status_field(pid, b"Uid:")
    return int(uids[1]) if uids else -1


def field(status: bytes, name: bytes) -> list[bytes]:
    """The words of one line of /proc/PID/status; none if it has no such line."""
    for line in status.split(b"\n"):
        if line.startswith(name):
            return line.split()[1:]
    return []


def _status_field(pid: int, name: bytes) -> list[bytes]:
    return field(read(f"/proc/{pid}/status"), name)
