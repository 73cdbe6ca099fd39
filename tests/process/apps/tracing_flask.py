"""The tracing app on Flask: `tracing_flask:app`."""

import tracing
from flask import Flask

app = Flask(__name__)


@app.get("/", defaults={"path": ""})
@app.get("/<path:path>")
def answer(path):
    return tracing.answer(f"/{path}")
