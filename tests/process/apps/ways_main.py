"""`python ways_main.py` has uvicorn import this very file in two workers: its own hook is there twice."""

import os

import ways

app = ways.asgi


@ways.hooks.register_after_restore
def renew():
    ways.ran_hook("after_restore", "renew")


if __name__ == "__main__":
    import uvicorn

    uvicorn.run("ways_main:app", port=int(os.environ["PORT"]), workers=2)
