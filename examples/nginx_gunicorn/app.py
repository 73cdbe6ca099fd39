"""A plain WSGI app with hooks; run.sh puts gunicorn around it, and nginx in front."""

import json
import os

from snapshot_restore_py import register_after_restore, register_before_snapshot

state = {"connection": "opened at init"}


@register_before_snapshot
def close_connection():
    state["connection"] = None


@register_after_restore
def reconnect():
    state["connection"] = "opened after the restore"


def app(_environ, start_response):
    body = json.dumps({"pid": os.getpid(), **state}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
