"""The middleware for ASGI apps (FastAPI, Starlette, Quart, Litestar, Django under ASGI): pure ASGI, two lines.

    from snapext.asgi import SnapStartMiddleware

    app.add_middleware(SnapStartMiddleware)      # FastAPI and Starlette; anywhere else app = SnapStartMiddleware(app)

For an app that has no extension beside it, or whose extension nothing else holds the requests for. docs/guarantees.md
says what it guarantees where.
"""

from __future__ import annotations

from snapext.hooks import loops
from snapext.middleware import answers, flavour, guard, waiting

__all__ = ["SnapStartMiddleware"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from typing import Any

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

TRY_AGAIN_LATER = 1013
"""The code with which a websocket is closed (RFC 6455 and its registry at IANA)."""
DENIAL = "websocket.http.response"


class SnapStartMiddleware:
    """Hold requests that come after a restore until the after-restore hooks of this process have run.

    app: the ASGI application. What passes is handed to it untouched: streams, websockets and the lifespan as well. At
    the start of the lifespan the running loop is bound, so that async hooks run on it. Raises TypeError for a WSGI app.
    """

    def __init__(self, app: App) -> None:
        flavour.check(app, flavour.ASGI)
        self.app = app
        self._guard = guard.current()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        guard, kind = self._guard, scope["type"]
        if kind == "http" and guard.routes.paths and scope["method"] == "POST" and scope["path"] in guard.routes.paths:
            answer = await self._answer_to_adapter(scope)
            if answer is not None:
                await _respond(send, "http.response", *answer)
                return
        if not guard.is_open:
            if kind == "lifespan":
                loops.bind_running_loop()
            elif (kind == "http" or kind == "websocket") and not guard.may_pass():
                answer = await waiting.wait_here(guard)
                if answer is not None:
                    await _refuse(scope, receive, send, answer)
                    return
        await self.app(scope, receive, send)

    async def _answer_to_adapter(self, scope: Scope) -> tuple[int, bytes] | None:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        peer = scope.get("client") or ("", 0)
        phase = self._guard.routes.phase(
            scope["path"],
            scope.get("query_string", b""),
            scope.get("http_version", ""),
            str(peer[0]),
            lambda name: headers.get(name.encode()),
        )
        return None if phase is None else await waiting.adapter_says_here(self._guard, phase)


async def _refuse(scope: Scope, receive: Receive, send: Send, answer: tuple[int, bytes]) -> None:
    if scope["type"] == "http":
        await _respond(send, "http.response", *answer)
        return
    await receive()  # websocket.connect
    if DENIAL in scope.get("extensions", {}):
        await _respond(send, DENIAL, *answer)
    else:
        await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})


async def _respond(send: Send, kind: str, status: int, content: bytes) -> None:
    headers = [(name.encode(), value.encode()) for name, value in answers.headers(content)]
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": content})
