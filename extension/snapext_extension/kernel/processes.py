"""The process table, read from /proc (see proc(5)): who descends from whom, since when, and what a process is and does.

Nothing here raises for a process that has ended or may not be read.
"""

from __future__ import annotations

import os
import stat as stat_module
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from snapext_extension.kernel import rest

_CHUNK_BYTES = 1 << 16
_ENDED = "ZX"
_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD of include/linux/sched.h, in the flags of /proc/PID/stat."""
_RUNTIMES_OWN = ("_HANDLER", "AWS_EXECUTION_ENV", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR")
"""The variables that Lambda gives to the runtime and to no extension."""
_RUNTIME_API = "AWS_LAMBDA_RUNTIME_API"
_INTERPRETERS = ("python", "pypy")
_PYTHON_IS_MAPPED = (b"/libpython", b"/libpypy", b".cpython-")
"""In the path of a mapped file: the library itself, or an extension module where the library was linked in."""


@dataclass(frozen=True, slots=True)
class Stat:
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


def read_start_command(path: str) -> bytes:
    """The file that names the start command's process; empty if it is no regular file of ours.

    Whoever can write there may have put a pipe or an endless device in its place: neither may stop us.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        status = os.fstat(file)
        ours = stat_module.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        return os.read(file, _CHUNK_BYTES) if ours else b""
    except OSError:
        return b""
    finally:
        os.close(file)


def parse_stat(line: bytes) -> Stat:
    """A line of /proc/PID/stat. Raises ValueError if it is none."""
    head, _, tail = line.rpartition(b")")
    pid, _, name = head.partition(b" (")
    fields = tail.split()
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


def tree(root: Stat) -> list[Stat]:
    """A process and all its descendants that are alive; none if `root` itself has ended, whoever has its pid now."""
    alive = _living()
    return _with_descendants([alive[root.pid]], alive) if _is(root, alive) else []


def function_tree(start_command_path: str, extensions_folder: str, own_uid: int) -> list[Stat]:
    """The living processes of the start command: the one that the file names, and all its descendants.

    A daemon has left that tree, and belongs to it all the same. Where there is no such file (an image need not use our
    wrapper), or that process has ended: every process of our user in this environment, but no extension, nor what an
    extension has started, nor ourselves and our ancestors.
    """
    alive = _living()
    try:
        root = parse_stat(read_start_command(start_command_path))
    except ValueError:
        root = None
    if root is not None and _is(root, alive):
        return _with_descendants([alive[root.pid], *_daemons(alive)], alive)
    return _without_start_command(alive, os.path.normpath(extensions_folder), own_uid)


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


def at_rest(pid: int, slept_before: int = -1) -> bool:
    """Whether the main thread of a process waits for something from outside: it neither runs, nor would if it could.

    One that is stopped is not at rest, nor one whose main thread waits until another thread lets it run. Whether a wait
    is one for requests cannot be seen: an import may wait as well.

    slept_before: `times_slept(pid)` at an earlier look. Python's threads hand the interpreter to each other by futexes,
        as a lock does. While another thread runs, a wait of that kind counts only if it has lasted since that look.
    """
    process = stat(pid)
    if process is None:
        return False
    syscall, machine = read(f"/proc/{pid}/syscall"), os.uname().machine
    if not rest.waits(process.state, syscall, machine):
        return False
    if not rest.may_wait_for_a_thread(syscall, machine) or _all_threads_sleep(pid):
        return True
    return slept_before >= 0 and times_slept(pid) == slept_before


def times_slept(pid: int) -> int:
    """How often the main thread of a process has gone to sleep; -1 if it is gone. See proc_pid_status(5)."""
    return _times_slept(read(f"/proc/{pid}/task/{pid}/status"))


def _times_slept(status: bytes) -> int:
    words = _field(status, b"voluntary_ctxt_switches:")
    return int(words[0]) if words else -1


def _all_threads_sleep(pid: int) -> bool:
    """Whether no thread ran while we looked at all of them, one after another.

    One that lets another run goes to sleep itself: looked at one by one, both may sleep. So each is looked at twice,
    and must not have gone to sleep in between.
    """
    first = _threads(pid)
    return all(state == b"S" for _, state, _ in first) and first == _threads(pid)


