"""kombu, and so Celery: the connections to the broker in its pools."""

from __future__ import annotations

from snapext.integrations.frame import Integration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def install(obj: Any = None) -> None:
    """Take care of one connection pool, or of all that are alive before the snapshot: Celery's, and `kombu.pools`.

    Before the snapshot, and once more after the restore, `resize(reset=True)` to the size that they have closes their
    connections; the pools stay, and connect when something is sent. (`kombu.pools.reset()` would leave Celery a closed
    pool.) Never raises; twice is once.
    """
    _KOMBU.install(obj)


class _Kombu(Integration):
    def classes(self) -> tuple[type, ...]:
        from kombu.connection import ConnectionPool

        return (ConnectionPool,)

    def before_snapshot(self, thing: Any) -> None:
        thing.resize(thing.limit, ignore_errors=True, reset=True)

    after_restore = before_snapshot


_KOMBU = _Kombu(__name__)
