"""aioboto3 and aiobotocore: the connections of clients, which are aiohttp's or httpx's, and credentials."""

from __future__ import annotations

import sys

from snapext.integrations import aiohttp, httpx, table
from snapext.integrations.boto3 import warn_of_frozen
from snapext.integrations.frame import Integration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any


def install(obj: Any = None) -> None:  # noqa: ARG001 - every integration is called in the same way
    """Take care of the connections of all clients that are alive before the snapshot, whichever client is given.

    They belong to sessions of aiohttp (or clients of httpx), and are closed as these are: the client stays open, and
    connects again when it is used. Credentials are the same as in boto3. Never raises; twice is once.
    """
    _AIOBOTO3.install()


class _Aioboto3(Integration):
    def classes(self) -> tuple[type, ...]:
        from botocore.credentials import Credentials

        return (Credentials, *_connectors(), *_pools())

    def before_snapshot(self, thing: Any) -> Awaitable[object] | None:
        from botocore.credentials import Credentials

        if isinstance(thing, Credentials):
            if "boto3" not in table.attended:  # it says the same
                warn_of_frozen(self, thing)
            return None
        return self.after_restore(thing)

    def after_restore(self, thing: Any) -> Awaitable[object] | None:
        if isinstance(thing, _connectors()):
            return aiohttp.close(self, thing)
        if isinstance(thing, _pools()):
            return httpx.close(self, thing)
        return None


def _connectors() -> tuple[type, ...]:
    return aiohttp.connectors() if "aiohttp" in sys.modules else ()


def _pools() -> tuple[type, ...]:
    return httpx.pools() if "httpcore" in sys.modules else ()


_AIOBOTO3 = _Aioboto3(__name__)
