"""A WSGI app for gunicorn's gevent workers, whose hooks wait in gevent's own sleep and sockets: `gevent_app:app`."""

import json
import signal
import socket
import threading
import time

caught = []
for number in (signal.SIGRTMIN + 4, signal.SIGRTMIN + 5):  # the app's own handlers, before the first hook
    signal.signal(number, lambda number, _frame: caught.append(number - signal.SIGRTMIN))

import tracing  # noqa: E402

import snapext  # noqa: E402


def wait(phase):
    """Under gevent both a sleep and a socket let other greenlets run; where nothing may wait, they raise."""
    listener = socket.create_server(("127.0.0.1", 0))

    def greet():
        accepted, _ = listener.accept()
        time.sleep(0.02)
        accepted.sendall(b"hello")
        accepted.close()

    greeter = threading.Thread(target=greet)
    greeter.start()
    with socket.create_connection(listener.getsockname(), timeout=5) as peer:
        assert peer.recv(5) == b"hello"
    greeter.join()
    listener.close()
    tracing.record(phase, hook=f"{phase}_waits")


@snapext.register_before_snapshot
def before_snapshot_waits():
    wait("before_snapshot")


@snapext.register_after_restore
def after_restore_waits():
    wait("after_restore")


def app(environ, start_response):
    answer = {
        **tracing.answer(environ["PATH_INFO"]),
        "threads": [thread.name for thread in threading.enumerate()],
        "patched": socket.socket.__module__.startswith("gevent"),
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "caught": caught,
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
