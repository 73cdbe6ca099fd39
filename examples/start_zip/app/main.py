"""A FastAPI app with something that no two clones may share."""

import random

from fastapi import FastAPI

app = FastAPI()


def new_token():
    return f"{random.getrandbits(64):016x}"


token = new_token()


@app.get("/")
async def index():
    return {"token": token}
