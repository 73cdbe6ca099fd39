"""A Flask app of which one process, number CULPRIT, misbehaves: MISBEHAVE=before|after:raise|exit|hang|die."""

import os
import signal
import sys
import threading

import tracing
from flask import Flask

import snapext

app = Flask(__name__)
PHASE, _, HOW = os.environ["MISBEHAVE"].partition(":")


def number_of_this_process():
    """The first process to ask is 1, the next 2, and so on."""
    for number in range(1, 100):
        try:
            os.close(os.open(f"{os.environ['TRACE_FILE']}.{number}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        return number
    raise AssertionError("too many processes")


is_culprit = number_of_this_process() == int(os.environ.get("CULPRIT", "1"))


def culprit():
    if not is_culprit:
        return
    tracing.record("culprit", hook="culprit")
    if HOW == "raise":
        raise ValueError("the pool is gone")
    if HOW == "exit":
        sys.exit(3)
    if HOW == "hang":
        threading.Event().wait(60)
    if HOW == "die":
        os.kill(os.getpid(), signal.SIGKILL)


{"before": snapext.register_before_snapshot, "after": snapext.register_after_restore}[PHASE](culprit)


@app.get("/")
@app.get("/ready")
def answer():
    return tracing.answer("/")
