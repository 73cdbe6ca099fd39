"""The generators of Python code in this process: those that everybody shares, and those that an app has registered.

Nothing is imported for it: an app that does not use numpy must not pay for it. A module that another thread is just
importing may have no function yet, and no state either.
"""

from __future__ import annotations

import os
import random
import sys
from _functools import partial  # type: ignore[import-not-found]  # `functools` takes 4 ms to import

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Renew = Callable[[], object]

LOCK_WAIT_S = 0.1
"""numpy holds the lock of a generator while it draws: a fork in that moment leaves it locked for good."""
SEED_BITS = 512
TORCH_BITS = 63
MULTICAST = 1 << 40
"""The bit of a network address that says that it was made up (RFC 9562, 6.10)."""

_registered: list[tuple[object, Renew | None]] = []


class NotRenewedError(RuntimeError):
    """A generator that the app has registered repeats in every clone."""


def register(generator: object, reseed: Callable[[int], object] | None = None) -> None:
    """Have a generator renewed after each restore, for as long as the process lives. Never raises; `check` does."""
    try:
        renew = _renewal(generator) if reseed is None else _called_with_seed(reseed)
    except Exception:  # an object may be anything, also one that cannot be asked for its methods
        renew = None
    _registered[:] = [known for known in _registered if known[0] is not generator]  # once, by what was said last
    _registered.append((generator, renew))


def registered() -> list[tuple[object, Renew | None]]:
    """A copy of what is registered."""
    return list(_registered)


def exchange(others: list[tuple[object, Renew | None]]) -> list[tuple[object, Renew | None]]:
    """For tests: have others registered from now on, and return those that there were."""
    before = registered()
    _registered[:] = others
    return before


def check() -> None:
    """Before the snapshot: raises NotRenewedError if nobody knows how to renew a registered generator."""
    unknown = [_described(generator) for generator, renew in _registered if renew is None]
    if unknown:
        raise NotRenewedError(
            f"process {os.getpid()} has registered {', '.join(unknown)}, which would repeat in every clone: it has no "
            "method reseed(n) or seed(n) that could renew it. Register it with a function that takes a whole number: "
            "register_generator(it, function)"
        )


def look() -> None:
    """Find those that everybody shares, so that a restore only calls."""
    global _shared, _seen
    seen = tuple(map(sys.modules.get, _SHARED))
    shared, whole = [], True
    for module, (attribute, make) in zip(seen, _SHARED.values(), strict=True):
        if module is not None:  # it is None also where an import is blocked
            found = _of_module(module, attribute)
            if found is None:
                whole = False  # half imported
            else:
                shared.append(make(module, found))
    _shared, _seen = shared, seen if whole else ()


def look_again() -> None:
    """Look once more if one of them was imported since the last look."""
    if not are_found():
        look()


def are_found() -> bool:
    """Whether the last look has found all that are imported now, whole."""
    return tuple(map(sys.modules.get, _SHARED)) == _seen


def found() -> list[Renew]:
    """numpy's and torch's global generators, the names of temporary files, and a node of uuid1 that was made up."""
    return _shared


def kept() -> list[tuple[object, Renew | None]]:
    """What is registered, not a copy of it: whether something is shows at any time."""
    return _registered


def _renewal_of_numpy(_module: Any, seed: Callable[[list[int]], object]) -> Renew:
    return lambda: _seed_numpy(_of_module(sys.modules.get("numpy.random.mtrand"), "_rand"), seed)


def _renewal_of_torch(_module: Any, seed: Callable[[int], object]) -> Renew:
    return lambda: seed(random.getrandbits(TORCH_BITS))


def _renewal_of_tempfile(module: Any, _class: Any) -> Renew:
    forget: Renew = partial(_names(module).__setitem__, "_name_sequence", None)
    return forget  # it is made again when it is needed


def _renewal_of_uuid(module: Any, _function: Any) -> Renew:
    return _makes_up(_names(module))


