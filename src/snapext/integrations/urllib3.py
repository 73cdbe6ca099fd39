"""urllib3: the connections of its pools, whether an app or another library made them."""

from __future__ import annotations

from snapext.integrations.frame import Integration
from snapext.integrations.reach import held_by

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from urllib3 import HTTPConnectionPool, PoolManager


def install(obj: PoolManager | HTTPConnectionPool | None = None) -> None:
    """Take care of one pool manager or pool, or of all that are alive before the snapshot. Never raises; twice is once.

    Before the snapshot, and once more after the restore, `PoolManager.clear()` closes its pools. A pool without a
    manager cannot be used once it is closed: its connections are closed instead (as `http.client` documents, each opens
    again when it is used). A connection whose response is being read stays open until it is read.
    """
    _URLLIB3.install(obj)


class _Urllib3(Integration):
    def classes(self) -> tuple[type, ...]:
        from urllib3 import HTTPConnectionPool, PoolManager

        return (PoolManager, HTTPConnectionPool)

    def before_snapshot(self, thing: Any) -> None:
        from urllib3 import PoolManager
        from urllib3.connection import HTTPConnection

        if isinstance(thing, PoolManager):
            thing.clear()
            return
        for connection in held_by(thing, (HTTPConnection,), ("urllib3", "queue", "botocore")):
            connection.close()

    after_restore = before_snapshot


_URLLIB3 = _Urllib3(__name__)
