"""asyncpg: the connections of its pools, and those that no pool owns."""

from __future__ import annotations

from snapext.integrations.frame import Integration
from snapext.integrations.reach import name_of

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
    does for connections of a pool that are in use, and for one that no pool owns, which is closed, and which nothing
    can open again.
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
            await thing.close(timeout=CLOSE_WITHIN_S)
            self.warn(
                "connection",
                f"{thing!r} was open before the snapshot, is closed now, and cannot be opened again. Call "
                "asyncpg.connect() in an after-restore hook, or use a pool, which replaces connections",
            )

    async def _empty(self, pool: Any) -> None:
        refills = hasattr(pool, "get_init_size") and pool.get_min_size() > 0
        held: list[Any] = []
        try:
            while pool.get_idle_size():
                held.append(await pool.acquire(timeout=TAKE_WITHIN_S))
        except TimeoutError:  # others were faster: what they took is in use
            pass
        finally:
            left = pool.get_size() - len(held)
            for connection in held:
                if refills:
                    self._refilled.add(connection.get_server_pid())
                    await pool.release(connection)
                else:
                    await connection.close(timeout=CLOSE_WITHIN_S)
        if left > 0:
            name = name_of(pool)
            self.warn(
                f"left in {name}",
                f"pool {name} has connections in use before the snapshot (a LISTEN, say): {left}. They are of no use "
                "after the restore: give them back in a before-snapshot hook, and take others in an after-restore hook",
            )
        if held and refills:
            self.warn(
                "min_size",
                f"a pool keeps {len(held)} connections open in the snapshot, since it replaces each at once that is "
                "closed. None of them is used after the restore, but the server waits for them: give create_pool() "
                f"min_size=0 and init_size={pool.get_min_size()}",
            )

    async def after_restore(self, thing: Any) -> None:
        if hasattr(thing, "acquire") and not thing.is_closing():
            await thing.expire_connections()


_ASYNCPG = _Asyncpg(__name__)
