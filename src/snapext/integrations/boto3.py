"""boto3 and botocore: the connections of clients, and credentials that would not be renewed."""

from __future__ import annotations

from snapext.hooks.checks import is_coroutine_function
from snapext.integrations.frame import Integration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RECIPE = (
    "pass no keys and let the SDK find the function's own at AWS_CONTAINER_CREDENTIALS_FULL_URI, which it renews by "
    "itself; or make the session and its clients in an after-restore hook"
)


def install(obj: Any = None) -> None:
    """Take care of one client or resource, or of all clients that are alive before the snapshot.

    Before the snapshot, and once more after the restore, `client.close()` closes its connections; the client opens
    others when it is used. Credentials of a role renew themselves by the time, as botocore documents. Temporary ones
    that nothing renews (a session token in a variable, or passed to a session) are named in a warning. Never raises;
    twice is once.
    """
    _BOTO3.install(obj)


class _Boto3(Integration):
    def classes(self) -> tuple[type, ...]:
        from botocore.client import BaseClient
        from botocore.credentials import Credentials

        return (BaseClient, Credentials)

    def before_snapshot(self, thing: Any) -> None:
        if hasattr(thing, "meta"):
            _close(thing)
        else:
            warn_of_frozen(self, thing)

    def after_restore(self, thing: Any) -> None:
        if hasattr(thing, "meta"):
            _close(thing)


def _close(thing: Any) -> None:
    client = getattr(thing.meta, "client", thing)
    if not is_coroutine_function(client.close):  # of aiobotocore: its connections are aiohttp's, see aioboto3
        client.close()


def warn_of_frozen(integration: Integration, credentials: Any) -> None:
    """Warn of a session token that nobody renews: it expires while the snapshot lives."""
    from botocore.credentials import RefreshableCredentials

    if not isinstance(credentials, RefreshableCredentials) and credentials.token:
        integration.warn(
            f"credentials {credentials.method}",
            f"temporary credentials of the source {credentials.method!r} ({credentials.access_key[:4]}…) are in the "
            f"snapshot, and nothing renews them when they expire: {RECIPE}",
        )


_BOTO3 = _Boto3(__name__)
