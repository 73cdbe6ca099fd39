"""requests: the connections that sessions keep."""

from __future__ import annotations

from snapext.integrations.frame import Integration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from requests import Session


def install(obj: Session | None = None) -> None:
    """Take care of one session, or of all that are alive before the snapshot. Never raises; twice is once.

    Before the snapshot, and once more after the restore, the adapters that are mounted on it are closed, which empties
    their pools. The session stays as it is, with its cookies and settings, and opens connections when it is used.
    """
    _REQUESTS.install(obj)


class _Requests(Integration):
    def classes(self) -> tuple[type, ...]:
        from requests import Session

        return (Session,)

    def before_snapshot(self, thing: Any) -> None:
        # Not the session's own close(): a class derived from it may end more than connections (a pool of threads).
        for adapter in list(thing.adapters.values()):
            adapter.close()

    after_restore = before_snapshot


_REQUESTS = _Requests(__name__)
