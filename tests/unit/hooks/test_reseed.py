"""Reseeding: what is reseeded, and from what."""

import os
import random
import sys
import time
import types

import pytest

import snapext
from snapext.hooks.reseed import reseed


@pytest.fixture(autouse=True)
def same_random_afterwards():
    state = random.getstate()
    yield
    random.setstate(state)


@pytest.fixture
def frozen(monkeypatch):
    """Clones as alike as can be: clocks that stand still, and a kernel that gives each the same bytes."""
    for clock in ("time_ns", "monotonic_ns", "perf_counter_ns"):
        monkeypatch.setattr(time, clock, lambda: 1_700_000_000_000_000_000)
    monkeypatch.setattr(os, "urandom", bytes)


def draws(environment_id=None):
    random.seed(1)
    reseed(environment_id)
    return random.getrandbits(128)


def test_a_reseeded_generator_no_longer_repeats():
    """Two clones that start from one state draw different values."""
    assert draws("a" * 32) != draws("a" * 32)


def test_clones_differ_by_their_environment_alone(frozen):
    """When the kernel and the clocks give two clones the same, the environment id still tells them apart."""
    assert draws("a" * 32) == draws("a" * 32)
    assert draws("a" * 32) != draws("b" * 32)


def test_processes_of_one_environment_differ_by_their_pid_alone(frozen, monkeypatch):
    """When all else is the same, two processes of one environment still differ."""
    first = draws("a" * 32)
    monkeypatch.setattr(os, "getpid", lambda: 4711)

    assert first != draws("a" * 32)


@pytest.mark.parametrize("source", ["time.time_ns", "time.monotonic_ns", "time.perf_counter_ns", "os.urandom"])
def test_each_source_counts(frozen, monkeypatch, source):
    """A difference in any one clock, or in the kernel's bytes, is enough."""
    first = draws("a" * 32)
    module, name = source.split(".")
    changed = (lambda n: b"x" * n) if name == "urandom" else (lambda: 1)
    monkeypatch.setattr(sys.modules[module], name, changed)

    assert first != draws("a" * 32)


def test_numpy_and_torch_are_reseeded_where_they_are_imported(monkeypatch):
    """The global generators of both get a seed that they accept, another one each time."""
    seeds = []
    numpy_random = types.SimpleNamespace(seed=seeds.append)
    torch = types.SimpleNamespace(manual_seed=seeds.append)
    monkeypatch.setitem(sys.modules, "numpy.random", numpy_random)
    monkeypatch.setitem(sys.modules, "torch", torch)
    reseed()
    reseed()
    first_numpy, first_torch, second_numpy, second_torch = seeds

    assert (first_numpy, first_torch) != (second_numpy, second_torch)
    assert all(0 <= word < 2**32 for word in first_numpy)
    assert len(set(first_numpy)) > 1
    assert 0 <= first_torch < 2**63


@pytest.mark.parametrize("present", [None, types.ModuleType("half_imported")], ids=["blocked", "half imported"])
def test_a_generator_that_is_not_there_is_passed_over(monkeypatch, present):
    """A blocked module, or one that another thread is just importing, does not fail the restore."""
    monkeypatch.setitem(sys.modules, "numpy.random", present)
    monkeypatch.setitem(sys.modules, "torch", present)

    assert draws() != draws()


def test_reseeding_imports_neither():
    """An app without numpy and torch does not pay for them."""
    before = set(sys.modules)
    snapext.reseed()

    assert not {"numpy", "torch"} & (set(sys.modules) - before)
