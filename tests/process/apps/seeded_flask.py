"""A Flask app that seeds its generator at import: without a reseed every process would draw the same."""

import random

import tracing
from flask import Flask

import snapext

random.seed(1)
app = Flask(__name__)
snapext.get_before_snapshot().clear()
snapext.get_after_restore().clear()


@snapext.register_after_restore
def draw():
    tracing.record("after_restore", hook="draw", drawn=random.random())


@app.get("/")
@app.get("/ready")
def answer():
    return {}
