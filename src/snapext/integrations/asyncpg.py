"""asyncpg: the connections of its pools, and those that no pool owns."""

from __future__ import annotations

from snapext.integrations import patience, queries
from snapext.integrations.frame import Integration
from snapext.integrations.reach import held_by, is_done, name_of, of_another_loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from asyncpg import Connection, Pool

CLOSE_WITHIN_S = 5.0
TAKE_WITHIN_S = 2.0
"""An idle connection is there at once, unless a task of the app was faster."""


def install(obj: Pool[Any] | Connection[Any] | None = None) -> None:
    """Take care of one pool or connection, or of all that are alive before the snapshot. Never raises; twice is once.

    The idle connections of a pool are closed before the snapshot, and `expire_connections()` has it replace all others
    after the restore, each when it is next acquired. From 0.32 on a pool with a `min_size` opens that many at once
    whenever one is closed: those stay open, and are replaced in the same way; a line on standard error says so. So it
    does for one that no pool owns, which is closed, and which nothing can open again. A connection that is in use is
    waited for first, for 2 seconds at most; then it is closed, which cancels its query, and named.
    """
    _ASYNCPG.install(obj)


class _Asyncpg(Integration):
    def __init__(self, module: str) -> None:
        super().__init__(module)
        self._refilled: set[int] = set()
        """The server's processes for connections that their pool would replace at once."""

    def classes(self) -> tuple[type, ...]:
        """Pools come first: what they own is closed then."""
        from asyncpg import Connection, Pool

        return (Pool, Connection)

    async def before_snapshot(self, thing: Any) -> None:
        if hasattr(thing, "acquire"):
            if not thing.is_closing():
                await self._empty(thing)
        elif not thing.is_closed() and thing.get_server_pid() not in self._refilled:
            instead = "Call asyncpg.connect() in an after-restore hook, or use a pool, which replaces connections"
            rests = True

            async def close() -> None:
                nonlocal rests
                rests = await self.is_at_rest_here(lambda: _is_in_use(thing))
                await thing.close(timeout=CLOSE_WITHIN_S)

            if not await is_done(close()):
                self.warn("loop", of_another_loop(repr(thing)))
            elif rests:
                what = f"{thing!r} was open before the snapshot, is closed now, and cannot be opened again"
                self.warn("connection", f"{what}. {instead}")
            else:
                self.warn("in use", patience.in_use(repr(thing), instead))

    async def _empty(self, pool: Any) -> None:
        from asyncpg import Connection

        refills = hasattr(pool, "get_init_size") and pool.get_min_size() > 0
        held: list[Any] = []

        async def is_busy() -> bool:
            try:
                while pool.get_idle_size():
                    held.append(await pool.acquire(timeout=TAKE_WITHIN_S))
            except TimeoutError:  # others were faster: what they took is in use
                pass
            return bool(pool.get_size() > len(held))

        try:
            await self.is_at_rest_here(is_busy)
            ours = {connection.get_server_pid() for connection in held}
            in_use = [
                one
                for one in held_by(pool, (Connection,), ("asyncpg",))
                if not one.is_closed() and one.get_server_pid() not in ours
            ]
            for connection in in_use:
                await connection.close(timeout=CLOSE_WITHIN_S)
        finally:
            for connection in held:
                if refills:
                    self._refilled.add(connection.get_server_pid())
                    await pool.release(connection)
                else:
                    await connection.close(timeout=CLOSE_WITHIN_S)
        if in_use:
            name = name_of(pool)
            what = f"a connection of the pool {name} ({len(in_use)} in all)"
            self.warn(f"in use of {name}", patience.in_use(what, patience.GIVEN_BACK))
        replaced = len(held) + len(in_use) if refills else 0
        if replaced:
            self.warn(
                "min_size",
                f"a pool keeps {replaced} connections open in the snapshot, since it replaces each at once that is "
                "closed. None of them is used after the restore, but the server waits for them: give create_pool() "
                f"min_size=0 and init_size={pool.get_min_size()}",
            )

    async def after_restore(self, thing: Any) -> None:
        if hasattr(thing, "acquire") and not thing.is_closing():
            await thing.expire_connections()


async def _is_in_use(connection: Any) -> bool:
    """In the middle of a query, or of a transaction."""
    return await queries.runs_here(connection) or (not connection.is_closed() and connection.is_in_transaction())


_ASYNCPG = _Asyncpg(__name__)
