"""psycopg_pool: the connections of its pools, sync and async."""

from __future__ import annotations

from snapext.integrations.frame import Integration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any

    from psycopg_pool import AsyncConnectionPool, ConnectionPool

TAKE_WITHIN_S = 5.0


def install(obj: ConnectionPool[Any] | AsyncConnectionPool[Any] | None = None) -> None:
    """Take care of one pool, or of all that are alive before the snapshot. Never raises; twice is once.

    A pool that was closed cannot be opened again, and one that misses a connection opens another. So the idle
    connections are taken out of it before the snapshot and closed, and given back after the restore: the pool then
    replaces each, in the background, and its `drain()` replaces what has been opened in between.
    """
    _PSYCOPG_POOL.install(obj)


class _PsycopgPool(Integration):
    def __init__(self, module: str) -> None:
        super().__init__(module)
        self._taken: list[tuple[Any, Any]] = []

    def classes(self) -> tuple[type, ...]:
        from psycopg_pool import AsyncConnectionPool, ConnectionPool

        return (ConnectionPool, AsyncConnectionPool)

    def before_snapshot(self, thing: Any) -> Awaitable[object] | None:
        from psycopg_pool import AsyncConnectionPool

        if thing.closed:
            return None
        if isinstance(thing, AsyncConnectionPool):
            return self._empty_async(thing)
        while _idle(thing):
            self._take(thing, thing.getconn(timeout=TAKE_WITHIN_S))
        return None

    async def _empty_async(self, pool: Any) -> None:
        while _idle(pool):
            self._take(pool, await pool.getconn(timeout=TAKE_WITHIN_S))

    def _take(self, pool: Any, connection: Any) -> None:
        connection.pgconn.finish()  # its own close() may give it back to the pool (close_returns)
        self._taken.append((pool, connection))

    def after_restore(self, thing: Any) -> Awaitable[object] | None:
        from psycopg_pool import AsyncConnectionPool

        if thing.closed:
            return None
        if isinstance(thing, AsyncConnectionPool):
            return self._fill_async(thing)
        if hasattr(thing, "drain"):  # from 3.3 on
            thing.drain()
        for connection in self._given_back(thing):
            thing.putconn(connection)
        return None

    async def _fill_async(self, pool: Any) -> None:
        if hasattr(pool, "drain"):
            await pool.drain()
        for connection in self._given_back(pool):
            await pool.putconn(connection)

    def _given_back(self, pool: Any) -> list[Any]:
        ours = [connection for owner, connection in self._taken if owner is pool]
        self._taken = [(owner, connection) for owner, connection in self._taken if owner is not pool]
        return ours


def _idle(pool: Any) -> int:
    return int(pool.get_stats().get("pool_available", 0))


_PSYCOPG_POOL = _PsycopgPool(__name__)
