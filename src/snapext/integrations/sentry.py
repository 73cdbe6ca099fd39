"""Sentry: the events that its client has queued, and the connections of its transport."""

from __future__ import annotations

import sys
import time

from snapext.integrations.flushing import FLUSH_WITHIN_S, LATE
from snapext.integrations.frame import Integration
from snapext.integrations.reach import held_by

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def install(obj: Any = None) -> None:
    """Take care of one client, or of the one that `sentry_sdk.init()` has made. Never raises; twice is once.

    Before the snapshot `flush()` sends events, release-health sessions, logs and metrics, for 5 seconds at most. Then,
    and once more after the restore, the pool of the transport is emptied (`PoolManager.clear()`). The SDK's threads go
    on in a clone as they were. Connections of its asyncio transport and of HTTP/2 are closed by nobody: a line says so.
    """
    _SENTRY.install(obj)


class _Sentry(Integration):
    def objects(self) -> Iterable[Any]:
        import sentry_sdk

        client = sentry_sdk.get_client()
        return [client] if client.is_active() else []

    def before_snapshot(self, thing: Any) -> None:
        began = time.monotonic()
        thing.flush(timeout=FLUSH_WITHIN_S)
        if time.monotonic() - began >= FLUSH_WITHIN_S:  # it returns nothing, and raises nothing
            self.warn("late", LATE)
        pools = held_by(thing.transport, _pool_managers(), ("sentry_sdk",))
        for pool in pools:
            pool.clear()
            self.keep(pool)
        if thing.transport is not None and not pools:
            self.warn(
                "transport",
                f"its transport {type(thing.transport).__name__} keeps connections that nothing closes before the "
                "snapshot: leave http2 and the asyncio transport off",
            )

    def after_restore(self, thing: Any) -> None:
        if any(isinstance(thing, kind) for kind in _pool_managers()):
            thing.clear()


def _pool_managers() -> tuple[type, ...]:
    manager = getattr(sys.modules.get("urllib3"), "PoolManager", None)
    return () if manager is None else (manager,)


_SENTRY = _Sentry(__name__)
