"""psycopg_pool: the connections of its pools, sync and async."""

from __future__ import annotations

import gc

from snapext.integrations import patience
from snapext.integrations.frame import Integration
from snapext.integrations.objects import alive
from snapext.integrations.psycopg import close, close_async

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any

    from psycopg_pool import AsyncConnectionPool, ConnectionPool

TAKE_WITHIN_S = 2.0
"""An idle connection is there at once, unless a thread of the app was faster, or the pool has to replace it first."""


def install(obj: ConnectionPool[Any] | AsyncConnectionPool[Any] | None = None) -> None:
    """Take care of one pool, or of all that are alive before the snapshot. Never raises; twice is once.

    A pool that was closed cannot be opened again, and one that misses a connection opens another. So the idle
    connections are taken out of it before the snapshot and closed, and given back after the restore: the pool then
    replaces each, in the background, and its `drain()` replaces what has been opened in between. Those in use are
    waited for, for 2 seconds at most, and then closed: a line on standard error says so.
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

        def is_busy() -> bool:
            self._take_idle(thing)
            return self._left(thing) > 0

        self.is_at_rest(is_busy)
        in_use = self._in_use(thing)
        for connection in in_use:
            close(self, connection)
        self._name(thing, in_use)
        return None

    async def _empty_async(self, pool: Any) -> None:
        async def is_busy() -> bool:
            await self._take_idle_async(pool)
            return self._left(pool) > 0

        await self.is_at_rest_here(is_busy)
        in_use = self._in_use(pool)
        for connection in in_use:
            await close_async(self, connection)
        self._name(pool, in_use)

    def _take_idle(self, pool: Any) -> None:
        try:
            while _idle(pool):
                self._take(pool, pool.getconn(timeout=TAKE_WITHIN_S))
        except _taken_by_others():
            pass  # they are in use now, and `_left` counts them

    async def _take_idle_async(self, pool: Any) -> None:
        try:
            while _idle(pool):
                self._take(pool, await pool.getconn(timeout=TAKE_WITHIN_S))
        except _taken_by_others():
            pass  # they are in use now, and `_left` counts them

    def _left(self, pool: Any) -> int:
        """How many are in use, or about to be opened."""
        return int(pool.get_stats().get("pool_size", 0)) - sum(owner is pool for owner, _ in self._taken)

    def _in_use(self, pool: Any) -> list[Any]:
        """The open ones that refer to the pool, as each does that it has opened."""
        from psycopg import AsyncConnection, Connection

        if not self._left(pool):
            return []
        found = [one for one in alive((Connection, AsyncConnection)) if not one.closed]
        return [one for one in found if any(pool is other for other in gc.get_referents(one, vars(one)))]

    def _name(self, pool: Any, in_use: list[Any]) -> None:
        if in_use:
            what = f"a connection of the pool {pool.name!r} ({len(in_use)} in all)"
            self.warn(f"in use of {pool.name}", patience.in_use(what, patience.GIVEN_BACK))
        elif (left := self._left(pool)) > 0:
            self.warn(
                f"left in {pool.name}",
                f"pool {pool.name!r} is about to open connections before the snapshot ({left}), of no use after the "
                "restore. Is the server there, and does the app wait for the pool (pool.wait())?",
            )

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


def _taken_by_others() -> tuple[type[Exception], ...]:
    """What a pool raises when others were faster: then nothing is idle, and what they took is named."""
    from psycopg_pool import PoolTimeout, TooManyRequests

    return (PoolTimeout, TooManyRequests)


def _idle(pool: Any) -> int:
    return int(pool.get_stats().get("pool_available", 0))


_PSYCOPG_POOL = _PsycopgPool(__name__)
