"""Apps with the middleware, and hooks that leave a trace; no extension: $APP says on which framework.

The wall clock that the middleware reads is shifted by the number in $CLOCK_FILE: a test moves it, as the platform does
after a restore. Without that file it is the clock of `snapext simulate`, or the machine's. $HOOK_S is how long the
after-restore hook takes, and $HOOK_FAILS has it fail; $BEFORE_FAILS adds a before-snapshot hook that fails. With $BARE
Flask's app has no middleware.
"""

import asyncio
import mmap
import os
import struct
import time

import tracing  # noqa: F401 - four hooks, and the trace
from tracing import ran, record

import snapext
from snapext.clock.reader import Reader
from snapext.link import main_thread
from snapext.middleware import guard

main_thread.START_WITHIN_S = 10  # on a busy machine too the main thread is the one
SHIFT = bytes(8)
if "CLOCK_FILE" in os.environ:
    with open(os.environ["CLOCK_FILE"], "rb") as file:
        SHIFT = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
state = {"reads": 0, "loop": None}


def shifted():
    state["reads"] += 1
    return time.time() + struct.unpack("d", SHIFT[:8])[0]


if "CLOCK_FILE" in os.environ:
    guard.Reader = lambda: Reader(shifted)  # before the first middleware, which remembers what the clocks say


@snapext.register_after_restore
def last():
    time.sleep(float(os.environ.get("HOOK_S", 0)))  # what a hook that connects does
    if "HOOK_FAILS" in os.environ:
        raise OSError("the password of the database is wrong")
    ran.append("last")
    record("after_restore", hook="last")


if "BEFORE_FAILS" in os.environ:

    @snapext.register_before_snapshot
    def refuses():
        raise OSError("it cannot be closed")


if "ASYNC_HOOK" in os.environ:

    @snapext.register_after_restore
    async def on_the_loop():
        await asyncio.sleep(0)
        state["loop"] = id(asyncio.get_running_loop())


def seen(path):
    record("request", path=path)
    return {"pid": os.getpid(), "ran": list(ran), "reads": state["reads"], "restored": snapext.is_restored()}


async def parts():
    """A stream that goes on across the restore."""
    yield b"first\n"
    while struct.unpack("d", SHIFT[:8])[0] == 0:
        await asyncio.sleep(0.005)
    yield b"second\n"


def make_flask():
    from flask import Flask, request

    from snapext.wsgi import SnapStartMiddleware

    app = Flask(__name__)
    app.add_url_rule("/", "root", lambda: seen("/"))
    app.add_url_rule("/ready", "ready", lambda: seen("/ready"))
    app.add_url_rule("/taken", "taken", lambda: (f"the app's own: {request.data!r}", 418), methods=["POST"])
    if "BARE" not in os.environ:
        app.wsgi_app = SnapStartMiddleware(app.wsgi_app)
    return app


def make_starlette(kind=None):
    from contextlib import asynccontextmanager

    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route, WebSocketRoute

    from snapext.asgi import SnapStartMiddleware

    @asynccontextmanager
    async def lifespan(_app):
        state["lifespan"] = True
        yield

    app = (kind or Starlette)(lifespan=lifespan)
    app.add_middleware(SnapStartMiddleware)

    async def root(request):
        same = state["loop"] == id(asyncio.get_running_loop())
        return JSONResponse({**seen(request.url.path), "lifespan": state.get("lifespan"), "same_loop": same})

    async def taken(request):
        return Response(f"the app's own: {await request.body()!r}", 418)

    async def stream(_request):
        return StreamingResponse(parts())

    async def ws(socket):
        await socket.accept()
        await socket.send_json(seen("/ws"))
        await socket.close()

    plain = {"/": root, "/ready": root, "/stream": stream}
    app.router.routes.extend(Route(path, endpoint) for path, endpoint in plain.items())
    app.router.routes.append(Route("/taken", taken, methods=["POST"]))
    app.router.routes.append(WebSocketRoute("/ws", ws))
    return app


def make_fastapi():
    from fastapi import FastAPI

    return make_starlette(FastAPI)


def make_quart():
    from quart import Quart, Response, request, websocket

    from snapext.asgi import SnapStartMiddleware

    app = Quart(__name__)

    @app.before_serving
    async def starts():
        state["lifespan"] = True

    @app.get("/")
    @app.get("/ready")
    async def root():
        same = state["loop"] == id(asyncio.get_running_loop())
        return {**seen(request.path), "lifespan": state.get("lifespan"), "same_loop": same}

    @app.get("/stream")
    async def stream():
        return Response(parts())

    @app.post("/taken")
    async def taken():
        return f"the app's own: {await request.get_data()!r}", 418

    @app.websocket("/ws")
    async def ws():
        await websocket.send_json(seen("/ws"))

    app.asgi_app = SnapStartMiddleware(app.asgi_app)
    return app


def make_litestar():
    from litestar import Litestar, Request, WebSocket, get, post, websocket
    from litestar.response import Stream

    from snapext.asgi import SnapStartMiddleware

    async def starts():
        state["lifespan"] = True

    @get(["/", "/ready"])
    async def root(request: Request) -> dict:
        same = state["loop"] == id(asyncio.get_running_loop())
        return {**seen(request.url.path), "lifespan": state.get("lifespan"), "same_loop": same}

    @get("/stream")
    async def stream() -> Stream:
        return Stream(parts())

    @post("/taken", status_code=418)
    async def taken(request: Request) -> str:
        return f"the app's own: {await request.body()!r}"

    @websocket("/ws")
    async def ws(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_json(seen("/ws"))
        await socket.close()

    return SnapStartMiddleware(Litestar([root, stream, taken, ws], on_startup=[starts], openapi_config=None))


def make_django():
    from django.conf import settings
    from django.http import HttpResponse, JsonResponse
    from django.urls import re_path

    def view(request):
        if request.path == "/taken":
            return HttpResponse(f"the app's own: {request.body!r}", status=418)
        return JsonResponse(seen(request.path))

    middleware = ["snapext.django.SnapStartMiddleware", "django.middleware.csrf.CsrfViewMiddleware"]
    view.csrf_exempt = True
    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=type("urls", (), {"urlpatterns": [re_path("", view)]}),
        SECRET_KEY="only a test",
        MIDDLEWARE=middleware,
    )


def make_django_wsgi():
    from django.core.wsgi import get_wsgi_application

    make_django()
    return get_wsgi_application()


def make_django_asgi():
    from django.core.asgi import get_asgi_application

    make_django()
    return get_asgi_application()


app = globals()[f"make_{os.environ['APP']}"]()
