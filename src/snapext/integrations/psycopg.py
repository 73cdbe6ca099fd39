"""psycopg (3): connections that no pool owns."""

from __future__ import annotations

from snapext.integrations.frame import Integration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any

    from psycopg import AsyncConnection, Connection


def install(obj: Connection[Any] | AsyncConnection[Any] | None = None) -> None:
    """Take care of one connection, or of all that are open before the snapshot. Never raises; twice is once.

    It is closed before the snapshot. Nothing can open it again: a line on standard error says so.
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
        self._close(thing)
        return None

    async def _close_async(self, connection: Any) -> None:
        self._close(connection)

    def _close(self, connection: Any) -> None:
        what = repr(connection)
        connection.pgconn.finish()  # its own close() may give it back to a pool (close_returns)
        self.warn(
            "connection",
            f"{what} was open before the snapshot, is closed now, and cannot be opened again. Call psycopg.connect() "
            "in an after-restore hook, or use psycopg_pool, which replaces connections",
        )


_PSYCOPG = _Psycopg(__name__)
