"""A program that stands by for `snapext signal`: it has hooks and no extension. It writes what runs into $TRACE_FILE.

MISBEHAVE=raise, hang or die is what its second after-restore hook does. Its handlers of its own are for SIGTERM alone.
"""

import os
import signal
import threading

import tracing

import snapext

HOW = os.environ.get("MISBEHAVE", "")


@snapext.register_after_restore
def misbehave():
    if HOW == "raise":
        raise ValueError("the pool is gone")
    if HOW == "hang":
        threading.Event().wait(60)
    if HOW == "die":
        os.kill(os.getpid(), signal.SIGKILL)


tracing.record("up", hook="up")
while True:
    signal.pause()