def _threads(pid: int) -> list[tuple[str, bytes, int]]:
    """The threads of a process: id, state, and how often it has gone to sleep; none for one that has ended."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found = []
    for thread in threads:
        status = read(f"/proc/{pid}/task/{thread}/status")
        state = _field(status, b"State:")
        if state:
            found.append((thread, state[0], _times_slept(status)))
    return found


def another_thread_runs(pid: int) -> bool:
    try:
        threads = [int(thread) for thread in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return False
    lines = (read(f"/proc/{pid}/task/{thread}/stat") for thread in threads if thread != pid)
    return any(parse_stat(line).state in "RD" for line in lines if line)


def is_python(pid: int) -> bool:
    """Whether a process runs Python: by its executable, or because it has loaded Python, as uWSGI does."""
    name = os.path.basename(executable(pid)).lstrip(".")
    return name.startswith(_INTERPRETERS) or maps_python(read(f"/proc/{pid}/maps"))


def maps_python(maps: bytes) -> bool:
    """Whether /proc/PID/maps names Python's library or one of its extension modules."""
    return any(mark in maps for mark in _PYTHON_IS_MAPPED)


def command(pid: int) -> tuple[str, ...]:
    """The command line of a process; empty if it may not be read. A process can write there what it likes."""
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


def _living() -> dict[int, Stat]:
    """Every process that is alive, by its pid; none if /proc itself cannot be read."""
    found = {}
    try:
        entries = os.listdir("/proc")
    except OSError:
        return {}
    for entry in entries:
        if entry.isdigit():
            process = stat(int(entry))
            if process is not None and process.state not in _ENDED and not process.is_kernel_thread:
                found[process.pid] = process
    return found


def _is(process: Stat, alive: Mapping[int, Stat]) -> bool:
    same = alive.get(process.pid)
    return same is not None and same.start_ticks == process.start_ticks


def _with_descendants(roots: Iterable[Stat], alive: Mapping[int, Stat]) -> list[Stat]:
    children: dict[int, list[Stat]] = {}
    for process in alive.values():
        children.setdefault(process.parent_pid, []).append(process)
    found = {process.pid: process for process in roots}
    pending = list(found.values())
    for process in pending:  # grows while it is read
        for child in children.get(process.pid, ()):
            if child.pid not in found:
                found[child.pid] = child
                pending.append(child)
    return pending


def _daemons(alive: Mapping[int, Stat]) -> list[Stat]:
    """What the start command has started and an ancestor of ours has adopted, by what Lambda gave the runtime alone."""
    above = {1, *ancestors(os.getpid())}
    return [
        process
        for process in alive.values()
        if process.parent_pid in above
        and process.pid not in above
        and _is_runtimes_own(environment(process.pid), os.environ)
    ]


def _without_start_command(alive: Mapping[int, Stat], extensions_folder: str, own_uid: int) -> list[Stat]:
    above = {*ancestors(os.getpid())}
    ours = [process for process in alive.values() if process.pid not in above and _uid(process.pid) == own_uid]
    environs = {process.pid: environment(process.pid) for process in ours}
    api = os.environ.get(_RUNTIME_API)
    # On Lambda our parent has started everything; on a developer's machine our user runs other things as well.
    here = [p for p in alive.values() if p.pid == os.getppid()]
    here += [p for p in ours if api is not None and environs[p.pid].get(_RUNTIME_API) == api]
    inside = {process.pid for process in _with_descendants(here, alive)} if os.getppid() else alive
    extensions = [p for p in ours if is_extension(command(p.pid), environs[p.pid], extensions_folder, os.environ)]
    left_out = {os.getpid(), *(process.pid for process in _with_descendants(extensions, alive))}
    return [process for process in ours if process.pid in inside and process.pid not in left_out]


def is_extension(
    command: Iterable[str], environ: Mapping[str, str], folder: str, own_environ: Mapping[str, str]
) -> bool:
    """Whether a process is an extension: it names a file of that folder, or has what Lambda gives to an extension.

    Many a file there is a script that executes a program elsewhere, and then the command line says nothing.
    """
    if any(os.path.dirname(word) == folder for word in command):
        return True
    known = _RUNTIME_API in own_environ and not all(name in own_environ for name in _RUNTIMES_OWN)
    same_platform = environ.get(_RUNTIME_API) == own_environ.get(_RUNTIME_API)
    return known and same_platform and not _is_runtimes_own(environ, own_environ)


def _is_runtimes_own(environ: Mapping[str, str], own_environ: Mapping[str, str]) -> bool:
    """An extension's environment has not what the runtime's has; but what an image sets itself, both have."""
    api = own_environ.get(_RUNTIME_API)
    marks = (name for name in _RUNTIMES_OWN if name not in own_environ)
    return api is not None and environ.get(_RUNTIME_API) == api and any(name in environ for name in marks)


def _uid(pid: int) -> int:
    """The effective user of a process; -1 if it is gone. The owner of /proc/PID would be root where it hides itself."""
    uids = _status_field(pid, b"Uid:")
    return int(uids[1]) if uids else -1


def _status_field(pid: int, name: bytes) -> list[bytes]:
    return _field(read(f"/proc/{pid}/status"), name)


def _field(status: bytes, name: bytes) -> list[bytes]:
    for line in status.split(b"\n"):
        if line.startswith(name):
            return line.split()[1:]
    return []
