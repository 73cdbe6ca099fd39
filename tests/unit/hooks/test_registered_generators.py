"""Generators that an app registers: which are known, and what comes of one that cannot be renewed."""

from __future__ import annotations

import random
import types
import uuid
from collections.abc import Iterator

import pytest

import snapext
from snapext.hooks import generators
from snapext.hooks.reseed import prepare, reseed


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No generator of another test, and no link to an extension."""
    monkeypatch.setattr(generators, "_registered", [])
    monkeypatch.setattr(snapext.api, "connect", lambda: None)
    state = random.getstate()
    yield
    random.setstate(state)


class Sampler:
    """What an app's own class may look like."""

    def __init__(self) -> None:
        self.seeds: list[int] = []


@pytest.mark.parametrize("method", ["reseed", "seed_instance", "seed", "manual_seed"])
def test_a_method_that_reseeds_is_found_by_its_name(method: str) -> None:
    """Each is called with another number at each restore."""
    sampler = Sampler()
    setattr(sampler, method, sampler.seeds.append)
    assert snapext.register_generator(sampler) is sampler
    prepare()
    assert sampler.seeds == []
    reseed()
    reseed()
    assert len(set(sampler.seeds)) == 2


def test_a_function_of_the_apps_is_called() -> None:
    """Whatever the object is; the function is preferred to its methods."""
    seeds: list[int] = []
    snapext.register_generator(random.Random(), reseed=seeds.append)
    snapext.register_generator(object(), seeds.append)
    reseed()
    assert len(set(seeds)) == 2


def test_one_that_nobody_can_renew_fails_the_boundary_before_the_snapshot() -> None:
    """Registering it raises nothing; no version may be published whose clones draw the same."""
    snapext.register_generator(object())
    with pytest.raises(generators.NotRenewedError, match=r"builtins\.object.*register_generator\(it, function\)"):
        prepare()


def test_an_object_that_cannot_be_asked_is_one_of_those() -> None:
    """An object may be anything; registering never raises."""

    class Rude:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError(name)

    snapext.register_generator(Rude())
    with pytest.raises(generators.NotRenewedError, match="Rude"):
        prepare()


def test_nothing_is_refused_where_nothing_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SNAPEXT_RESEED=0 turns all of it off."""
    monkeypatch.setenv("SNAPEXT_RESEED", "0")
    snapext.register_generator(object())
    prepare()


def test_one_that_fails_keeps_no_other_from_being_renewed() -> None:
    """All are renewed, and then it is said which was not, and why."""

    def broken(_seed: int) -> None:
        raise ValueError("no such seed")

    seeds: list[int] = []
    snapext.register_generator(Sampler(), reseed=broken)
    snapext.register_generator(Sampler(), reseed=seeds.append)
    with pytest.raises(RuntimeError, match=r"1 of 2 registered.*Sampler: ValueError\('no such seed'\)"):
        reseed()
    assert len(seeds) == 1


def test_a_generator_of_torch_gets_a_seed_that_it_takes() -> None:
    """Not above 2 ** 63, as torch.Generator has it."""
    torch = types.SimpleNamespace(seeds=[])
    torch.manual_seed = torch.seeds.append
    torch.seed = None
    snapext.register_generator(torch)
    for _ in range(20):
        reseed()
    assert len(set(torch.seeds)) == 20
    assert all(0 <= seed < 2**63 for seed in torch.seeds)


def test_a_node_that_was_made_up_is_made_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """uuid keeps it: an address of the network stays, and one that was drawn does not."""
    monkeypatch.setattr(uuid, "_node", 0x02FC00000001)
    reseed()
    assert uuid._node == 0x02FC00000001
    monkeypatch.setattr(uuid, "_node", 0x03FC00000001)
    reseed()
    first = uuid._node
    reseed()
    assert len({0x03FC00000001, first, uuid._node}) == 3
    assert first & 1 << 40
    assert first < 1 << 48
