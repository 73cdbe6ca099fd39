"""The demo's app: each worker has a token and a connection to a database. Three hooks take care of them."""

import os
import random
import socket
import threading
import time

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.background import BackgroundTask

from snapext import register_after_restore, register_before_snapshot

DATABASE = ("127.0.0.1", int(os.environ["DATABASE_PORT"]))
WORKERS = int(os.environ["WEB_CONCURRENCY"])  # gunicorn's own variable


class Database:
    """A connection: one line is the question, one line the answer."""

    def __init__(self):
        self.lock = threading.Lock()
        self.connect()

    def connect(self):
        self.socket = socket.create_connection(DATABASE)
        self.stream = self.socket.makefile("rw")

    def close(self):
        self.stream.close()
        self.socket.close()

    def ask(self, question):
        with self.lock:
            print(question, file=self.stream, flush=True)
            answer = self.stream.readline()
        if not answer:
            raise ConnectionResetError("end of the stream")
        return answer.strip()


def make_token():
    token = f"{random.getrandbits(32):08x}"
    print(f"worker {os.getpid()} has the token {token}", flush=True)
    return token


state = {"token": make_token()}  # before the connection, which says that this worker is up: see ready()
database = Database()


@register_before_snapshot
def close_connection():
    database.close()


@register_after_restore
def reconnect():
    database.connect()


@register_after_restore
def renew_token():
    state["token"] = make_token()  # `random` has been reseeded by now


app = FastAPI()


async def be_busy():
    time.sleep(0.05)


def answer(status=200, **body):
    # To show every worker: the next request comes on a new connection, and this worker is busy for a moment.
    content = {"worker": os.getpid(), **body}
    return JSONResponse(content, status, {"connection": "close"}, background=BackgroundTask(be_busy))


@app.get("/")
def index():
    return answer(token=state["token"])


@app.get("/db")
def db():
    try:
        return answer(said=database.ask("how are you?"))
    except ConnectionError:
        return answer(500, said="connection closed by the database")


@app.get("/ready")
def ready():
    """Lambda takes the snapshot as soon as one worker is ready. To show all workers, the demo waits for all."""
    return answer(200 if int(database.ask("connections")) >= WORKERS else 503)
