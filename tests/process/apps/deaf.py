"""A program without a handler for the two signals. Its argument: nothing, or ignore or block them."""

import json
import os
import signal
import sys
import threading
import time

THEIRS = {signal.SIGRTMIN + 4, signal.SIGRTMIN + 5}

if sys.argv[1] == "ignore":
    for number in THEIRS:
        signal.signal(number, signal.SIG_IGN)
elif sys.argv[1] == "block":
    signal.pthread_sigmask(signal.SIG_BLOCK, THEIRS)
with open(os.environ["TRACE_FILE"], "a") as file:
    file.write(json.dumps({"pid": os.getpid(), "phase": "up", "hook": "up", "at_ns": time.monotonic_ns()}) + "\n")
threading.Event().wait(1000)
