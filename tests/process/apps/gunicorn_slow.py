"""gunicorn's settings for a second worker whose start takes 1.5 s longer, before it comes to import any hook.

SLOW says what it does meanwhile: `work`, `sleep`, or `listen` to a database that says nothing.
"""

import contextlib
import os
import socket
import time

SECONDS = 1.5


def work():
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        pass


def listen():
    ours, _database = socket.socketpair()
    ours.settimeout(SECONDS)
    with contextlib.suppress(TimeoutError):
        ours.recv(1)


SLOW = {
    "work": work,
    "sleep": lambda: time.sleep(SECONDS),
    "listen": listen,
}


def post_fork(_server, worker):
    if worker.age == 2:
        SLOW[os.environ["SLOW"]]()
