"""Make this process's random generators differ from those of every other clone.

Nothing drawn after a restore is trusted to be unique alone: on real clones the kernel's generator gave the same first
values in several of them. So its bytes are mixed with what differs between clones and between processes.
"""

from __future__ import annotations

import os
import random
import time

from snapext.hooks import generators, libcrypto

random.Random(b"")  # noqa: S311 - from Python 3.13 on the first seed imports a hash function: here, in the app's thread


def prepare() -> None:
    """Before the snapshot, when the last hook has run: find what has to be renewed, so that the restore only calls.

    Raises NotRenewedError for a registered one that nobody could renew.
    """
    if is_wanted():
        generators.check()
        libcrypto.look(thorough=True)


def is_wanted() -> bool:
    return os.environ.get("SNAPEXT_RESEED") != "0"


def reseed(environment_id: str | None = None) -> None:
    """Renew `random`, OpenSSL's generators, and the others that docs/generators.md names.

    Raises NotRenewedError for a registered one that could not be.
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
    libcrypto.stir(seed)
    generators.renew_shared()
    generators.renew_registered()
