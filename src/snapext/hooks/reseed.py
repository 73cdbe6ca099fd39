"""Make this process's random generators differ from those of every other clone.

Nothing drawn after a restore is trusted to be unique alone: on real clones the kernel's generator gave the same first
values in several of them. So its bytes are mixed with what differs between clones and between processes.
"""

from __future__ import annotations

import os
import random
import sys
import time


def reseed(environment_id: str | None = None) -> None:
    """Reseed `random`, and the global generators of numpy and torch where they are imported already.

    Generators of your own (`random.Random()`, `numpy.random.default_rng()`) are yours to remake in a hook.
    """
    seed = b"|".join(
        str(part).encode()
        for part in (
            environment_id,
            os.getpid(),
            time.time_ns(),
            time.monotonic_ns(),
            time.perf_counter_ns(),
            os.urandom(32).hex(),
        )
    )
    random.seed(seed)  # hashes all of it with SHA-512
    # Looked up, not imported: an app that does not use them must not pay for them.
    # What another thread is just importing may have no function yet, and no state either.
    numpy_seed = getattr(sys.modules.get("numpy.random"), "seed", None)
    if numpy_seed is not None:
        numpy_seed([random.getrandbits(32) for _ in range(8)])
    torch_seed = getattr(sys.modules.get("torch"), "manual_seed", None)
    if torch_seed is not None:
        torch_seed(random.getrandbits(63))
