"""What is new after a restore."""

from __future__ import annotations

import os
import time

from snapext_extension.boundary.settings import Identity

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_MASK = (1 << 128) - 1
_PID_MAX = 1 << 22  # PID_MAX_LIMIT of 64-bit kernels (proc(5))
# Odd 128-bit constants: multiplying by one is a bijection, so two clones that differ in any one clock get different ids
# even if the kernel gives both the same random bytes, which was seen on real clones right after a restore.
_WALL = 0x9E3779B97F4A7C15F39CC0605CEDC835
_MONOTONIC = 0xC2B2AE3D27D4EB4F165667B19E3779F9
_CPU = 0x27D4EB2F165667C5A0761D6478BD642F


Moment = tuple[str, int, int, int]
"""An environment id, microseconds of the wall clock and of CLOCK_MONOTONIC, and nanoseconds since boot: what has to be
taken down at once in a restore, each by the call that touches the fewest pages."""


def moment() -> Moment:
    """Take down this moment in this clone. The id is random bytes of the kernel, mixed with the clocks."""
    wall_ns, monotonic_ns, boot_ns = time.time_ns(), time.monotonic_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    cpu_ns = time.clock_gettime_ns(time.CLOCK_PROCESS_CPUTIME_ID)
    mixed = wall_ns * _WALL ^ monotonic_ns * _MONOTONIC ^ cpu_ns * _CPU
    mixed = int.from_bytes(os.urandom(16), "big") ^ mixed & _MASK
    return mixed.to_bytes(16, "big").hex(), wall_ns // 1000, monotonic_ns // 1000, boot_ns


def read_load() -> bytes:
    """The line of /proc/loadavg, which names the youngest process; empty if it cannot be read.

    To be read right after the members were told: it takes longer than all of `moment`, and a process that starts in
    between, in the clock tick of the restore, is merely owed its hooks.
    """
    try:
        file = os.open("/proc/loadavg", os.O_RDONLY | os.O_CLOEXEC)
        load = os.read(file, 100)
        os.close(file)
    except OSError:
        return b""
    return load


def identity_at(moment: Moment, load: bytes) -> Identity:
    """The identity of a clone that was restored at that moment."""
    environment_id, wall_us, monotonic_us, boot_ns = moment
    try:
        last_pid = int(load.split()[-1])  # the pid that was given out last (proc(5))
    except (ValueError, IndexError):
        last_pid = _PID_MAX  # a process that started in this very clock tick is owed its hooks
    return Identity(environment_id, wall_us / 1e6, boot_ns // _TICK_NS, last_pid, monotonic_us / 1e6)


def new_identity() -> Identity:
    """The identity of a clone that is restored now."""
    return identity_at(moment(), read_load())
