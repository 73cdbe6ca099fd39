"""Pools on the app's loop, and a session of each thread; it never mentions snapext. `loop_fastapi:app`."""

import os
from contextlib import asynccontextmanager

import aiomysql
import asyncpg
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import scoped_session, sessionmaker

PORT, MARIADB_PORT = int(os.environ["POSTGRES_PORT"]), int(os.environ["MARIADB_PORT"])
AT = f"postgres@127.0.0.1:{PORT}/postgres"
PID, ID = "select pg_backend_pid()", "select connection_id()"

engine = create_async_engine(
    f"postgresql+asyncpg://{AT}", connect_args={"server_settings": {"application_name": "life"}}
)
sessions = scoped_session(
    sessionmaker(create_engine(f"mysql+pymysql://life@127.0.0.1:{MARIADB_PORT}/information_schema"))
)
pools = {}


@asynccontextmanager
async def lifespan(_app):
    url = f"postgresql://{AT}?application_name=life"
    async with (
        asyncpg.create_pool(url, min_size=0, max_size=2) as pools["asyncpg"],
        AsyncConnectionPool(url, min_size=1, max_size=2, open=False) as pools["psycopg"],
        aiomysql.create_pool(host="127.0.0.1", port=MARIADB_PORT, user="life", minsize=1) as pools["aiomysql"],
    ):
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/ready")
async def ready():
    await run_in_threadpool(in_a_thread)
    return await on_the_loop()


@app.get("/loop")
async def on_the_loop():
    async with engine.connect() as connection:
        of_engine = await connection.scalar(text(PID))
    async with pools["psycopg"].connection() as connection:
        (of_psycopg,) = await (await connection.execute(PID)).fetchone()
    async with pools["aiomysql"].acquire() as connection, connection.cursor() as cursor:
        await cursor.execute(ID)
        (of_aiomysql,) = await cursor.fetchone()
    pids = [of_engine, of_psycopg, await pools["asyncpg"].fetchval(PID)]
    return {"worker": os.getpid(), "pids": pids, "ids": [of_aiomysql]}


@app.get("/thread")
def in_a_thread():
    return {"worker": os.getpid(), "pids": [], "ids": [sessions.scalar(text(ID))]}
