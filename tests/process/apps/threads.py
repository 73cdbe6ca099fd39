"""Hooks that say in which thread they run, and whether what belongs to the app is reached there.

WSGI: `threads:wsgi`. ASGI: `threads:asgi`, which binds its loop in the lifespan. `python threads.py` is http.server.
"""

import asyncio
import json
import os
import threading

import tracing

import snapext.link.main_thread

snapext.link.main_thread.START_WITHIN_S = 10  # on a busy machine too the main thread is the one
mine = threading.local()
mine.opened = True  # by the thread that imports the app: the main one
app_loop = None


def say(phase, hook):
    tracing.record(phase, hook=hook, thread=threading.current_thread().name, mine=getattr(mine, "opened", False))


@tracing.snapext.register_before_snapshot
def before():
    say("before_snapshot", "before")


@tracing.snapext.register_after_restore
def after():
    say("after_restore", "after")


@tracing.snapext.register_after_restore
def runs_a_loop():
    """As hooks for the managed runtime do."""
    asyncio.run(asyncio.sleep(0))
    say("after_restore", "runs_a_loop")


@tracing.snapext.register_after_restore
def waits_for_the_app():
    """It waits for the loop on which the app serves."""
    if app_loop is not None and os.environ.get("SNAPEXT_HOOK_THREAD") != "main":
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), app_loop).result(5)
    say("after_restore", "waits_for_the_app")


def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(tracing.answer(environ["PATH_INFO"])).encode()]


async def asgi(scope, receive, send):
    global app_loop
    if scope["type"] == "lifespan":
        await receive()
        app_loop = asyncio.get_running_loop()
        tracing.snapext.bind_loop()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = json.dumps(tracing.answer(scope["path"])).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    from wsgiref.simple_server import make_server

    make_server("127.0.0.1", int(os.environ["PORT"]), wsgi).serve_forever()
