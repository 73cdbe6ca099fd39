"""A program that stands by for `snapext signal`: it has hooks and no extension. It writes what runs into $TRACE_FILE.

MISBEHAVE=raise, raise once, hang or die is what its last after-restore hook does.
"""

import os
import signal
import threading

import tracing

import snapext

HOW = os.environ.get("MISBEHAVE", "")


@snapext.register_after_restore
def misbehave():
    global HOW
    if HOW.startswith("raise"):
        HOW = "" if HOW.endswith("once") else HOW
        raise ValueError("the pool is gone")
    if HOW == "hang":
        threading.Event().wait(60)
    if HOW == "die":
        os.kill(os.getpid(), signal.SIGKILL)


tracing.record("up", hook="up")
while True:
    signal.pause()
