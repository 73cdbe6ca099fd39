"""psycopg (3): connections that no pool owns."""

from __future__ import annotations

from snapext.integrations import patience, queries
from snapext.integrations.frame import Integration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any

    from psycopg import AsyncConnection, Connection

INSTEAD = "Call psycopg.connect() in an after-restore hook, or use psycopg_pool, which replaces connections"


def install(obj: Connection[Any] | AsyncConnection[Any] | None = None) -> None:
    """Take care of one connection, or of all that are open before the snapshot. Never raises; twice is once.

    It is closed before the snapshot. Nothing can open it again: a line on standard error says so. One that is in the
    middle of a query or a transaction is waited for first, for 2 seconds at most; then its query is canceled.
    """
    _PSYCOPG.install(obj)


class _Psycopg(Integration):
    def classes(self) -> tuple[type, ...]:
        from psycopg import AsyncConnection, Connection

        return (Connection, AsyncConnection)

    def before_snapshot(self, thing: Any) -> Awaitable[object] | None:
        from psycopg import AsyncConnection

        if thing.closed:
            return None
        if isinstance(thing, AsyncConnection):
            return self._close_async(thing)
        self._say(repr(thing), close(self, thing))
        return None

    async def _close_async(self, connection: Any) -> None:
        self._say(repr(connection), await close_async(self, connection))

    def _say(self, what: str, was_in_use: bool) -> None:
        if was_in_use:
            self.warn("in use", patience.in_use(what, INSTEAD))
        else:
            self.warn(
                "connection",
                f"{what} was open before the snapshot, is closed now, and cannot be opened again. {INSTEAD}",
            )


def close(integration: Integration, connection: Any) -> bool:
    """Close it when it is at rest, or the time is over. Returns whether it was in use."""
    rests = integration.is_at_rest(lambda: queries.status(connection) != queries.IDLE)
    if queries.runs(connection):
        queries.interrupt(connection)
    connection.pgconn.finish()  # its own close() may give it back to a pool (close_returns)
    return not rests


async def close_async(integration: Integration, connection: Any) -> bool:
    """The same for an AsyncConnection, on its loop."""

    async def is_in_use() -> bool:
        return queries.status(connection) != queries.IDLE

    rests = await integration.is_at_rest_here(is_in_use)
    if queries.runs(connection):
        await queries.interrupt_here(connection)
    connection.pgconn.finish()
    return not rests


_PSYCOPG = _Psycopg(__name__)
