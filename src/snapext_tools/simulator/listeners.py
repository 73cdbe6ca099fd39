"""Who listens on the app's port: a server that is not the function's would be taken for the app."""

from __future__ import annotations

import os
from collections.abc import Collection

from snapext_extension.kernel import processes, sockets


def who_listens(port: int) -> str | None:
    """Who listens on a port of this machine, at whatever address, in words; None if nobody does.

    A process of another user may not be looked into, and is not named.
    """
    inodes = sockets.listening_inodes(port)
    if not inodes:
        return None
    found = [pid for pid in _everybody() if not inodes.isdisjoint(sockets.held_by(pid))]
    return _named(min(found)) if found else "a process that cannot be named (another user's?)"


def stranger_on(port: int, own: Collection[int]) -> str | None:
    """The process that listens on a port of which `own`, the pids of the function, hold nothing; else None.

    None also where nobody listens, and while one of the function's processes may not be looked into.
    """
    inodes = sockets.listening_inodes(port)
    if not inodes or not all(os.access(f"/proc/{pid}/fd", os.R_OK | os.X_OK) for pid in own):
        return None
    if any(not inodes.isdisjoint(sockets.held_by(pid)) for pid in own):
        return None
    return who_listens(port)


def _everybody() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _named(pid: int) -> str:
    stat = processes.stat(pid)
    return f"process {pid} ({stat.name if stat else 'ended'})"
