"""Make this process's random generators differ from those of every other clone.

Nothing drawn after a restore is trusted to be unique alone: on real clones the kernel's generator gave the same first
values in several of them. So its bytes are mixed with what differs between clones and between processes.
"""

from __future__ import annotations

import os
import random
import time

from snapext.hooks import generators, libcrypto


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
    known = f"{environment_id}|{os.getpid()}|{time.time_ns()}|{time.monotonic_ns()}|{time.perf_counter_ns()}|"
    seed = known.encode("utf-8", "backslashreplace") + os.urandom(32)
    # As a number, all of whose bits count (Mersenne Twister's init_by_array). Bytes would be hashed first: that touches
    # 24 pages more, and adds nothing.
    random.seed(int.from_bytes(seed, "big"))
    libcrypto.stir(seed)
    generators.renew_shared()
    generators.renew_registered()
