"""Django: the database connections of all threads and async tasks, its connection pools, and its caches."""

from __future__ import annotations

from snapext.integrations import patience, queries
from snapext.integrations.frame import Integration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from django.core.cache.backends.base import BaseCache
    from django.db.backends.base.base import BaseDatabaseWrapper


def install(obj: BaseDatabaseWrapper | BaseCache | None = None) -> None:
    """Take care of one connection or cache, or of all that are alive before the snapshot. Never raises; twice is once.

    Each thread and each async task has connections of its own in Django, and `connections.close_all()` closes those of
    the one that calls it. This closes them all, whichever thread they belong to: Django connects again at the first use
    in each. A connection that is opened between that and the snapshot is closed after the restore. A transaction that
    is open (`atomic`) is rolled back: a line on standard error says so.
    """
    _DJANGO.install(obj)


class _Django(Integration):
    def classes(self) -> tuple[type, ...]:
        from django.core.cache.backends.base import BaseCache
        from django.db.backends.base.base import BaseDatabaseWrapper

        return (BaseDatabaseWrapper, BaseCache)

    def before_snapshot(self, thing: Any) -> None:
        from django.db.backends.signals import connection_created

        connection_created.connect(self._opened, weak=False, dispatch_uid=__name__)
        raw = getattr(thing, "connection", None)
        if raw is not None and thing.vendor != "sqlite":
            self._let_rest(thing, raw)
        _close(thing)
        if hasattr(thing, "close_pool") and thing.settings_dict["OPTIONS"].get("pool"):
            thing.close_pool()  # the next use makes another one

    def _let_rest(self, thing: Any, raw: Any) -> None:
        """Wait for work in the background; say what is lost of what does not end. raw: the driver's connection."""
        drivers = [raw] if thing.vendor == "postgresql" else []  # psycopg2's close() waits for a query

        def is_busy() -> bool:
            return thing.in_atomic_block or any(map(queries.status, drivers))

        rests = queries.let_rest(self, drivers, is_busy)
        if is_busy():
            kind = "atomic" if thing.in_atomic_block else "autocommit is off"
            self.warn(
                f"transaction of {thing.alias}",
                f"an open transaction of the database {thing.alias!r} ({kind}) is rolled back before the snapshot. Let "
                "the work that has begun it end in a before-snapshot hook",
            )
        elif not rests:
            what = f"a connection of the database {thing.alias!r}"
            self.warn(f"in use of {thing.alias}", patience.in_use(what, patience.GIVEN_BACK))

    def after_restore(self, thing: Any) -> None:
        from django.db.backends.signals import connection_created

        connection_created.disconnect(dispatch_uid=__name__)
        _close(thing)

    def _opened(self, connection: Any, **_: Any) -> None:
        self.keep(connection)


def _close(thing: Any) -> None:
    """Close a connection on behalf of the thread that it belongs to, which is at rest."""
    share = getattr(thing, "inc_thread_sharing", None)
    if share is None:  # a cache
        thing.close()
        return
    if thing.connection is None:
        return
    share()
    try:
        thing.close()
    finally:
        thing.dec_thread_sharing()


_DJANGO = _Django(__name__)