def _makes_up(names: dict[str, Any]) -> Renew:
    number, get = int, names.get

    def make_up() -> None:
        node = get("_node")
        if type(node) is number and node & MULTICAST:
            names["_node"] = random.getrandbits(48) | MULTICAST

    return make_up


def rehearsal() -> list[Renew]:
    """The same code for what nobody uses: see straight.py."""
    return [_makes_up({"_node": 0})]


_SHARED: dict[str, tuple[str, Callable[[Any, Any], Renew]]] = {
    "numpy.random": ("seed", _renewal_of_numpy),
    "torch": ("manual_seed", _renewal_of_torch),
    "tempfile": ("gettempdir", _renewal_of_tempfile),
    "uuid": ("getnode", _renewal_of_uuid),
}
"""By module: what it has when it is whole, and what renews its generator."""
_shared: list[Renew] = []
_seen: tuple[object, ...] = ()


def renew_registered() -> None:
    """Raises NotRenewedError, with all that failed, once the others are renewed."""
    failed = []
    for generator, renew in list(_registered):
        try:
            if renew is not None:  # a version with such a one was refused, unless nobody asked before the snapshot
                renew()
        except Exception as error:
            failed.append((generator, error))
    if failed:
        texts = ", ".join(f"{_described(generator)}: {error!r}" for generator, error in failed)
        raise NotRenewedError(
            f"in process {os.getpid()} {len(failed)} of {len(_registered)} registered generators could not be "
            f"renewed, and would repeat in every clone: {texts}"
        ) from failed[0][1]


def _renewal(generator: Any) -> Renew | None:
    if hasattr(generator, "getrandbits") and hasattr(generator, "seed"):  # random.Random, and what is like it
        return _called_with_seed(generator.seed)  # of a SystemRandom it does nothing, as it has nothing to renew
    source = getattr(generator, "bit_generator", generator)
    if hasattr(source, "random_raw") and hasattr(source, "__setstate__"):  # numpy.random.Generator, PCG64 and the like
        return lambda: _renew_numpy(source)
    if hasattr(generator, "random_sample") and hasattr(generator, "seed"):  # numpy.random.RandomState
        return lambda: _seed_numpy(generator, generator.seed)
    if hasattr(generator, "manual_seed"):  # torch.Generator
        return lambda: generator.manual_seed(random.getrandbits(TORCH_BITS))
    for name in ("reseed", "seed_instance", "seed"):  # seed_instance: Faker's
        method = getattr(generator, name, None)
        if callable(method):
            return _called_with_seed(method)
    return None


def _called_with_seed(reseed: Callable[[int], object]) -> Renew:
    return lambda: reseed(random.getrandbits(SEED_BITS))


def _renew_numpy(source: Any) -> None:
    """Take over the state of a new one of its class, with the seeds from which it spawns others."""
    fresh = type(source)(random.getrandbits(SEED_BITS))
    locked = source.lock.acquire(timeout=LOCK_WAIT_S)
    try:
        source.__setstate__(fresh.__getstate__())
    finally:
        if locked:
            source.lock.release()


def _seed_numpy(state: Any, seed: Callable[[list[int]], object]) -> None:
    """Seed a RandomState, which waits for the lock of its generator without a limit."""
    source = getattr(state, "_bit_generator", None)
    lock = getattr(source, "lock", None)
    if lock is None or lock.acquire(timeout=LOCK_WAIT_S):
        if lock is not None:
            lock.release()
        seed(_words())
    else:
        _renew_numpy(source)


def _of_module(module: object, attribute: str) -> Any:
    """What an imported module has of that name. One that is to be imported on its first use (a lazy one) stays so."""
    if module is None:
        return None
    return _names(module).get(attribute)


def _names(module: object) -> dict[str, Any]:
    names: dict[str, Any] = object.__getattribute__(module, "__dict__")  # asking a lazy module itself imports it
    return names


def _words() -> list[int]:
    """What numpy takes for a seed."""
    return [random.getrandbits(32) for _ in range(8)]


def _described(generator: object) -> str:
    return f"a generator of {type(generator).__module__}.{type(generator).__qualname__}"
