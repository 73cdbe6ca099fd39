"""PyMySQL: its connections, which are opened again in place."""

from __future__ import annotations

from snapext.integrations import patience
from snapext.integrations.frame import Integration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pymysql import Connection


def install(obj: Connection[Any] | None = None) -> None:
    """Take care of one connection, or of all that are open before the snapshot. Never raises; twice is once.

    It is closed before the snapshot, and opened again by its `connect()` after the restore. A transaction that is open
    is waited for first, for 2 seconds at most; then it is rolled back, and a line on standard error says so.
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
            what, rests = repr(thing), self.is_at_rest(lambda: _is_in_transaction(thing))
            thing.close()
            self._closed.append(thing)
            if not rests:
                self.warn("in use", patience.in_use(what, patience.IN_PLACE))

    def after_restore(self, thing: Any) -> None:
        if any(thing is ours for ours in self._closed):
            self._closed = [ours for ours in self._closed if ours is not thing]
            thing.connect()


def _is_in_transaction(connection: Any) -> bool:
    """As the server has said with its last answer. That a query runs nothing shows."""
    from pymysql.constants import SERVER_STATUS

    return bool(connection.open and connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)


_PYMYSQL = _PyMySQL(__name__)
