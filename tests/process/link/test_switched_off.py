"""SNAPEXT_MODE=off in the app's processes: nothing is linked, nothing waits, and every call stays harmless."""

from __future__ import annotations

import json

from clients import HOOKS, Start
from helpers import Listener

CALLS = """
loaded_by_hooks = "snapext.link" in sys.modules
import asyncio, json, signal
from snapext import install_all
from snapext.asgi import SnapStartMiddleware as Asgi
from snapext.wsgi import SnapStartMiddleware as Wsgi

def tasks():
    return len(os.listdir("/proc/self/task"))

def wsgi_app(environ, start_response):
    start_response("200 OK", [])
    return [b"the app"]

async def asgi_app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the app"})

def wsgi(app, path):
    said = []
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": path, "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1"}
    body = b"".join(app(environ, lambda status, headers: said.append(status)))
    return [int(said[0].split()[0]), body.decode()]

def asgi(app, path):
    said = []
    async def send(message):
        said.append(message)
    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "client": ("127.0.0.1", 1),
             "query_string": b"", "http_version": "1.1"}
    asyncio.run(app(scope, None, send))
    return [said[0]["status"], said[1]["body"].decode()]

snapext.register_generator(__import__("random").Random())
install_all()
snapext.connect()
snapext.checkpoint()
snapext.checkpoint()
status = snapext.status()
by_wsgi, by_asgi = Wsgi(wsgi_app), Asgi(asgi_app)
wsgi_said = [wsgi(by_wsgi, path) for path in ("/elsewhere", "/before", "/before")]
asgi_said = [asgi(by_asgi, path) for path in ("/elsewhere", "/after", "/after")]
if (child := os.fork()) == 0:
    os._exit(tasks())
say(json.dumps({
    "restored": [snapext.is_restored(), snapext.wait_restored()],
    "status": [status.phase, status.generation, status.connected],
    "hooks": [len(snapext.get_before_snapshot()), len(snapext.get_after_restore())],
    "wsgi": wsgi_said,
    "asgi": asgi_said,
    "tasks": [tasks(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])],
    "handlers": [signal.getsignal(number) == signal.SIG_DFL for number in (signal.SIGRTMIN + 4, signal.SIGRTMIN + 5)],
    "linked": [loaded_by_hooks, "snapext.link.conversation" in sys.modules],
    "ran": ran,
}))
"""
OFF = {
    "SNAPEXT_MODE": "off",
    "SNAPEXT_INTEGRATIONS": "auto",
    "AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH": "/before",
    "AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH": "/after",
}


def test_no_call_links_the_process_and_none_waits(listener: Listener, start: Start) -> None:
    """An extension of before would listen: nobody comes. The adapter's two POSTs are answered, and run nothing."""
    for variables in ({}, {"SNAPEXT_TRANSPORT": "signal"}):
        app = start(HOOKS + CALLS, **OFF, **variables)
        said = json.loads(app.line())
        _, err = app.end()
        listener.server.setblocking(False)
        try:
            listener.accept()
        except BlockingIOError:
            pass
        else:
            raise AssertionError("a process came to the socket")

        assert said == {
            "restored": [False, False],
            "status": ["init", 0, False],
            "hooks": [1, 1],  # registered, with none of an integration beside them
            "wsgi": [[200, "the app"], [200, ""], [200, "the app"]],
            "asgi": [[200, "the app"], [200, ""], [200, "the app"]],
            "tasks": [1, 1],
            "handlers": [True, True],
            "linked": [False, False],
            "ran": [],
        }
        assert err.splitlines() == [
            "snapext: SNAPEXT_MODE=off: no hook runs, and the checkpoint waits for nothing",
            err.splitlines()[1],
        ]
        assert "AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH" in err
