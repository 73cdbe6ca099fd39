"""PyMySQL: its connections, which are opened again in place."""

from __future__ import annotations

from snapext.integrations.frame import Integration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pymysql import Connection


def install(obj: Connection[Any] | None = None) -> None:
    """Take care of one connection, or of all that are open before the snapshot. Never raises; twice is once.

    It is closed before the snapshot, and opened again by its `connect()` after the restore. An open transaction is
    lost.
    """
    _PYMYSQL.install(obj)


class _PyMySQL(Integration):
    def __init__(self, module: str) -> None:
        super().__init__(module)
        self._closed: list[Any] = []

    def classes(self) -> tuple[type, ...]:
        from pymysql.connections import Connection

        return (Connection,)

    def before_snapshot(self, thing: Any) -> None:
        if thing.open:
            thing.close()
            self._closed.append(thing)

    def after_restore(self, thing: Any) -> None:
        if any(thing is ours for ours in self._closed):
            self._closed = [ours for ours in self._closed if ours is not thing]
            thing.connect()


_PYMYSQL = _PyMySQL(__name__)
