"""Log handlers, kombu's pools, gRPC's channels and pools of processes, each with a real other side."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import logging.handlers
import multiprocessing
import socket
import subprocess
import threading

import celery
import grpc
import grpc.aio
import kombu
import kombu.pools
import pytest
from redis import Redis

import snapext
from helpers import LIMIT_S, need, wait_until
from snapext.integrations import grpc as grpc_integration
from snapext.integrations import kombu as kombu_integration
from snapext.integrations import logging as logging_integration
from snapext.integrations import pools


class Listener:
    """Takes connections, and reads them to their end: what it got on each, and which have ended."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.got: list[bytearray] = []
        self.ended = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                taken, _ = self.server.accept()
            except OSError:
                return
            self.got.append(bytearray())
            threading.Thread(target=self._read, args=(taken, self.got[-1]), daemon=True).start()

    def _read(self, taken, into):
        with taken, contextlib.suppress(ConnectionResetError):
            while data := taken.recv(65536):
                into += data
        self.ended += 1


@pytest.fixture
def listener():
    found = Listener()
    yield found
    found.server.shutdown(socket.SHUT_RDWR)
    found.server.close()


def record(text):
    return logging.LogRecord("test", logging.INFO, __file__, 1, text, None, None)


def test_handlers_close_their_sockets_and_connect_again(listener, boundary):
    """What is kept in memory is sent before; a handler keeps its name; what was opened in between is closed as well."""
    tcp = logging.handlers.SocketHandler("127.0.0.1", listener.port)
    syslog = logging.handlers.SysLogHandler(("127.0.0.1", listener.port), socktype=socket.SOCK_STREAM)
    udp = logging.handlers.DatagramHandler("127.0.0.1", listener.port)
    memory = logging.handlers.MemoryHandler(100, target=tcp)
    tcp.set_name("tcp of the test")
    snapext.install_all()
    for handler in (memory, syslog, udp):
        handler.emit(record("before"))

    boundary.before()
    assert (tcp.sock, udp.sock, syslog.socket) == (None, None, None)
    wait_until(lambda: listener.ended == len(listener.got) == 2)
    assert sorted(b"before" in got for got in listener.got) == [True, True]
    assert tcp.get_name() in logging._handlers

    syslog.emit(record("in between"))
    memory.emit(record("kept"))
    boundary.after()
    wait_until(lambda: listener.ended == 3)
    tcp.emit(record("after"))
    syslog.emit(record("after"))
    wait_until(lambda: len(listener.got) == 5 and all(listener.got[3:]))
    assert not any(b"kept" in got for got in listener.got)
    for handler in (memory, tcp, syslog, udp):
        handler.close()


def test_one_handler_alone(listener, boundary):
    """The others stay as they are."""
    one, other = (logging.handlers.SocketHandler("127.0.0.1", listener.port) for _ in range(2))
    for handler in (one, other):
        handler.emit(record("x"))
    logging_integration.install(one)
    boundary.before()
    assert (one.sock, other.sock is None) == (None, False)
    other.close()


FORGOTTEN = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
"""Of tests whose clients leave connections to the garbage collector: which of them it ends first is chance."""


def listens(path):
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@pytest.fixture
def redis(tmp_path):
    """The URL of a broker."""
    need("redis-server")
    path = tmp_path / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: listens(path))
        yield f"redis+socket://{path}"
        gc.collect()  # here, where the warnings of what the clients left are ignored
        process.terminate()


@FORGOTTEN
def test_the_pools_of_a_broker_close_and_connect_again(redis, boundary):
    """A message that is sent after the restore goes over a new connection; no pool is closed."""
    kombu_integration.install()
    with kombu.Connection(redis) as connection:
        producers = kombu.pools.producers[connection]

        def publish(text):
            with producers.acquire(block=True) as producer:
                producer.publish(text, routing_key="queue", declare=[kombu.Queue("queue")])
                return producer.connection, producer.channel.client.client_id()

        owner, frozen = publish("before")
        boundary.before()
        assert not owner.connected
        _, between = publish("in between")
        boundary.after()
        assert publish("after")[1] > between > frozen
        with connection.SimpleQueue("queue") as queue:
            assert [queue.get(timeout=LIMIT_S).payload for _ in range(3)] == ["before", "in between", "after"]
    kombu.pools.reset()


