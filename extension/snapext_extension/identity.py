"""What is new after a restore, and how old a process is."""

from __future__ import annotations

import os
import time

from snapext_extension.lifecycle import Identity

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_MASK = (1 << 128) - 1
# Odd 128-bit constants: multiplying by one is a bijection, so two clones that differ in any one clock get different ids
# even if the kernel gives both the same random bytes, which was seen on real clones right after a restore.
_SPREAD = (0x9E3779B97F4A7C15F39CC0605CEDC835, 0xC2B2AE3D27D4EB4F165667B19E3779F9, 0x27D4EB2F165667C5A0761D6478BD642F)


def new_identity() -> Identity:
    """Make the identity of this clone: random bytes of the kernel, mixed with the clocks."""
    mixed = int.from_bytes(os.urandom(16), "big")
    clocks = (time.time_ns(), time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_PROCESS_CPUTIME_ID))
    for clock_ns, spread in zip(clocks, _SPREAD, strict=True):
        mixed ^= clock_ns * spread & _MASK
    boot_ticks = int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_PER_S)
    return Identity(f"{mixed:032x}", time.time(), boot_ticks, _last_pid())


def _last_pid() -> int:
    """The pid that was given out last: the last field of /proc/loadavg (see proc(5))."""
    with open("/proc/loadavg", "rb") as file:
        return int(file.read().split()[-1])


def is_alive(pid: int) -> bool:
    """Whether a process runs: it is neither gone nor waiting to be reaped."""
    fields = _stat(pid)
    return fields is not None and fields[0] not in (b"Z", b"X")


def parent_and_start(pid: int) -> tuple[int, int]:
    """The parent's pid, and when the process began (clock ticks since boot).

    A process that is gone already has no parent and is taken to be as old as can be: it is owed its hooks.
    """
    fields = _stat(pid)
    return (0, 0) if fields is None else (int(fields[1]), int(fields[19]))


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat after the name (see proc(5)), or None for a process that is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return None
