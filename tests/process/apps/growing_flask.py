"""A preloaded Flask app that has its gunicorn master fork one more worker, on GET /grow."""

import os
import signal

import late
import tracing
from flask import Flask

app = Flask(__name__)


@app.get("/")
@app.get("/ready")
def answer():
    return tracing.answer("/")


@app.get("/grow")
def grow():
    os.kill(os.getppid(), signal.SIGTTIN)
    return {}, late.wait_for_settled()
