"""Queries that run on connections of psycopg, psycopg2 and asyncpg: how they show, and how they are interrupted."""

from __future__ import annotations

import sys
import time

from snapext.integrations import patience
from snapext.integrations.reach import held_by

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from snapext.integrations.frame import Integration

IDLE, ACTIVE = 0, 1
"""PQTRANS_IDLE and PQTRANS_ACTIVE of libpq, whose numbers psycopg and psycopg2 both have."""
KINDS = (
    ("psycopg", "Connection"),
    ("psycopg", "AsyncConnection"),
    ("psycopg2.extensions", "connection"),
    ("asyncpg", "Connection"),
)
CLOSE_WITHIN_S = 5.0
ANSWER_WITHIN_S = 1.0


def status(connection: Any) -> int:
    """The status of the transaction, of psycopg and psycopg2; IDLE as well if it is closed."""
    if connection.closed:
        return IDLE
    return int(connection.info.transaction_status)


def runs(connection: Any) -> bool:
    """Whether a query runs on it."""
    return status(connection) == ACTIVE


async def runs_here(connection: Any) -> bool:
    """The same, also for asyncpg, which shows it to those alone that want to run another query."""
    if not hasattr(connection, "is_closed"):
        return runs(connection)
    from asyncpg import InterfaceError, PostgresError

    if connection.is_closed():
        return False
    try:
        await connection.execute("select 1", timeout=ANSWER_WITHIN_S)
    except InterfaceError:
        return not connection.is_closed()
    except (PostgresError, OSError):  # of a transaction that has failed already; nobody answers (TimeoutError, too)
        return False
    return False


def interrupt(connection: Any, is_busy: Callable[[], bool] | None = None) -> None:
    """Have its query canceled, and wait until the work that began it gives way."""
    connection.cancel()
    until = time.monotonic() + patience.CANCELED_WITHIN_S
    patience.rests_until(lambda: until, is_busy or (lambda: runs(connection)))


async def interrupt_here(connection: Any, is_busy: Callable[[], bool] | None = None) -> None:
    """The same on its loop. One of asyncpg is closed, which cancels its query."""
    import asyncio

    if hasattr(connection, "is_closed"):
        await connection.close(timeout=CLOSE_WITHIN_S)
    else:
        connection.cancel()
    until = time.monotonic() + patience.CANCELED_WITHIN_S
    while (is_busy() if is_busy else runs(connection)) and time.monotonic() < until:
        await asyncio.sleep(patience.LOOK_EVERY_S)


def let_rest(integration: Integration, connections: list[Any], is_busy: Callable[[], bool]) -> bool:
    """If a query runs, wait while it is busy, as long as the phase allows that; then interrupt the queries that run.

    If none runs, work may be between its last query and its commit: that gets a moment. Returns whether no query had to
    be interrupted.
    """

    def working() -> bool:
        return any(map(runs, connections))

    integration.settle(lambda: is_busy() and not working())
    if not working() or integration.is_at_rest(is_busy):
        return True
    running = list(filter(runs, connections))
    for connection in running:
        interrupt(connection, is_busy)
    return not running


async def let_rest_here(integration: Integration, connections: list[Any], is_busy: Callable[[], bool]) -> bool:
    """The same on the loop of async connections.

    A connection of asyncpg is asked once, and only if it is busy still: what the app begins meanwhile would fail.
    """

    async def busy() -> bool:
        return is_busy()

    async def running() -> list[Any]:
        return [connection for connection in connections if await runs_here(connection)]

    await integration.settle_here(is_busy)
    if not is_busy() or not await running() or await integration.is_at_rest_here(busy):
        return True
    interrupted = await running()
    for connection in interrupted:
        await interrupt_here(connection, is_busy)
    return not interrupted


def beneath(thing: Any, libraries: tuple[str, ...]) -> list[Any]:
    """The connections of these drivers that an object of such a library holds."""
    loaded = [getattr(sys.modules.get(module), name, None) for module, name in KINDS]
    return held_by(thing, tuple(kind for kind in loaded if kind is not None), libraries)
