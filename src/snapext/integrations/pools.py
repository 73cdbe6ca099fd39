"""Pools of processes, of `concurrent.futures` and `multiprocessing`: nobody starts them anew."""

from __future__ import annotations

import sys

from snapext.integrations.frame import Integration
from snapext.integrations.reach import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def install(obj: Any = None) -> None:
    """Name one pool, or all that are alive before the snapshot while this process has children: a line says what to do.

    A `ThreadPoolExecutor` is left alone: its threads go on in a clone as they were, and what a library keeps for each
    thread its own integration renews. Never raises; twice is once.
    """
    _POOLS.install(obj)


class _Pools(Integration):
    def classes(self) -> tuple[type, ...]:
        kinds = (("concurrent.futures.process", "ProcessPoolExecutor"), ("multiprocessing.pool", "Pool"))
        found = [getattr(sys.modules.get(module), name, None) for module, name in kinds]
        return tuple(kind for kind in found if kind is not None)

    def objects(self) -> Iterable[Any]:
        import multiprocessing

        return super().objects() if multiprocessing.active_children() else []

    def before_snapshot(self, thing: Any) -> None:
        name = name_of(thing)
        self.warn(
            f"pool {name}",
            f"the worker processes of {name} are in the snapshot, with what they have open, and run the "
            "hooks that they have inherited or registered, if any. Shut it down in a before-snapshot hook, and make it "
            "in an after-restore hook, or at its first use",
        )


_POOLS = _Pools(__name__)
