"""PyMongo: clients that are open, which only the app can close and make again."""

from __future__ import annotations

from snapext.integrations.frame import Integration
from snapext.integrations.reach import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def install(obj: Any = None) -> None:
    """Look at one client, or at all that are alive before the snapshot: MongoClient and AsyncMongoClient, Motor's too.

    Nothing is closed: a client that is closed cannot be used again, and PyMongo has no other way to close connections.
    A client that is still connected when the app's own before-snapshot hooks are done is named in a warning, with what
    to write. Never raises; twice is once.
    """
    _PYMONGO.install(obj)


class _Pymongo(Integration):
    def classes(self) -> tuple[type, ...]:
        import pymongo

        return tuple(
            kind for name in ("MongoClient", "AsyncMongoClient") if (kind := getattr(pymongo, name, None)) is not None
        )

    def before_snapshot(self, thing: Any) -> None:
        # Motor's own client has one of PyMongo's, which in its turn takes any name for that of a database.
        client: Any = thing if isinstance(thing, self.classes()) else thing.delegate
        servers = ", ".join(sorted(f"{host}:{port}" for host, port in client.nodes))
        if servers:
            name = name_of(thing)
            self.warn(
                f"open: {name} {servers}",
                f"{name} is connected to {servers} in the snapshot, and PyMongo cannot renew a client: its "
                "first operations after the restore may fail with AutoReconnect. Call its close() in a "
                "before-snapshot hook, and make a new MongoClient where the app looks for it in an after-restore hook",
            )


_PYMONGO = _Pymongo(__name__)
