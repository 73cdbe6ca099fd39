"""A server whose processes appear late: LATE=before spawns one before the snapshot, GET /spawn and /fork after it.

Each late process registers the tracing hooks, and says in the trace what has run in it once it is up to date.
"""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def wait_for_settled():
    """Wait for the line that a late process writes when it is up to date."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with open(os.environ["TRACE_FILE"]) as file:
            if any(json.loads(line)["phase"] == "settled" for line in file):
                return 200
        time.sleep(0.01)
    return 500


def settle():
    """In a late process: wait until it is restored, and report the hooks that ran."""
    import tracing

    import snapext

    assert snapext.wait_restored(20)
    tracing.record("settled", hook="settled", ran=list(tracing.ran))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        status = {"/spawn": spawn, "/fork": fork, "/wait": wait_for_settled}.get(self.path, lambda: 200)()
        self.send_response(status)
        self.end_headers()

    def log_message(self, *args):
        pass


def spawn():
    subprocess.Popen([sys.executable, __file__, "late"])
    return wait_for_settled()


def fork():
    if os.fork() == 0:
        settle()
        threading.Event().wait(60)
    return wait_for_settled()


def wait_until_restored():
    """Wait until the environment has been frozen and restored."""
    from raw_client import phase, wait_until

    wait_until(lambda: phase() in ("after_restore", "ready"))


def spawn_before_the_snapshot():
    subprocess.Popen([sys.executable, __file__, "late", "after the restore"])


if __name__ == "__main__" and sys.argv[1:2] == ["late"]:
    if sys.argv[2:]:
        wait_until_restored()
    settle()
    threading.Event().wait(60)
elif __name__ == "__main__":
    import tracing  # noqa: F401 - registers the hooks

    import snapext

    if os.environ.get("LATE") == "before":
        snapext.register_before_snapshot(spawn_before_the_snapshot)
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
