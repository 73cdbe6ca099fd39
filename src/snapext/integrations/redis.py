"""redis-py: the connections of pools, sync and async; of clusters and Sentinels."""

from __future__ import annotations

from snapext.hooks.checks import is_coroutine_function
from snapext.integrations.frame import Integration
from snapext.integrations.reach import held_by, is_done, name_of, of_another_loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence
    from typing import Any

CLOSING_LIMIT_S = 2.0
"""TLS waits for the other end to agree, which is not there any more after a restore."""


def install(obj: Any = None) -> None:
    """Take care of one client, pool, cluster or Sentinel, or of all that are alive before the snapshot.

    Before the snapshot `ConnectionPool.disconnect()` closes all connections, also those in use (a subscription), and an
    async cluster is closed; each is opened again when it is used next. After the restore the same closes what was
    opened in between, by a thread that waits for messages say. Never raises; twice is once.
    """
    _REDIS.install(obj)


class _Redis(Integration):
    def classes(self) -> tuple[type, ...]:
        import redis
        from redis.asyncio import RedisCluster

        return (redis.ConnectionPool, redis.asyncio.ConnectionPool, RedisCluster)

    def before_snapshot(self, thing: Any) -> Awaitable[object] | object:
        waiting = []
        for part in _parts(thing):
            # Of an async cluster, closing is what is documented; it finds its nodes anew when it is used next.
            closing = part.disconnect() if hasattr(part, "disconnect") else part.aclose()
            if closing is not None:
                waiting.append(self._close(part, closing))
        return _all(waiting) if waiting else None

    def after_restore(self, thing: Any) -> Awaitable[object] | object:
        # A turn on the loop of the app costs more than this look, and hardly ever is there anything to close.
        return self.before_snapshot(thing) if any(map(_is_connected, _parts(thing))) else None

    async def _close(self, part: Any, closing: Awaitable[object]) -> None:
        import asyncio
        import contextlib

        import redis

        with contextlib.suppress(TimeoutError, redis.TimeoutError):  # the transport goes on closing by itself
            if not await is_done(asyncio.wait_for(closing, CLOSING_LIMIT_S)):
                self.warn("loop", of_another_loop(name_of(part)))


def _parts(thing: Any) -> Iterable[Any]:
    """What has the connections: of a client its pool, of a cluster or Sentinel those of its nodes."""
    if hasattr(thing, "sentinels"):
        return [client.connection_pool for client in thing.sentinels]
    if hasattr(thing, "disconnect_connection_pools"):
        return [node.redis_connection.connection_pool for node in thing.get_nodes() if node.redis_connection]
    return [getattr(thing, "connection_pool", thing)]


def _is_connected(part: Any) -> bool:
    """Whether there may be something to close."""
    from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection

    if not is_coroutine_function(part.disconnect if hasattr(part, "disconnect") else part.aclose):
        return True  # to close it is cheaper than to look
    owners = part.get_nodes() if hasattr(part, "get_nodes") else [part]
    kinds = (Connection, SSLConnection, UnixDomainSocketConnection)
    return any(connection.is_connected for owner in owners for connection in held_by(owner, kinds, ("redis",)))


async def _all(waiting: Sequence[Awaitable[None]]) -> None:
    import asyncio

    await asyncio.gather(*waiting)


_REDIS = _Redis(__name__)
