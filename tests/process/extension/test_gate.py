"""The real readiness gate, and the probe of the app, over real sockets."""

import contextlib
import http.client
import re
import resource
import select
import socket
import struct
import threading
import time

import pytest

from helpers import LIMIT_S, Loop, MemoryLog, free_port, wait_until
from snapext_extension.adapter_config import Readiness
from snapext_extension.platform import gate as gate_module
from snapext_extension.platform import probe as probe_module
from snapext_extension.platform.gate import Gate, GateError
from snapext_extension.platform.http1 import MAX_HEAD_BYTES, HttpError
from snapext_extension.platform.probe import AppProbe
from snapext_extension.reactor import Reactor

REQUEST = b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n"
HEALTHY = frozenset(range(100, 500))


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


class RunningGate:
    """A gate on a free port, its checks, and its clients."""

    def __init__(self, loop, stack, host="127.0.0.1"):
        self.address = (host, free_port())
        self.loop, self.log, self.asked, self.hung_up, self._stack = loop, MemoryLog(), [], [], stack
        self.gate = loop.call(
            lambda: Gate(*self.address, loop.reactor, self.log, lambda: self.asked.append(1), self.hung_up.append)
        )

    def answer(self, status=200):
        return self.loop.call(lambda: self.gate.answer(status))

    def connect(self, data=b""):
        client = self._stack.enter_context(socket.create_connection(self.address, LIMIT_S))
        client.sendall(data)
        return client

    def wait_asked(self, times):
        wait_until(lambda: len(self.asked) >= times)
        assert times == len(self.asked)


@pytest.fixture
def gate(loop):
    with contextlib.ExitStack() as stack:
        gate = RunningGate(loop, stack)
        yield gate
        loop.call(gate.gate.close)


def read_all(client):
    with contextlib.suppress(ConnectionResetError):
        return b"".join(iter(lambda: client.recv(65536), b""))
    return b""


def is_silent(client):
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(1)
    client.settimeout(LIMIT_S)
    return True


def response(client):
    answer = http.client.HTTPResponse(client)
    answer.begin()
    answer.read()
    return answer.status


# --- the gate --------------------------------------------------------------------------------------------------------


def test_a_request_is_held_until_it_is_answered(gate):
    """The adapter waits for as long as we hold it, and gets the status that we choose."""
    client = gate.connect(REQUEST)
    gate.wait_asked(1)
    assert is_silent(client)
    gate.answer(204)

    assert response(client) == 204


def test_a_request_that_is_not_whole_is_not_one(gate):
    """Only the last byte of the head makes a request, and an answer before it reaches no client."""
    client = gate.connect()
    for byte in REQUEST[:-1]:
        client.sendall(bytes([byte]))
    gate.answer()
    assert gate.asked == []
    client.sendall(REQUEST[-1:])
    gate.wait_asked(1)
    assert is_silent(client)


@pytest.mark.parametrize("error", [ConnectionRefusedError("event/next"), BlockingIOError(), HttpError("event/next")])
def test_what_goes_wrong_when_the_gate_is_asked_is_not_taken_for_the_peers_fault(error):
    """The question may lead to a call to the platform: if that fails, the extension must not go on as if it had not."""

    def fail():
        raise error

    reactor, address = Reactor(), ("127.0.0.1", free_port())
    gate = Gate(*address, reactor, MemoryLog(), fail)
    with socket.create_connection(address, LIMIT_S) as client:
        client.sendall(REQUEST)
        reactor.set_timer("too late", LIMIT_S * 1000, reactor.stop)
        with pytest.raises(type(error)):
            reactor.run()
    gate.close()
    reactor.close()


def test_a_connection_is_kept_alive_and_held_again(gate):
    """The second check of one connection is held like the first: no answer is left over from it."""
    client = gate.connect(REQUEST)
    gate.wait_asked(1)
    gate.answer()
    assert response(client) == 200
    client.sendall(REQUEST)
    gate.wait_asked(2)
    assert is_silent(client)
    gate.answer(201)

    assert response(client) == 201


