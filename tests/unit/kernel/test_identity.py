"""What is new after a restore, and how old a process is."""

import os
import re
import resource
import time

import pytest

from snapext_extension.kernel.identity import new_identity

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
