"""What the threads of a process do: whether its main thread waits, and whether another one runs.

Nothing here raises for a process that has ended or may not be read.
"""

from __future__ import annotations

import os

from snapext_extension.kernel import rest
from snapext_extension.kernel.processes import field, parse_stat, read, stat


def at_rest(pid: int, slept_before: int = -1) -> bool:
    """Whether the main thread of a process waits for something from outside: it neither runs, nor would if it could.

    A stopped process is not at rest. Nor is a process whose main thread waits until another thread lets it run. Whether
    it waits for requests we cannot see: an import may wait as well.

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


def another_thread_runs(pid: int) -> bool:
    """Whether a thread of a process besides its main thread runs, or would if it could."""
    try:
        threads = [int(thread) for thread in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return False
    lines = (read(f"/proc/{pid}/task/{thread}/stat") for thread in threads if thread != pid)
    return any(parse_stat(line).state in "RD" for line in lines if line)


def _all_threads_sleep(pid: int) -> bool:
    """Whether no thread ran while we looked at all of them, one after another.

    A thread that lets another run goes to sleep itself: looked at one by one, both may seem asleep. So we look at each
    twice, and it must not have gone to sleep in between.
    """
    first = _threads(pid)
    return all(state == b"S" for _, state, _ in first) and first == _threads(pid)


def _threads(pid: int) -> list[tuple[str, bytes, int]]:
    """The threads of a process: id, state, and how often it has gone to sleep; empty for a process that has ended."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found = []
    for thread in threads:
        status = read(f"/proc/{pid}/task/{thread}/status")
        state = field(status, b"State:")
        if state:
            found.append((thread, state[0], _times_slept(status)))
    return found


def _times_slept(status: bytes) -> int:
    words = field(status, b"voluntary_ctxt_switches:")
    return int(words[0]) if words else -1
