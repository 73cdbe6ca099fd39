"""psycopg2: the connections of its pools, and those that no pool owns."""

from __future__ import annotations

from snapext.integrations.frame import Integration
from snapext.integrations.objects import alive
from snapext.integrations.reach import held_by, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def install(obj: Any = None) -> None:
    """Take care of one pool or connection, or of all that are alive before the snapshot. Never raises; twice is once.

    obj: a psycopg2.pool.AbstractConnectionPool, or a psycopg2.extensions.connection. A pool is emptied before the
    snapshot, and connects at the next use. A connection is closed, and nothing can open it again: a line on standard
    error says so. So it does for those in use of a pool that was given, which stay open.
    """
    _PSYCOPG2.install(obj)


class _Psycopg2(Integration):
    def classes(self) -> tuple[type, ...]:
        """Pools come first: what they own is closed then."""
        from psycopg2.extensions import connection
        from psycopg2.pool import AbstractConnectionPool

        return (AbstractConnectionPool, connection)

    def before_snapshot(self, thing: Any) -> None:
        from psycopg2.extensions import connection

        if thing.closed:
            return
        if hasattr(thing, "getconn"):
            _empty(thing, alive((connection,)))
            self._name_those_left(thing)
            return
        thing.close()
        self.warn(
            "connection",
            f"{thing!r} was open before the snapshot, is closed now, and cannot be opened again. Call "
            "psycopg2.connect() in an after-restore hook, or use a pool, which connects at the next use",
        )

    def _name_those_left(self, pool: Any) -> None:
        from psycopg2.extensions import connection

        left = sum(not one.closed for one in held_by(pool, (connection,), ("psycopg2",)))
        if left and not self._everything:  # else they are closed next, with a line of their own
            name = name_of(pool)
            self.warn(
                f"left in {name}",
                f"pool {name} has connections in use before the snapshot: {left}. They are of no use after the "
                "restore: give them back in a before-snapshot hook, and take others in an after-restore hook",
            )


def _empty(pool: Any, connections: list[Any]) -> None:
    """Take out all that are idle, and give them back to be closed.

    A pool does not say how many it has, and opens another one when it has none: that is the sign. So `connections` are
    those of this moment: the look that the integrations share does not know what was opened since.
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
