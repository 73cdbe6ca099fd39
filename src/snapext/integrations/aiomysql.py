"""aiomysql: the connections of its pools, and those that no pool owns, which are opened again in place."""

from __future__ import annotations

from snapext.integrations import patience
from snapext.integrations.frame import Integration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def install(obj: Any = None) -> None:
    """Take care of one pool or connection, or of all that are open before the snapshot. Never raises; twice is once.

    obj: an aiomysql.Pool or an aiomysql.Connection. A pool is emptied by its `clear()`, and connects at the next use.
    Another connection, also one that is taken out of a pool, is closed, and opened again by `ping(reconnect=True)`
    after the restore. A transaction that is open is waited for first, for 2 seconds at most; then it is rolled back,
    and a line on standard error says so.
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
            rests = await self.is_at_rest_here(lambda: _is_in_transaction(thing))
            if not thing.closed:
                await thing.ensure_closed()
                self._closed.append(thing)
            if not rests:
                self.warn("in use", patience.in_use(repr(thing), patience.IN_PLACE))

    async def after_restore(self, thing: Any) -> None:
        if hasattr(thing, "clear"):
            await thing.clear()
        elif any(thing is ours for ours in self._closed):
            self._closed = [ours for ours in self._closed if ours is not thing]
            await thing.ping(reconnect=True)


async def _is_in_transaction(connection: Any) -> bool:
    return not connection.closed and bool(connection.get_transaction_status())


_AIOMYSQL = _Aiomysql(__name__)
