"""SQLAlchemy: the connections of engines, sync and async; of sessions and connections that hold one."""

from __future__ import annotations

from snapext.integrations.frame import Integration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine


def install(obj: Engine | AsyncEngine | None = None) -> None:
    """Take care of one engine, or of all that are alive before the snapshot. Never raises; twice is once.

    Before the snapshot `engine.dispose()` closes the connections of the pool; after the restore
    `engine.dispose(close=False)` forgets what has been opened in between, as SQLAlchemy documents it for forks. SQLite
    is left alone: it has no server, and a database in memory would be lost.
    """
    _SQLALCHEMY.install(obj)


class _SQLAlchemy(Integration):
    def classes(self) -> tuple[type, ...]:
        from sqlalchemy import Engine

        return (Engine,)

    def before_snapshot(self, thing: Any) -> Awaitable[object] | object:
        if thing.dialect.name != "sqlite":
            thing.dispose()
        return None

    def after_restore(self, thing: Any) -> Awaitable[object] | object:
        if thing.dialect.name != "sqlite":
            thing.dispose(close=False)
        return None


_SQLALCHEMY = _SQLAlchemy(__name__)