def test_a_pipelined_request_is_not_forgotten(gate):
    """What came while the first was held is read when the first has been answered."""
    client = gate.connect(REQUEST + REQUEST)
    gate.wait_asked(1)
    gate.answer(200)
    assert response(client) == 200
    gate.wait_asked(2)
    gate.answer(202)

    assert response(client) == 202


@pytest.mark.parametrize(
    "request_", [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nConnection: Close\r\n\r\n"], ids=["1.0", "close"]
)
def test_who_wants_the_connection_closed_gets_it_closed(gate, request_):
    """After the answer the connection ends, and that of the next who asks in the same words; but not of others."""
    for asked, words in enumerate([request_, request_, REQUEST, REQUEST, request_], start=1):
        client = gate.connect(words)
        gate.wait_asked(asked)
        gate.answer()
        if words == REQUEST:
            assert response(client) == 200
            assert is_silent(client)
        else:
            assert read_all(client).startswith(b"HTTP/1.1 200 ")


def test_it_opens_for_all_that_are_held_and_goes_on(gate):
    """At the end of a restore nobody looks who has hung up: that shows later, and is no check that was given up."""
    asking, gone = gate.connect(REQUEST), gate.connect(REQUEST)
    gate.wait_asked(2)
    silent = gate.connect()
    gate.loop.call(lambda: (gone.shutdown(socket.SHUT_WR), gate.gate.open(203)))
    assert (response(asking), response(gone)) == (203, 203)
    silent.sendall(REQUEST)
    gate.wait_asked(3)
    gate.loop.call(lambda: gate.gate.open(200))
    assert response(silent) == 200
    assert gate.hung_up == []


def test_all_that_are_held_are_answered_at_once(gate):
    """However many ask, one answer releases them all."""
    clients = [gate.connect(REQUEST) for _ in range(20)]
    gate.wait_asked(20)
    gate.answer()

    assert [response(client) for client in clients] == [200] * 20


def test_one_that_has_gone_while_it_was_held_does_no_harm(gate):
    """An adapter that gives up and asks again gets its answer on the new connection."""
    gate.connect(REQUEST).close()
    gate.wait_asked(1)
    client = gate.connect(REQUEST)
    gate.wait_asked(2)
    gate.answer()

    assert response(client) == 200


def reset(client):
    """Hang up with a reset, as a process does that is killed with unread data."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_an_answer_counts_that_was_written_to_an_open_connection(gate):
    """All held checks, and none twice: the second time there is none to answer."""
    clients = [gate.connect(REQUEST) for _ in range(3)]
    gate.connect(REQUEST[:-1])
    gate.wait_asked(3)

    assert (gate.answer(), gate.answer()) == (3, 0)
    assert [response(client) for client in clients] == [200] * 3


@pytest.mark.parametrize("more", [b"", REQUEST], ids=["nothing unread", "unread bytes"])
@pytest.mark.parametrize("hang_up", [lambda client: client.close(), reset], ids=["close", "reset"])
def test_an_answer_to_one_that_has_hung_up_does_not_count(gate, hang_up, more):
    """The adapter has given up, and will ask again: its check was not answered, even if its end is yet unread."""
    client, other = gate.connect(REQUEST), gate.connect(REQUEST)
    gate.wait_asked(2)

    def answer():  # in the reactor's thread, so that it cannot hear the end before
        client.sendall(more)
        hang_up(client)
        return gate.gate.answer(200)

    assert gate.loop.call(answer) == 1
    assert response(other) == 200
    assert gate.hung_up == []  # the number has said it


def test_an_answer_to_one_that_has_sent_the_next_request_counts(gate):
    """Bytes that are unread are no end."""
    client = gate.connect(REQUEST)
    gate.wait_asked(1)

    def answer():
        client.sendall(REQUEST)
        return gate.gate.answer(200)

    assert gate.loop.call(answer) == 1
    assert response(client) == 200
    gate.wait_asked(2)


@pytest.mark.parametrize("hang_up", [lambda client: client.close(), reset], ids=["close", "reset"])
def test_the_end_of_a_held_request_is_told(gate, hang_up):
    """With the number of those that are still held; of a request that was not whole, or was answered, it is not."""
    answered = gate.connect(REQUEST)
    gate.wait_asked(1)
    gate.answer()
    assert response(answered) == 200
    half = gate.connect(REQUEST[:-1])
    first, second = gate.connect(REQUEST), gate.connect(REQUEST)
    gate.wait_asked(3)
    for client in (answered, half, first):
        hang_up(client)
    wait_until(lambda: gate.hung_up)
    assert gate.hung_up == [1]
    hang_up(second)
    wait_until(lambda: len(gate.hung_up) == 2)

    assert gate.hung_up == [1, 0]
    assert gate.answer() == 0


def test_one_that_sends_on_and_is_hung_up_on_is_told_like_the_others(gate):
    """Its check has no answer either."""
    flood = gate.connect(REQUEST)
    gate.wait_asked(1)
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        flood.sendall(b"x" * 10_000_000)
    wait_until(lambda: gate.hung_up)
    assert gate.hung_up == [0]


def test_closing_tells_of_nobody(loop):
    """We have hung up, not they."""
    with contextlib.ExitStack() as stack:
        gate = RunningGate(loop, stack)
        gate.connect(REQUEST)
        gate.wait_asked(1)
        loop.call(gate.gate.close)
        assert gate.hung_up == []


def test_without_descriptors_the_gate_waits_and_does_not_spin(gate):
    """A connection that cannot be accepted stays in the queue; it is served when there is a descriptor again."""
    held = gate.connect(REQUEST)
    gate.wait_asked(1)
    late = socket.socket()
    with late:
        late.settimeout(LIMIT_S)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            late.connect(gate.address)
            late.sendall(REQUEST)
            began = time.process_time()
            assert not select.select([late], [], [], 0.5)[0]
            assert time.process_time() - began < 0.1
            assert gate.answer() == 1
            assert response(held) == 200
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        gate.wait_asked(2)
        gate.answer()
        assert response(late) == 200


def test_a_connection_that_is_one_too_many_leaves_a_line(monkeypatch, gate):
    """No client is refused without a log line."""
    monkeypatch.setattr(gate_module, "MAX_CONNECTIONS", 1)
    gate.connect(REQUEST)
    gate.wait_asked(1)
    assert read_all(gate.connect(REQUEST)) == b""
    assert gate.log.reasons("readiness_connection_closed") == ["the gate has 1 connections already"]


GARBAGE = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "words": b"hello\r\n\r\n",
    "no header": b"GET / HTTP/1.1\r\nnonsense\r\n\r\n",
    "endless": b"GET /" + b"x" * (MAX_HEAD_BYTES + 1),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_hung_up_on_and_the_adapter_is_served(gate, garbage):
    """A client that does not speak HTTP never counts as a check, and no other client notices."""
    held = gate.connect(REQUEST)
    gate.wait_asked(1)
    assert read_all(gate.connect(garbage)) == b""
    gate.answer()

    assert response(held) == 200
    assert gate.asked == [1]
    assert len(gate.log.reasons("readiness_connection_closed")) == 1


def test_one_that_sends_on_while_it_is_held_is_bounded(gate):
    """What piles up behind a held request is limited."""
    flood = gate.connect(REQUEST)
    gate.wait_asked(1)
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        flood.sendall(b"x" * 10_000_000)

    assert read_all(flood) == b""
    assert gate.connect(REQUEST)
    gate.wait_asked(2)


def test_a_slow_request_is_given_up(monkeypatch, gate):
    """A client that never completes its request is cut off; a held check stays as long as it takes."""
    held = gate.connect(REQUEST)
    gate.wait_asked(1)
    monkeypatch.setattr(gate_module, "HEAD_TIMEOUT_MS", 50)

    assert read_all(gate.connect(REQUEST[:-1])) == b""
    assert gate.loop.reactor._timers == {}
    assert gate.log.reasons("readiness_connection_closed") == ["it sent no whole request within 0.05 s"]
    gate.answer()
    assert response(held) == 200


def test_a_flood_of_connections_is_bounded_and_ends(monkeypatch, gate):
    """Beyond the limit connections are closed at once; a held check is unharmed, and later ones are served."""
    held = gate.connect(REQUEST)
    gate.wait_asked(1)
    with monkeypatch.context() as hurried:  # for these alone: on a busy machine the others need longer
        hurried.setattr(gate_module, "HEAD_TIMEOUT_MS", 100)
        for client in [gate.connect() for _ in range(gate_module.MAX_CONNECTIONS + 20)]:
            assert read_all(client) == b""
    again = gate.connect(REQUEST)
    gate.wait_asked(2)
    gate.answer()

    assert [response(held), response(again)] == [200, 200]


def test_idle_connections_do_not_shut_the_adapter_out(monkeypatch, gate):
    """Connections that were answered once and are kept open, by whomever, do not take the place of the next check."""
    monkeypatch.setattr(gate_module, "MAX_CONNECTIONS", 4)
    idle = [gate.connect(REQUEST) for _ in range(4)]
    gate.wait_asked(4)
    gate.answer()
    assert [response(client) for client in idle] == [200] * 4
    adapter = gate.connect(REQUEST)
    gate.wait_asked(5)
    gate.answer()

    assert response(adapter) == 200


def test_silent_connections_do_not_shut_the_adapter_out(monkeypatch, gate):
    """They make room for a later client, the longest silent one first; a held check stays."""
    monkeypatch.setattr(gate_module, "MAX_CONNECTIONS", 3)
    held = gate.connect(REQUEST)
    gate.wait_asked(1)
    silent = [gate.connect(REQUEST[:count]) for count in (0, 1)]
    adapter = gate.connect(REQUEST)
    gate.wait_asked(2)
    gate.answer()

    assert [response(held), response(adapter)] == [200, 200]
    assert read_all(silent[0]) == b""
    assert is_silent(silent[1])
    assert gate.log.reasons("readiness_connection_closed") == ["it sends nothing, and another one needs its place"]


def test_closing_ends_held_requests_without_an_answer(loop):
    """No adapter takes a connection that breaks for an app that is ready."""
    with contextlib.ExitStack() as stack:
        gate = RunningGate(loop, stack)
        client = gate.connect(REQUEST)
        gate.wait_asked(1)
        loop.call(gate.gate.close)

        assert read_all(client) == b""
        with pytest.raises(ConnectionRefusedError):
            gate.connect()


def test_a_port_in_use_is_said_in_one_line(loop, gate):
    """The message names the port, both variables, and why."""
    with pytest.raises(GateError) as refused:
        loop.call(lambda: Gate(*gate.address, loop.reactor, MemoryLog(), lambda: None))
    message = str(refused.value)

    for part in (str(gate.address[1]), "SNAPEXT_PORT", "AWS_LWA_READINESS_CHECK_PORT", "in use"):
        assert part in message
    assert len(message.splitlines()) == 1


def test_the_gate_can_be_on_the_other_loopback(loop):
    """An adapter that checks ::1 is served there."""
    try:
        with contextlib.ExitStack() as stack:
            gate = RunningGate(loop, stack, "::1")
            client = gate.connect(REQUEST)
            gate.wait_asked(1)
            gate.answer()
            assert response(client) == 200
            loop.call(gate.gate.close)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")


# --- the probe of the app --------------------------------------------------------------------------------------------


class FakeApp:
    """An app that gives each connection the next of its answers, and then the last one again and again."""

    def __init__(self, *answers, host="127.0.0.1"):
        self.answers = list(answers)
        self.requests = []
        self.server = socket.create_server((host, 0))
        self.port = self.server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        while True:
            select.select([self.server], [], [])  # accept(2) takes a descriptor before it waits, and a test takes all
            connection = self.server.accept()[0]
            connection.settimeout(LIMIT_S)
            with connection:
                request = connection.recv(65536)
                if not request:
                    return
                self.requests.append(request)
                for piece in self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]:
                    connection.sendall(piece)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        socket.create_connection(self.server.getsockname(), LIMIT_S).close()
        self._thread.join(LIMIT_S)
        self.server.close()


def status(code):
    return [b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % code]


@pytest.fixture
def probe(loop):
    """Probe an app; returns the list of what the probe has reported. `probe.last_answer()` is that of the last one."""
    probes = []

    def probe(port, healthy=HEALTHY, host="127.0.0.1", path="/"):
        ready = []
        probes.append(AppProbe(Readiness(host, port, path, healthy), loop.reactor, ready.append))
        loop.call(probes[-1].start)
        return ready

    probe.last_answer = lambda: loop.call(lambda: probes[-1].last_answer)
    yield probe
    for one in probes:
        loop.call(one.stop)


def test_an_app_that_does_not_listen_yet_is_asked_again(probe):
    """The app is found whenever it comes, and reported once."""
    port = free_port()
    ready = probe(port)
    wait_until(lambda: re.search(r"refused \(asked ([3-9]|\d\d+) times", probe.last_answer()))
    assert ready == []
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(LIMIT_S)
        connection = server.accept()[0]
        with connection:
            connection.recv(65536)
            connection.sendall(status(200)[0])
        wait_until(lambda: ready)
        server.settimeout(0.05)
        with pytest.raises(TimeoutError):
            server.accept()
    assert ready == [200]


@pytest.mark.parametrize(
    "first",
    [status(503), [], [b"HT"], [b"SSH-2.0\r\n"], [b"HTTP/1.1 \xb2\xb2\xb2 X\r\n"], [b"x" * 40_000]],
    ids=["503", "closes", "half a line", "no http", "strange digits", "endless"],
)
def test_an_app_that_is_not_ready_is_asked_until_it_is(probe, first):
    """A status that is not healthy, no answer, or nonsense: the probe goes on, and reports the healthy status."""
    with FakeApp(first, first, status(302)) as app:
        ready = probe(app.port)
        wait_until(lambda: ready)

        assert (ready, len(app.requests)) == ([302], 3)


def test_only_the_healthy_statuses_count(probe):
    """The adapter's own set decides, so that both of us see the app become ready at the same answer."""
    with FakeApp(status(200), status(404), status(204)) as app:
        ready = probe(app.port, healthy=frozenset({204}))

        assert wait_until(lambda: ready) == [204]


def test_an_answer_may_come_in_pieces(probe):
    """The status is read when its line is complete."""
    with FakeApp([b"H", b"TTP/1.1 2", b"00 OK\r", b"\n"]) as app:
        ready = probe(app.port)
        assert wait_until(lambda: ready) == [200]


def test_the_request_is_the_adapters(probe):
    """The path and the host of the rule are asked for, and the connection is not kept."""
    with FakeApp(status(200)) as app:
        ready = probe(app.port, path="/up?x=1")
        wait_until(lambda: ready)
        expected = f"GET /up?x=1 HTTP/1.1\r\nHost: 127.0.0.1:{app.port}\r\nConnection: close\r\n\r\n"

        assert [expected.encode()] == app.requests


@pytest.mark.parametrize("addresses", [["::1", "127.0.0.1"], ["127.0.0.1", "::1"]], ids=" ".join)
def test_a_name_with_several_addresses_is_tried_at_each(monkeypatch, probe, addresses):
    """localhost may stand for ::1 first, while the app listens on 127.0.0.1 alone."""
    resolve = socket.getaddrinfo

    def both(host, *args, **kwargs):
        found = addresses if host == b"localhost" else [host]
        return [answer for address in found for answer in resolve(address, *args, **kwargs)]

    with FakeApp(status(200)) as app:
        monkeypatch.setattr(socket, "getaddrinfo", both)

        ready = probe(app.port, host="localhost")
        assert wait_until(lambda: ready) == [200]


def test_an_address_in_brackets_is_one(probe):
    """In a URL an IPv6 address is written in brackets, and so it may be in the adapter's setting."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    with server:
        server.settimeout(LIMIT_S)
        ready = probe(server.getsockname()[1], host="[::1]")
        with server.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(status(200)[0])
        assert wait_until(lambda: ready) == [200]


# --- what the probe says of the app ----------------------------------------------------------------------------------


def test_the_last_answer_is_kept_while_the_next_one_is_awaited(probe):
    """A path that answers 404 is not reported as one that does not answer."""
    with FakeApp(status(404)) as app:
        probe(app.port, healthy=frozenset({200}), path="/up")
        wait_until(lambda: len(app.requests) > 3)
        for _ in range(50):
            said = re.sub(r"\d+ times in \d\.\d", "N times in S", probe.last_answer())
            assert f"GET http://127.0.0.1:{app.port}/up: answered with 404 (asked N times in S s)" == said


def test_how_often_and_how_long_it_was_the_same_is_said(probe):
    """It counts anew when the outcome is another."""
    with FakeApp(*[status(503)] * 3, status(500)) as app:
        probe(app.port)
        times = re.compile(r": answered with 500 \(asked (\d+) times in (\d+\.\d) s\)$")
        asked = int(wait_until(lambda: times.search(probe.last_answer()))[1])
        assert asked <= len(app.requests) - 3 + 1
        assert asked < int(wait_until(lambda: (m := times.search(probe.last_answer())) and m[2] != "0.0" and m)[1])


@pytest.mark.parametrize(
    ("answer", "said"),
    [([], "the app closed the connection without an answer"), ([b"SSH-2.0\r\n"], "not a status line: 'SSH-2.0'")],
    ids=["closes", "no http"],
)
def test_what_is_no_answer_is_said(probe, answer, said):
    """In words, not in the name of an exception."""
    with FakeApp(answer) as app:
        probe(app.port)
        assert wait_until(lambda: said in probe.last_answer())


def test_an_app_that_refuses_is_said_to_refuse(probe):
    """As the system says it."""
    port = free_port()
    probe(port)
    assert wait_until(lambda: f"GET http://127.0.0.1:{port}/: Connection refused (asked" in probe.last_answer())


def test_an_app_that_accepts_and_never_answers_is_another_thing(monkeypatch, probe):
    """The probe waits, as the adapter would, and reports the time; it keeps the answer before."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(LIMIT_S)
        probe(silent.getsockname()[1])
        assert re.search(r"/: it has not answered for \d+\.\d s$|/: it accepts", probe.last_answer())
        with silent.accept()[0]:
            wait = r"/: it accepts the connection, but has not answered for \d+\.[1-9] s$"
            assert wait_until(lambda: re.search(wait, probe.last_answer()))
        monkeypatch.setattr(probe_module, "SLOW_S", 0.1)
        with silent.accept()[0]:
            said = (
                r"/: Connection reset by peer; "
                r"since then it accepts the connection, but has not answered for \d+\.[1-9] s$"
            )
            assert wait_until(lambda: re.search(said, probe.last_answer()))


def test_an_app_that_was_never_asked_is_not_said_to_be_silent(loop):
    """Before the first attempt."""
    rule = Readiness("127.0.0.1", 8080, "/up", HEALTHY)
    assert AppProbe(rule, loop.reactor, print).last_answer == "GET http://127.0.0.1:8080/up has not been asked yet"


def test_of_a_name_with_several_addresses_each_has_its_answer(monkeypatch, probe):
    """A refusal on ::1 does not hide the app's answer on 127.0.0.1."""
    resolve = socket.getaddrinfo

    def both(host, *args, **kwargs):
        found = ["127.0.0.2", "127.0.0.1"] if host == b"localhost" else [host]
        return [answer for address in found for answer in resolve(address, *args, **kwargs)]

    with FakeApp(status(503)) as app:
        monkeypatch.setattr(socket, "getaddrinfo", both)
        probe(app.port, host="localhost")
        said = r"Connection refused at 127\.0\.0\.2 \(asked .*\); answered with 503 at 127\.0\.0\.1 \(asked"
        assert wait_until(lambda: re.search(said, probe.last_answer()))


def test_a_host_that_is_no_name_is_said(probe):
    """It may come later; and the extension goes on."""
    probe(80, host="a" * 70 + ".example")
    assert "GET http://aaaa" in wait_until(lambda: (said := probe.last_answer()).count(": ") and said)


def test_without_descriptors_the_probe_goes_on(probe):
    """It says so, and finds the app when there is a descriptor again."""
    with FakeApp(status(200)) as app:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            ready = probe(app.port)
            wait_until(lambda: "Too many open files" in probe.last_answer())
            assert ready == []
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert wait_until(lambda: ready) == [200]
