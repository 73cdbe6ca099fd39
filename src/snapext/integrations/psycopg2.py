"""psycopg2: the connections of its pools, and those that no pool owns."""

from __future__ import annotations

from snapext.integrations import patience, queries
from snapext.integrations.frame import Integration
from snapext.integrations.reach import held_by, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def install(obj: Any = None) -> None:
    """Take care of one pool or connection, or of all that are alive before the snapshot. Never raises; twice is once.

    obj: a psycopg2.pool.AbstractConnectionPool, or a psycopg2.extensions.connection. A pool is emptied before the
    snapshot, and connects at the next use. A connection is closed, and nothing can open it again: a line on standard
    error says so. One that is in use (taken out of a pool, or in the middle of a query or a transaction) is waited for
    first, for 2 seconds at most; then its query is canceled.
    """
    _PSYCOPG2.install(obj)


class _Psycopg2(Integration):
    def classes(self) -> tuple[type, ...]:
        """Pools come first: what they own is closed then."""
        from psycopg2.extensions import connection
        from psycopg2.pool import AbstractConnectionPool

        return (AbstractConnectionPool, connection)

    def before_snapshot(self, thing: Any) -> None:
        if thing.closed:
            return
        if hasattr(thing, "getconn"):
            self._empty(thing)
            return
        instead = "Call psycopg2.connect() in an after-restore hook, or use a pool, which connects at the next use"
        what = repr(thing)
        if self._close(thing):
            self.warn("in use", patience.in_use(what, instead))
        else:
            what = f"{what} was open before the snapshot, is closed now, and cannot be opened again"
            self.warn("connection", f"{what}. {instead}")

    def _empty(self, pool: Any) -> None:
        from psycopg2.extensions import connection

        def left() -> list[Any]:
            return [one for one in held_by(pool, (connection,), ("psycopg2",)) if not one.closed]

        _empty(pool, left())
        if in_use := left():
            self.is_at_rest(lambda: any(map(queries.status, in_use)))
            _empty(pool, left())  # what was given back meanwhile
        if in_use := left():
            for one in in_use:
                self._close(one)
            name = name_of(pool)
            what = f"a connection of the pool {name} ({len(in_use)} in all)"
            self.warn(f"in use of {name}", patience.in_use(what, patience.GIVEN_BACK))

    def _close(self, connection: Any) -> bool:
        """Close it when it is at rest, or the time is over. Returns whether it was in use."""
        rests = self.is_at_rest(lambda: queries.status(connection) != queries.IDLE)
        if queries.runs(connection):
            queries.interrupt(connection)  # its close() waits for the query
        connection.close()
        return not rests


def _empty(pool: Any, connections: list[Any]) -> None:
    """Take out all that are idle, and give them back to be closed.

    A pool does not say which are idle, and opens another one when none is: that is the sign. connections: all that it
    has.
    """
    from psycopg2 import Error

    known = {id(one) for one in connections if not one.closed}
    taken = []
    try:
        while known:
            taken.append(pool.getconn())
            if id(taken[-1]) not in known:
                break
            known.discard(id(taken[-1]))
    except Error:  # it is exhausted, or cannot connect: nothing is idle any more
        pass
    for one in taken:
        pool.putconn(one, close=True)


_PSYCOPG2 = _Psycopg2(__name__)
