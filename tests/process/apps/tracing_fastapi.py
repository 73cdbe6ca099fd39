"""The tracing app on FastAPI: `tracing_fastapi:app`."""

import tracing
from fastapi import FastAPI

app = FastAPI()


@app.get("/{path:path}")
def answer(path: str):
    return tracing.answer(f"/{path}")
