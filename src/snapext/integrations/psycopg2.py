"""psycopg2: the connections of its pools, and those that no pool owns."""

from __future__ import annotations

from snapext.integrations.frame import Integration
from snapext.integrations.objects import alive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def install(obj: Any = None) -> None:
    """Take care of one pool or connection, or of all that are alive before the snapshot. Never raises; twice is once.

    obj: a psycopg2.pool.AbstractConnectionPool, or a psycopg2.extensions.connection. A pool is emptied before the
    snapshot, and connects at the next use. A connection is closed, and nothing can open it again: a line on standard
    error says so.
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
            return
        thing.close()
        self.warn(
            "connection",
            f"{thing!r} was open before the snapshot, is closed now, and cannot be opened again. Call "
            "psycopg2.connect() in an after-restore hook, or use a pool, which connects at the next use",
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
    except Error:  # it is exhausted, or cannot connect
        pass
    for one in taken:
        pool.putconn(one, close=True)


_PSYCOPG2 = _Psycopg2(__name__)
