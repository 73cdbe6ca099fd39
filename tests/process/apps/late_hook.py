"""A program that registers one more hook when its before-snapshot phase is behind it, from a thread of its own."""

import threading
import time

import tracing

import snapext


def register_late():
    deadline = time.monotonic() + 20
    while snapext.status().phase != "snapshot":
        assert time.monotonic() < deadline, "that phase does not end"
        time.sleep(0.01)
    snapext.register_before_snapshot(print)


tracing.record("up")
thread = threading.Thread(target=register_late)
thread.start()
thread.join()
time.sleep(60)
