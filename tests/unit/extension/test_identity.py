"""What is new after a restore, and how old a process is."""

import os
import re
import resource
import subprocess
import sys
import time

import pytest

from snapext_extension.kernel.identity import new_identity
from snapext_extension.kernel.processes import stat

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def frozen(monkeypatch):
    """Clones as alike as can be: clocks that stand still, and a kernel that gives each the same bytes."""
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
    monkeypatch.setattr(time, "monotonic_ns", lambda: 5_000_000_000)
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _: 7_000_000)
    monkeypatch.setattr(os, "urandom", bytes)


def test_an_identity_is_fresh_and_well_formed():
    """32 hexadecimal digits, another one each time, and the time of the restore by three clocks."""
    before, monotonic_before = time.time(), time.monotonic()
    first, second = new_identity(), new_identity()

    assert re.fullmatch("[0-9a-f]{32}", first.environment_id)
    assert first.environment_id != second.environment_id
    assert before <= first.restored_at <= time.time()
    assert monotonic_before <= first.restored_monotonic <= time.monotonic()
    assert first.boot_ticks <= time.clock_gettime(time.CLOCK_BOOTTIME) * TICKS_PER_S


def test_a_process_that_starts_next_comes_after_the_restore():
    """Its pid tells, even within the same clock tick."""
    identity = new_identity()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    ticks = stat(child.pid).start_ticks
    child.communicate()

    assert (ticks, child.pid) > (identity.boot_ticks, identity.last_pid)


def test_an_identity_is_made_without_a_descriptor():
    """The youngest process is not known then, and none that started in this clock tick is taken to be younger."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        identity = new_identity()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    assert re.fullmatch("[0-9a-f]{32}", identity.environment_id)
    with open("/proc/sys/kernel/pid_max") as limit:
        assert identity.last_pid >= int(limit.read())


@pytest.mark.parametrize("clock", ["time_ns", "monotonic_ns", "clock_gettime_ns"])
def test_one_nanosecond_of_any_clock_tells_two_clones_apart(frozen, monkeypatch, clock):
    """Even when the kernel gives both clones the same random bytes, which was seen."""
    first = new_identity().environment_id
    now = getattr(time, clock)(0) if clock == "clock_gettime_ns" else getattr(time, clock)()
    monkeypatch.setattr(time, clock, lambda *_: now + 1)

    assert first != new_identity().environment_id


def test_the_kernels_bytes_alone_tell_two_clones_apart(frozen, monkeypatch):
    """When the clocks are the same, the random bytes count."""
    first = new_identity().environment_id
    monkeypatch.setattr(os, "urandom", lambda n: b"\x01" * n)

    assert first != new_identity().environment_id


def test_small_differences_of_the_clocks_do_not_cancel_out(frozen, monkeypatch):
    """Clones whose clocks differ by a little, in any combination, all get different ids."""
    ids = set()
    for wall in range(16):
        for monotonic in range(16):
            monkeypatch.setattr(time, "time_ns", lambda wall=wall: 1_700_000_000_000_000_000 + wall)
            monkeypatch.setattr(time, "monotonic_ns", lambda monotonic=monotonic: 5_000_000_000 + monotonic)
            ids.add(new_identity().environment_id)

    assert len(ids) == 256


def test_the_name_the_parent_and_the_start_of_a_process_are_known():
    """A child's parent is us, and it began between two looks at the clock, to the tick."""
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    # A name with brackets and spaces in it must not shift the fields.
    code = "import sys; open('/proc/self/comm', 'w').write(') R 1 (x'); print(flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        seen = stat(child.pid)
    finally:
        child.communicate()
    after = time.clock_gettime(time.CLOCK_BOOTTIME)

    assert (child.pid, ") R 1 (x", os.getpid()) == (seen.pid, seen.name, seen.parent_pid)
    assert before - 0.02 <= seen.start_ticks / TICKS_PER_S <= after
