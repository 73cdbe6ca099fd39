"""A program that registers one more hook, from a thread of its own, when its before-snapshot phase is behind it.

With arguments: when its hooks have run, and it is about to say so.
"""

import sys
import threading
import time

import tracing

import snapext
from snapext.hooks import reseed


def register_late():
    deadline = time.monotonic() + 20
    while snapext.status().phase != "snapshot":
        assert time.monotonic() < deadline, "that phase does not end"
        time.sleep(0.01)
    snapext.register_before_snapshot(print)


def in_a_thread(register):
    thread = threading.Thread(target=register)
    thread.start()
    thread.join()


if sys.argv[1:]:
    look = reseed.prepare  # what comes behind the hooks

    def prepare(deadline):
        look(deadline)
        in_a_thread(lambda: snapext.register_before_snapshot(print))

    reseed.prepare = prepare
    tracing.record("up")
else:
    tracing.record("up")
    in_a_thread(register_late)
time.sleep(60)
