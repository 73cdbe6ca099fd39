"""What is new after a restore."""

from __future__ import annotations

import os
import time

from snapext_extension.boundary.settings import Identity
from snapext_extension.kernel.processes import read

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_MASK = (1 << 128) - 1
_PID_MAX = 1 << 22  # PID_MAX_LIMIT of 64-bit kernels (proc(5))
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
    return Identity(f"{mixed:032x}", time.time(), boot_ticks, _last_pid(), time.monotonic())


def _last_pid() -> int:
    """The pid that was given out last: the last field of /proc/loadavg (see proc(5)).

    Where it cannot be read, this is the highest pid: a process that started in this very clock tick is owed its hooks.
    """
    try:
        return int(read("/proc/loadavg").split()[-1])
    except (ValueError, IndexError):
        return _PID_MAX
