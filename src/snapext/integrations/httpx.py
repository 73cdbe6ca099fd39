"""httpx and httpcore: the connections of clients, sync and async."""

from __future__ import annotations

from snapext.integrations.frame import Integration
from snapext.integrations.reach import held_by, is_done, of_another_loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any

LIBRARIES = ("httpx", "httpcore")


def install(obj: Any = None) -> None:
    """Take care of one client, transport or httpcore pool, or of all pools that are alive before the snapshot.

    A client that is closed cannot be opened again, so it stays open. Before the snapshot, and once more after the
    restore, each connection in `httpcore.ConnectionPool.connections` is closed: the pool drops it and opens another,
    as when a server has closed it. Never raises; twice is once.
    """
    _HTTPX.install(obj)


class _Httpx(Integration):
    def classes(self) -> tuple[type, ...]:
        return pools()

    def before_snapshot(self, thing: Any) -> Awaitable[object] | None:
        return close(self, thing)

    after_restore = before_snapshot


def pools() -> tuple[type, ...]:
    """The pools beneath clients; a proxy's are derived from them."""
    from httpcore import AsyncConnectionPool, ConnectionPool

    return (ConnectionPool, AsyncConnectionPool)


def close(integration: Integration, thing: Any) -> Awaitable[object] | None:
    """Close the connections of a pool, or of what holds pools."""
    found: list[Any] = [thing] if isinstance(thing, pools()) else held_by(thing, pools(), LIBRARIES)
    to_await = []
    for pool in found:
        for connection in pool.connections:
            if connection.is_closed():
                continue
            if hasattr(connection, "aclose"):
                to_await.append(connection)
            else:
                connection.close()
    return _close_all(integration, to_await) if to_await else None


async def _close_all(integration: Integration, connections: list[Any]) -> None:
    for connection in connections:
        if not await is_done(connection.aclose()):
            integration.warn("loop", of_another_loop(f"a connection ({connection.info()})"))


_HTTPX = _Httpx(__name__)
