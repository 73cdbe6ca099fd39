"""Questions to the platform that it answers in its own time: the next event, and the restore."""

from __future__ import annotations

from collections.abc import Callable

from snapext_extension.platform.http1 import Response, is_ok, parse_response
from snapext_extension.platform.lambda_api import RESTORE_NEXT, LambdaApi
from snapext_extension.reactor import Reactor

RESTORED = Response(200, {}, b"")
"""What restore/next says with this status is in it: a restore does not wait for the parsing of headers."""


def ask(api: LambdaApi, path: str, reactor: Reactor, on_response: Callable[[Response], None]) -> None:
    """Ask, and call back with the answer. Raises OSError if the platform cannot be asked.

    In the reactor, HttpError is raised for an answer that is malformed.
    """
    connection = api.ask(path)
    received = b""

    def readable() -> None:
        nonlocal received
        try:
            data = connection.recv(65536)
        except BlockingIOError:
            return  # woken for a descriptor of the same number, which is gone
        received += data
        if path == RESTORE_NEXT and is_ok(received):
            response: Response | None = RESTORED
        else:
            response = parse_response(received, ended=not data)
        if response is not None:
            reactor.unwatch(connection.fileno())
            on_response(response)
            connection.close()  # afterwards: a restore does not wait for it

    connection.setblocking(False)
    reactor.watch(connection.fileno(), readable)
