"""SQLAlchemy: the connections of engines, sync and async, and of sessions that hold one between two requests."""

from __future__ import annotations

import sys

from snapext.integrations import patience, queries
from snapext.integrations.frame import Integration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    Work = Callable[[Any, "_SQLAlchemy"], Awaitable[object] | None]


def install(obj: Engine | AsyncEngine | None = None) -> None:
    """Take care of one engine, or of all that are alive before the snapshot. Never raises; twice is once.

    Before the snapshot `engine.dispose()` closes the connections of the pool; with all engines, a session or connection
    that holds one open is invalidated as well, so that its next use connects anew. That rolls its transaction back: a
    line on standard error says so. After the restore
    `engine.dispose(close=False)` forgets what has been opened in between, as SQLAlchemy documents it for forks. SQLite
    is left alone: it has no server, and a database in memory would be lost.
    """
    _SQLALCHEMY.install(obj)


class _SQLAlchemy(Integration):
    def classes(self) -> tuple[type, ...]:
        """What holds a connection, before the engine that it would go back to."""
        holders, engines = _classes()
        return (*holders, *engines)

    def before_snapshot(self, thing: Any) -> Awaitable[object] | None:
        holders, engines = _classes()
        for kind, release in (holders | engines).items():
            if isinstance(thing, kind):
                try:
                    return release(thing, self)
                except Exception as error:
                    if kind in engines:
                        raise
                    self.warn("in use", f"a {kind.__name__} keeps its connection: {error!r}. Close it before that")
        return None

    def begin(self, thing: Any) -> None:
        """Wait for its transaction to end; say what is lost of one that does not."""
        rests = queries.let_rest(self, queries.beneath(thing, ("sqlalchemy",)), thing.in_transaction)
        self._say_what_is_lost(thing, rests=rests)

    async def begin_here(self, thing: Any) -> None:
        """The same on the loop of what is async."""
        rests = await queries.let_rest_here(self, queries.beneath(thing, ("sqlalchemy",)), thing.in_transaction)
        self._say_what_is_lost(thing, rests=rests)

    def _say_what_is_lost(self, thing: Any, *, rests: bool) -> None:
        """rests: no query of it had to be interrupted."""
        kind = type(thing).__name__
        if thing.in_transaction():
            self.warn(
                f"transaction of {kind}",
                f"the open transaction of some {kind} is rolled back before the snapshot; its next use begins another "
                "one. Commit it, or close it: scoped_session.remove() behind each request, say",
            )
        elif not rests:
            self.warn(f"in use by {kind}", patience.in_use(f"the connection of some {kind}", patience.GIVEN_BACK))

    def after_restore(self, thing: Any) -> None:
        engine = getattr(thing, "sync_engine", thing)
        if hasattr(engine, "dispose") and not _is_sqlite(engine):
            engine.dispose(close=False)


def _classes() -> tuple[dict[type, Work], dict[type, Work]]:
    """What holds connections, as far as it is loaded, and what makes them; each with what releases them."""
    from sqlalchemy import Connection, Engine

    holders: dict[type, Work] = {Connection: _release_connection}
    engines: dict[type, Work] = {Engine: _dispose}
    if "sqlalchemy.orm" in sys.modules:
        from sqlalchemy.orm import Session

        holders = {Session: _release_session} | holders
    if "sqlalchemy.ext.asyncio" in sys.modules:
        from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

        holders |= {AsyncSession: _release_async_session, AsyncConnection: _release_async_connection}
        engines = {AsyncEngine: _dispose_async} | engines
    return holders, engines


def _is_sqlite(engine: Any) -> bool:
    return str(engine.dialect.name) == "sqlite"


def _is_left_alone(engine: Any, *, is_async: bool) -> bool:
    """SQLite is, and what is async is released by the object that the app has of it."""
    return _is_sqlite(engine) or bool(engine.dialect.is_async) != is_async


def _release_session(session: Any, ours: _SQLAlchemy) -> None:
    if session.in_transaction() and not _is_left_alone(session.get_bind(), is_async=False):
        ours.begin(session)
        if session.in_transaction():
            session.invalidate()


def _release_async_session(session: Any, ours: _SQLAlchemy) -> Awaitable[object] | None:
    if session.in_transaction() and not _is_left_alone(session.get_bind(), is_async=True):
        return _invalidate_session(session, ours)
    return None


async def _invalidate_session(session: Any, ours: _SQLAlchemy) -> None:
    await ours.begin_here(session)
    if session.in_transaction():
        await session.invalidate()


def _release_connection(connection: Any, ours: _SQLAlchemy) -> None:
    if connection.closed or connection.invalidated or _is_left_alone(connection.engine, is_async=False):
        return
    if connection.in_transaction():
        ours.begin(connection)
    if connection.in_transaction():  # its work may have ended meanwhile
        connection.rollback()
    if not connection.closed:
        connection.invalidate()


def _release_async_connection(connection: Any, ours: _SQLAlchemy) -> Awaitable[object] | None:
    if connection.closed or connection.invalidated or _is_left_alone(connection.sync_engine, is_async=True):
        return None
    return _invalidate(connection, ours)


async def _invalidate(connection: Any, ours: _SQLAlchemy) -> None:
    if connection.in_transaction():
        await ours.begin_here(connection)
    if not connection.closed and not connection.invalidated:
        if connection.in_transaction():
            await connection.rollback()
        await connection.invalidate()


def _dispose(engine: Any, _: _SQLAlchemy) -> None:
    if not _is_left_alone(engine, is_async=False):
        engine.dispose()


def _dispose_async(engine: Any, _: _SQLAlchemy) -> Awaitable[object] | None:
    if _is_left_alone(engine.sync_engine, is_async=True):
        return None
    result: Awaitable[object] = engine.dispose()
    return result


_SQLALCHEMY = _SQLAlchemy(__name__)
