"""Make this process's random generators differ from those of every other clone.

Nothing drawn after a restore is trusted to be unique alone: on real clones the kernel's generator gave the same first
values in several of them. So its bytes are mixed with what differs between clones and between processes.
"""

from __future__ import annotations

import os
import random
import sys
import time

from snapext.hooks import generators, libcrypto

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def prepare(deadline: float | None = None) -> None:
    """Before the snapshot, when the last hook has run: find what has to be renewed, so that the restore only calls.

    deadline: by time.monotonic(); then no more files are read, and those that were not are named in a line.
    Raises NotRenewedError for a registered one that nobody could renew.
    """
    if is_wanted():
        generators.check()
        generators.look()
        libcrypto.look(thorough=True, deadline=deadline)


def is_wanted() -> bool:
    return os.environ.get("SNAPEXT_RESEED") != "0"


def reseed(environment_id: str | None = None) -> None:
    """Renew `random`, OpenSSL's generators, and the others that docs/generators.md names.

    Raises NotRenewedError for a registered one that could not be.
    """
    libcrypto.look_again()
    generators.look_again()
    _renewal(*_seed_of_random(), libcrypto.found(), generators.found(), generators.kept())(in_bytes(environment_id))


def in_bytes(environment_id: str | None) -> bytes:
    return str(environment_id).encode("utf-8", "backslashreplace")


def renewal() -> Callable[[bytes], None]:
    """`reseed` for later, called with the environment id. Nothing is looked up then, unless a module has been imported.

    Each page that is touched first after a restore is a read from the snapshot: so it is one function, and what it
    calls are its own variables.
    """
    seen = libcrypto.modules_seen() if generators.are_found() else -1
    return _renewal(*_seed_of_random(), libcrypto.found(), generators.found(), generators.kept(), seen)


def rehearsal() -> Callable[[bytes], None]:
    """The same code, and a generator from which nobody draws."""
    generator = random.Random()  # noqa: S311 - nothing comes of it
    return _renewal(
        super(random.Random, generator).seed, {}, [lambda _seed: None], generators.rehearsal(), [], len(sys.modules)
    )


def _renewal(
    seed_random: Callable[[int], object],
    of_random: dict[str, object],
    stirs: list[Callable[[bytes], object]],
    shared: list[Callable[[], object]],
    registered: list[tuple[object, Any]],
    count: int | None = None,
) -> Callable[[bytes], None]:
    """count: how many modules there are if nothing is to be looked up; None: whatever there is."""
    renew_registered, not_stirred = generators.renew_registered, libcrypto.not_stirred
    modules, from_bytes, size, form = sys.modules, int.from_bytes, len, b"%b|%d|%d|%d|%d|%b"
    urandom, getpid = os.urandom, os.getpid
    time_ns, monotonic_ns, perf_counter_ns = time.time_ns, time.monotonic_ns, time.perf_counter_ns

    def renew(environment_id: bytes) -> None:
        if count is not None and size(modules) != count:
            return reseed(environment_id.decode())
        seed = form % (environment_id, getpid(), time_ns(), monotonic_ns(), perf_counter_ns(), urandom(32))
        # As a number, all of whose bits count (Mersenne Twister's init_by_array). Bytes would be hashed first: that
        # touches 24 pages more, and adds nothing.
        seed_random(from_bytes(seed, "big"))
        of_random["gauss_next"] = None
        for stir in stirs:
            try:
                stir(seed)
            except Exception as error:
                not_stirred(error)
        for one in shared:
            one()
        if registered:
            renew_registered()
        return None

    return renew


def _seed_of_random() -> tuple[Callable[[int], object], dict[str, object]]:
    """What `random.seed` calls for a number, and where it forgets the second half of a pair that `gauss` has drawn."""
    own = getattr(random.seed, "__self__", None)
    if type(own) is random.Random and getattr(random.seed, "__func__", None) is random.Random.seed:
        return super(random.Random, own).seed, vars(own)
    return random.seed, {}
