"""The app of every set-up: plain ASGI, without the time of a framework. Its hooks do nothing.

BENCH_LINK=snapext registers them with snapext, `http` serves them on their own paths, `pings` uses the workaround.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CHUNK, CHUNKS = b"x" * 1024, 8


def hook() -> None:
    """A hook that does nothing: the benchmark measures the way to it."""


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    elif scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        for left in reversed(range(CHUNKS)):
            await send({"type": "http.response.body", "body": CHUNK, "more_body": left > 0})
    else:
        if scope["method"] == "POST" and scope["path"] in ("/before", "/after"):
            hook()
        body = b"hello"
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def counting_pings(app: App) -> App:
    """The common workaround behind an adapter before 1.1: count the requests, and guess where the snapshot was.

    The adapter checks the readiness path until the app is ready, and then stops. The workaround takes the first request
    to any other path for the first one after the restore, which waits for the hooks. Only the worker that got it runs
    them.
    """
    pings = 0
    restored = False

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal pings, restored
        if scope["type"] == "http" and not restored:
            if scope["path"] == "/ready":
                pings += 1
                if pings == 1:
                    hook()  # before the snapshot, as far as can be known
            elif pings:
                restored = True
                hook()
        await app(scope, receive, send)

    return counted


app: App = serve
if os.environ.get("BENCH_LINK") == "snapext":
    from snapext import register_after_restore, register_before_snapshot

    register_before_snapshot(hook)
    register_after_restore(hook)
elif os.environ.get("BENCH_LINK") == "pings":
    app = counting_pings(serve)
