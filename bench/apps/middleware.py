"""What the middleware costs a request: calls of an empty ASGI app and WSGI app, in nanoseconds, as JSON.

No server and no socket: a request through uvicorn takes a hundred times as long, and varies by more than this.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"] = "snap-start"  # before the guard reads it

from snapext import asgi, wsgi
from snapext.middleware import guard

CALLS, TIMES = 2_000, 20
SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": []}
ENVIRON = {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}


async def asgi_app(_scope: Any, _receive: Any, _send: Any) -> None:
    pass


def wsgi_app(_environ: dict[str, Any], _start_response: Any) -> Iterable[bytes]:
    return ()


def call_asgi(app: Any) -> Callable[[int], None]:
    async def calls(count: int) -> None:
        for _ in range(count):
            await app(SCOPE, None, None)

    def call(count: int) -> None:
        with contextlib.suppress(StopIteration):
            calls(count).send(None)

    return call


def call_wsgi(app: Any) -> Callable[[int], None]:
    def call(count: int) -> None:
        for _ in range(count):
            app(ENVIRON, None)

    return call


def readings(count: int) -> None:
    for _ in range(count):
        time.time()
        time.monotonic()


def nanoseconds(call: Callable[[int], None]) -> float:
    """For one. The best of some: what else the machine does only makes it longer."""
    took = []
    for _ in range(TIMES):
        began = time.perf_counter_ns()
        call(CALLS)
        took.append((time.perf_counter_ns() - began) / CALLS)
    return min(took)


def main() -> None:
    apps = {"ASGI": call_asgi(asgi_app), "WSGI": call_wsgi(wsgi_app)}
    held = {
        "ASGI": call_asgi(asgi.SnapStartMiddleware(asgi_app)),
        "WSGI": call_wsgi(wsgi.SnapStartMiddleware(wsgi_app)),
    }
    found: dict[str, dict[str, float]] = {}
    clock = nanoseconds(readings)
    for kind, plain in apps.items():
        without = nanoseconds(plain)
        before = nanoseconds(held[kind]) - without
        guard.current().is_open = True
        after = nanoseconds(held[kind]) - without
        guard.current().is_open = False
        found[kind] = {"before_ns": before, "after_ns": after, "clock_ns": clock}
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
