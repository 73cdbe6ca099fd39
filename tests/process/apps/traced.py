"""Append to the trace without snapext: see tracing.py, whose lines these are."""

import json
import os
import time


def record(phase, **fields):
    line = json.dumps({"pid": os.getpid(), "phase": phase, **fields, "at_ns": time.monotonic_ns()}) + "\n"
    file = os.open(os.environ["TRACE_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