@FORGOTTEN
def test_a_celery_app_has_no_connection_in_the_snapshot(redis, boundary):
    """Neither to its broker nor to the backend of its results; tasks are sent, and results read, after the restore."""
    socket_path = redis.partition("redis+socket://")[2]
    app = celery.Celery("tasks", broker=redis, backend=redis, set_as_current=False)
    app.conf.result_expires = None  # else Celery calls what redis-py has deprecated
    with Redis(unix_socket_path=socket_path) as own:

        def others():
            return [client for client in own.client_list() if client["id"] != str(own.client_id())]

        def send():
            app.send_task("add", (1, 2), ignore_result=True)
            app.backend.store_result("one", 3, "SUCCESS")
            assert app.backend.get_result("one") == 3

        send()
        frozen = {client["id"] for client in others()}
        assert len(frozen) >= 2
        snapext.install_all()
        boundary.before()
        wait_until(lambda: not others())
        boundary.after()
        send()
        assert not frozen & {client["id"] for client in others()}
        assert own.llen("celery") == 2
    app.close()


class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(lambda request, _: request)


global_channel = other_channel = None


def test_a_channel_is_named(boundary):
    """Each that a global holds, once. One that the app has dropped is no reason."""
    global global_channel, other_channel
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1), handlers=[Echo()])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    grpc_integration.install()
    with grpc.insecure_channel(address) as closed:
        assert closed.unary_unary("/s/m")(b"x", timeout=LIMIT_S) == b"x"
    del closed
    gc.collect()
    boundary.before()
    assert boundary.lines == []

    global_channel = grpc.insecure_channel(address)
    global_channel.unary_unary("/s/m")(b"x", timeout=LIMIT_S)
    boundary.before()
    boundary.after()
    (line,) = boundary.lines
    other_channel = grpc.insecure_channel(address)
    boundary.before()
    assert [f"the channel {__name__}.other_channel." in each for each in boundary.lines] == [False, True]
    assert f"grpc: there is the channel {__name__}.global_channel." in line
    assert "drop it (channel = None) in a before-snapshot hook, and make it and its stubs in an after-restore" in line
    global_channel.close()
    other_channel.close()
    global_channel = other_channel = None
    server.stop(0).wait(LIMIT_S)


def test_a_channel_of_asyncio_is_named(boundary):
    """It is asked on its loop's thread."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1), handlers=[Echo()])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()

    async def test():
        async with grpc.aio.insecure_channel(address) as channel:
            grpc_integration.install(channel)
            boundary.before()
            assert boundary.lines == []
            await channel.unary_unary("/s/m")(b"x", timeout=LIMIT_S)
            boundary.before()

    asyncio.run(test())
    assert "there is the channel a grpc.aio._channel.Channel." in boundary.lines[0]
    server.stop(0).wait(LIMIT_S)


global_pool = None


def test_a_pool_of_processes_is_named(boundary, monkeypatch):
    """While it has processes, and each once; a pool of threads is none."""
    pools.install()
    context = multiprocessing.get_context("spawn")
    with (
        concurrent.futures.ThreadPoolExecutor(1) as threads,
        concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool,
    ):
        threads.submit(len, ()).result(LIMIT_S)
        boundary.before()
        assert boundary.lines == []
        pool.submit(len, ()).result(LIMIT_S)
        boundary.before()
        boundary.after()
        (line,) = boundary.lines
        monkeypatch.setattr(f"{__name__}.global_pool", pool)
        boundary.before()
        assert f"the worker processes of {__name__}.global_pool are" in boundary.lines[1]
    assert "the worker processes of a concurrent.futures.process.ProcessPoolExecutor are in the snapshot" in line
