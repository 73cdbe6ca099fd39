"""aiomysql: the connections of its pools, and those that no pool owns, which are opened again in place."""

from __future__ import annotations

from snapext.integrations.frame import Integration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def install(obj: Any = None) -> None:
    """Take care of one pool or connection, or of all that are open before the snapshot. Never raises; twice is once.

    obj: an aiomysql.Pool or an aiomysql.Connection. A pool is emptied by its `clear()`, and connects at the next use.
    Another connection, also one that is taken out of a pool, is closed, and opened again by `ping(reconnect=True)`
    after the restore. An open transaction is lost.
    """
    _AIOMYSQL.install(obj)


class _Aiomysql(Integration):
    def __init__(self, module: str) -> None:
        super().__init__(module)
        self._closed: list[Any] = []

    def classes(self) -> tuple[type, ...]:
        """Pools come first: what they own is closed then."""
        from aiomysql import Connection, Pool

        return (Pool, Connection)

    async def before_snapshot(self, thing: Any) -> None:
        if hasattr(thing, "clear"):
            await thing.clear()
        elif not thing.closed:
            await thing.ensure_closed()
            self._closed.append(thing)

    async def after_restore(self, thing: Any) -> None:
        if hasattr(thing, "clear"):
            await thing.clear()
        elif any(thing is ours for ours in self._closed):
            self._closed = [ours for ours in self._closed if ours is not thing]
            await thing.ping(reconnect=True)


_AIOMYSQL = _Aiomysql(__name__)
