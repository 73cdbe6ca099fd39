"""A Flask app that uses AWS's own names for the hooks, as an app for the managed Python runtime does.

Nothing here mentions snapext: the same file runs on the managed runtime and behind the web adapter.
"""

import os
import random

from flask import Flask
from snapshot_restore_py import register_after_restore, register_before_snapshot


class Connection:
    """Stands for a database connection: a snapshot must not contain an open one."""

    def __init__(self):
        self.connected = True

    def close(self):
        self.connected = False

    def reconnect(self):
        self.connected = True


connection = Connection()
state = {"token": f"{random.getrandbits(64):016x}"}

# A hook can be handed over by a call, with arguments if it takes any, or by the decorator.
register_before_snapshot(connection.close)
register_after_restore(connection.reconnect)


@register_after_restore
def renew_token():
    state["token"] = f"{random.getrandbits(64):016x}"


app = Flask(__name__)


@app.get("/")
def index():
    return {"pid": os.getpid(), "connected": connection.connected, "token": state["token"]}


@app.get("/health")
def health():
    return {"status": "ok"}
