"""aiohttp: the connections of client sessions."""

from __future__ import annotations

from snapext.integrations.frame import Integration
from snapext.integrations.reach import held_by, is_done, name_of, of_another_loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any

LIBRARIES = ("aiohttp",)


def install(obj: Any = None) -> None:
    """Take care of one session or connector, or of all connectors that are alive before the snapshot.

    A session that is closed cannot be opened again, and aiohttp has no way to close the connections of one that stays.
    So before the snapshot, and once more after the restore, the transport of each connection is closed beneath it, by
    asyncio's own `Transport.abort()`: to aiohttp it looks as if the server had done so, and it opens another one. A
    WebSocket ends as well. Never raises; twice is once.
    """
    _AIOHTTP.install(obj)


class _Aiohttp(Integration):
    def classes(self) -> tuple[type, ...]:
        return connectors()

    def before_snapshot(self, thing: Any) -> Awaitable[object] | None:
        return close(self, thing)

    after_restore = before_snapshot


def connectors() -> tuple[type, ...]:
    """What has the connections of sessions, and may be shared between them."""
    from aiohttp import BaseConnector

    return (BaseConnector,)


def close(integration: Integration, thing: Any) -> Awaitable[object] | None:
    """Close the connections of a connector, or of what holds one."""
    from aiohttp.client_proto import ResponseHandler

    held = held_by(thing, (ResponseHandler,), LIBRARIES)
    transports = [handler.transport for handler in held]
    open_ones = [transport for transport in transports if transport is not None and not transport.is_closing()]
    return _abort_all(integration, thing, open_ones) if open_ones else None


async def _abort_all(integration: Integration, thing: Any, transports: list[Any]) -> None:
    for transport in transports:
        if not await is_done(_abort(transport)):
            integration.warn("loop", of_another_loop(name_of(thing)))


async def _abort(transport: Any) -> None:
    transport.abort()  # its socket is closed in the next turn of the loop, before this hook can end


_AIOHTTP = _Aiohttp(__name__)
