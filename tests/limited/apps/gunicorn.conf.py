"""gunicorn's own view: each worker leaves a line before it imports anything of the app."""

import json
import os
import time


def post_fork(server, worker):
    line = json.dumps({"pid": os.getpid(), "phase": "forked", "at_ns": time.monotonic_ns()}) + "\n"
    file = os.open(os.environ["TRACE_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line.encode())
    os.close(file)
