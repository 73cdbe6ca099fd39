"""What every test app shares: hooks that leave a trace, and an answer that says what this process has seen.

The trace is a file, $TRACE_FILE, of one JSON line for each hook and each request. Each line is appended in
one write, so processes do not mix them. The module is not called `trace`, because under waitress-serve the
standard library's module of that name would be imported instead.
"""

import json
import os
import random
import time
from pathlib import Path

import snapext

ran = []
# A forked worker starts with nothing: `ran` says what has run in this very process.
os.register_at_fork(after_in_child=ran.clear)


def record(phase, **fields):
    """Append one line to the trace; without a TRACE_FILE there is none."""
    path = os.environ.get("TRACE_FILE")
    if not path:
        return
    line = json.dumps({"pid": os.getpid(), "phase": phase, **fields, "at_ns": time.monotonic_ns()}) + "\n"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def answer(path):
    """Return what an app answers to a GET of `path`, and record the request."""
    record("request", path=path)
    return {
        "pid": os.getpid(),
        "ran": list(ran),
        "random": random.random(),
        "environment_id": snapext.status().environment_id,
        "restored": snapext.is_restored(),
        "has_board": "memfd:snapext-board" in Path("/proc/self/maps").read_text(),
    }


def _ran(phase, hook):
    ran.append(hook)
    record(phase, hook=hook)


@snapext.register_before_snapshot
def before_first():
    _ran("before_snapshot", "before_first")


@snapext.register_before_snapshot
def before_second():
    _ran("before_snapshot", "before_second")


@snapext.register_after_restore
def after_first():
    _ran("after_restore", "after_first")


@snapext.register_after_restore
def after_second():
    _ran("after_restore", "after_second")
