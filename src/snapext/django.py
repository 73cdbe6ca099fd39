"""The middleware for Django, under WSGI and under ASGI: put it first.

    MIDDLEWARE = ["snapext.django.SnapStartMiddleware", …]

docs/guarantees.md says what it guarantees where.
"""

from __future__ import annotations

from asgiref.sync import iscoroutinefunction
from django.http import HttpResponse  # type: ignore[import-untyped, unused-ignore]

from snapext.middleware import answers, guard, waiting

__all__ = ["SnapStartMiddleware"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from django.http import HttpRequest

HTTP = "HTTP/"


def SnapStartMiddleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:  # noqa: N802 - a factory, named as in the other two
    """Hold requests that come after a restore until the after-restore hooks of this process have run."""
    own = guard.current()

    def middleware(request: HttpRequest) -> Any:
        phase = _phase(own, request)
        answer = None if phase is None else waiting.adapter_says(own, phase)
        if answer is None and not own.may_pass():
            answer = waiting.wait(own)
        return get_response(request) if answer is None else _response(*answer)

    async def middleware_here(request: HttpRequest) -> Any:
        phase = _phase(own, request)
        answer = None if phase is None else await waiting.adapter_says_here(own, phase)
        if answer is None and not own.may_pass():
            answer = await waiting.wait_here(own)
        return await get_response(request) if answer is None else _response(*answer)

    return middleware_here if iscoroutinefunction(get_response) else middleware


# What django.utils.decorators.sync_and_async_middleware sets.
SnapStartMiddleware.sync_capable = True  # type: ignore[attr-defined]
SnapStartMiddleware.async_capable = True  # type: ignore[attr-defined]


def _phase(own: guard.Guard, request: HttpRequest) -> str | None:
    if not own.routes.paths or request.method != "POST":
        return None
    meta = request.META
    # Under ASGI Django does not say which version it was.
    version = meta.get("SERVER_PROTOCOL", "1").removeprefix(HTTP)
    return own.routes.phase(
        request.path, meta.get("QUERY_STRING", ""), version, meta.get("REMOTE_ADDR", ""), request.headers.get
    )


def _response(status: int, content: bytes) -> HttpResponse:
    response = HttpResponse(content, status=status)
    for name, value in answers.headers(content):
        response[name] = value
    return response
