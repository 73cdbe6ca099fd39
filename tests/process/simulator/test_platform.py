"""The simulated platform over real HTTP on loopback."""

import contextlib
import datetime
import http.client
import json
import queue
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from snapext_tools.simulator.credentials import Credentials
from snapext_tools.simulator.errors import SimulationError
from snapext_tools.simulator.platform import Failure, InitType, Platform, PlatformFailure

RUNTIME = "/2018-06-01/runtime"
EXTENSION = "/2020-01-01/extension"
LIMIT_S = 10.0


class Client:
    """One keep-alive connection, as a process in the environment has it."""

    def __init__(self, platform):
        self.connection = http.client.HTTPConnection(platform.address, timeout=LIMIT_S)
        self.identity = {}

    def ask(self, method, path, body=None, headers=None, **settings):
        self.connection.request(method, path, body, {**self.identity, **(headers or {})}, **settings)
        response = self.connection.getresponse()
        return response.status, response.headers, response.read()

    def register(self, name="snapext", events=("SHUTDOWN",)):
        body = json.dumps({"events": events})
        answer = self.ask("POST", f"{EXTENSION}/register", body, {"Lambda-Extension-Name": name})
        self.identity = {"Lambda-Extension-Identifier": answer[1]["Lambda-Extension-Identifier"]}
        return answer

    def event_next(self):
        return self.ask("GET", f"{EXTENSION}/event/next")

    def restore_next(self):
        return self.ask("GET", f"{RUNTIME}/restore/next")

    def invocation_next(self):
        return self.ask("GET", f"{RUNTIME}/invocation/next")

    def respond(self, request_id, body, **settings):
        return self.ask("POST", f"{RUNTIME}/invocation/{request_id}/response", body, **settings)


class Sandbox:
    """A platform, its clients, and a pool for the calls that are held open."""

    def __init__(self, stack, pool, **settings):
        settings = {"init_type": InitType.SNAP_START, "extension_names": ["snapext"], **settings}
        self.stack, self.pool = stack, pool
        self.is_snap_start = settings["init_type"] is InitType.SNAP_START
        self.platform = stack.enter_context(Platform(**settings))

    def client(self):
        client = Client(self.platform)
        self.stack.callback(client.connection.close)
        return client

    def start(self, call, *args, **settings):
        return self.pool.submit(call, *args, **settings)

    def until_init_end(self, events=("SHUTDOWN",)):
        self.extension, self.runtime = self.client(), self.client()
        self.extension.register(events=events)
        self.platform.wait_registered(LIMIT_S)
        self.platform.runtime_started()
        self.event = self.start(self.extension.event_next)
        self.asked = self.start(self.runtime.restore_next if self.is_snap_start else self.runtime.invocation_next)
        self.platform.wait_init_end(LIMIT_S)
        return self

    def until_ready(self, events=("SHUTDOWN",)):
        self.until_init_end(events)
        if self.platform.wants_restore:
            self.platform.restore()
            assert self.asked.result(LIMIT_S)[0] == 200
            self.asked = self.start(self.runtime.invocation_next)
        self.platform.wait_ready(LIMIT_S)
        return self

    def serve_once(self, respond):
        """The runtime's loop for one invocation: `respond(request_id)`, then back to invocation/next."""
        status, headers, body = self.asked.result(LIMIT_S)
        answer = respond(headers["Lambda-Runtime-Aws-Request-Id"])
        self.asked = self.start(self.runtime.invocation_next)
        return (status, headers, body), answer

    def names(self):
        return [event.name for event in self.platform.events]


@pytest.fixture
def sandbox(capfd):
    """Makes sandboxes, ends them in the right order, and proves that the server had nothing to complain of."""
    with ThreadPoolExecutor(8) as pool, contextlib.ExitStack() as stack:
        yield lambda **settings: Sandbox(stack, pool, **settings)
    assert capfd.readouterr().err == ""


def error_type_of(answer):
    status, headers, body = answer
    assert headers["Content-Type"] == "application/json"
    assert sorted(json.loads(body)) == ["errorMessage", "errorType"]
    return status, json.loads(body)["errorType"]


# --- the whole life --------------------------------------------------------------------------------------------------


def test_an_environment_lives_from_registration_to_shutdown_in_the_platforms_order(sandbox):
    """Each step happens over HTTP, and the events tell the story in order with rising times."""
    box = sandbox(function_name="shop").until_ready()
    invoked = box.start(box.platform.invoke, b'{"n": 1}', LIMIT_S)
    event, answer = box.serve_once(lambda request_id: box.runtime.respond(request_id, b"hello"))
    result = invoked.result(LIMIT_S)
    box.platform.shutdown("spindown", 2000)
    status, headers, body = box.event.result(LIMIT_S)
    box.platform.process_exited("extension", "snapext", 0)

    assert event[2] == b'{"n": 1}'
    assert (answer[0], json.loads(answer[2])) == (202, {"status": "OK"})
    assert (result.ok, result.body, result.error_type) == (True, b"hello", None)
    assert 0 < result.first_byte_ms <= result.duration_ms
    assert (status, json.loads(body)["shutdownReason"]) == (200, "spindown")
    assert "Lambda-Extension-Event-Identifier" not in headers
    expected = "extension_registered runtime_started extension_ready init_end restore ready"
    assert sorted(box.names()[:3]) == sorted(expected.split()[:3])
    assert box.names()[3:] == [*expected.split()[3:], "invoke_start", "invoke_end", "shutdown", "extension_exit"]
    times = [event.at_ms for event in box.platform.events]
    assert times == sorted(times)
    assert times[-1] <= box.platform.now_ms()
    assert box.platform.failure is None


def test_restore_next_is_held_until_the_restore_and_the_time_to_ready_is_returned(sandbox):
    """The call is released with an empty 200 and wait_ready measures from the restore."""
    box = sandbox().until_init_end()
    assert not box.asked.done()
    assert box.platform.wants_restore
    box.platform.restore()
    status, _, body = box.asked.result(LIMIT_S)
    box.asked = box.start(box.runtime.invocation_next)

    assert (status, body) == (200, b"")
    assert 0 < box.platform.wait_ready(LIMIT_S) < LIMIT_S * 1000


def test_an_on_demand_environment_serves_without_a_restore(sandbox):
    """Nothing is restored, the restore calls are 404, and invocations work at once."""
    box = sandbox(init_type=InitType.ON_DEMAND).until_ready()
    other = box.client()

    assert not box.platform.wants_restore
    assert box.platform.wait_ready(0) == 0
    assert other.restore_next()[0] == 404
    assert other.ask("POST", f"{RUNTIME}/restore/error", b"{}")[0] == 404
    invoked = box.start(box.platform.invoke, b"x", LIMIT_S)
    box.serve_once(lambda request_id: box.runtime.respond(request_id, b"y"))
    assert invoked.result(LIMIT_S).body == b"y"


def test_an_invocation_lasts_until_an_extension_that_takes_invoke_is_back(sandbox):
    """The result is not there before the extension has asked for its next event."""
    box = sandbox().until_ready(events=["INVOKE", "SHUTDOWN"])
    invoked = box.start(box.platform.invoke, b"x", LIMIT_S)
    box.serve_once(lambda request_id: box.runtime.respond(request_id, b"y"))
    event = json.loads(box.event.result(LIMIT_S)[2])
    assert not invoked.done()
    box.event = box.start(box.extension.event_next)

    assert event["eventType"] == "INVOKE"
    assert invoked.result(LIMIT_S).ok


def test_many_invocations_share_one_connection(sandbox):
    """Keep-alive holds over every kind of call, so a runtime needs one connection for its whole life."""
    box = sandbox().until_ready()
    address = box.runtime.connection.sock.getsockname()
    for number in range(50):
        invoked = box.start(box.platform.invoke, str(number).encode(), LIMIT_S)
        box.serve_once(lambda request_id, number=number: box.runtime.respond(request_id, f"re {number}"))
        assert invoked.result(LIMIT_S).body == f"re {number}".encode()

    assert address == box.runtime.connection.sock.getsockname()


# --- refusals over HTTP ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", f"{RUNTIME}/nothing", 404),
        ("GET", "/2018-06-01/extension/event/next", 404),
        ("POST", "/2020-01-01/runtime/init/error", 404),
        ("PUT", "/2022-07-01/telemetry", 404),
        ("GET", f"{EXTENSION}/register", 405),
        ("GET", f"{RUNTIME}/invocation/x/response", 405),
        *((method, f"{RUNTIME}/invocation/next", 405) for method in ("HEAD", "OPTIONS", "PATCH", "TRACE", "DELETE")),
        ("HEAD", f"{EXTENSION}/event/next", 405),
        ("HEAD", f"{RUNTIME}/nothing", 404),
        ("POST", f"{RUNTIME}/restore/next", 405),
    ],
)
def test_unknown_paths_are_not_found_and_known_ones_want_their_own_method(sandbox, method, path, status):
    """The body of such a request is still read, so the connection can continue."""
    client = sandbox().client()

    assert client.ask(method, path, b"some body")[0] == status
    assert client.register()[0] == 200


def test_what_is_not_routed_on_demand_is_not_found_by_any_method(sandbox):
    """restore/next and restore/error exist for SnapStart alone: elsewhere another method is no better."""
    client = sandbox(init_type=InitType.ON_DEMAND).client()

    assert client.ask("POST", f"{RUNTIME}/restore/next", b"")[0] == 404
    assert client.ask("HEAD", f"{RUNTIME}/restore/error")[0] == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "restore/next"), ("GET", "invocation/next"), ("POST", "init/error"), ("POST", "restore/error")],
)
def test_a_runtime_call_before_all_have_registered_gets_no_answer(sandbox, method, path):
    """The connection is dropped, as by AWS's emulator, whose handler breaks off; and it is on record why."""
    box = sandbox(extension_names=["snapext", "lambda-adapter"])
    box.client().register()

    with pytest.raises(http.client.RemoteDisconnected):
        box.client().ask(method, f"{RUNTIME}/{path}")
    (dropped,) = (event for event in box.platform.events if event.name == "dropped")
    assert dropped.detail["call"] == path
    assert "extension lambda-adapter has not registered" in dropped.detail["message"]


def test_credentials_are_to_be_had_at_the_endpoint_for_its_token_alone(sandbox):
    """The answer has the keys that every SDK reads, and does not end soon."""
    box = sandbox(credentials=Credentials("AKIA", "secret", "session"))
    variables = box.platform.credentials.variables(box.platform.address)
    uri, token = variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"], variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
    assert uri == f"http://{box.platform.address}/2021-04-23/credentials"
    path = uri.removeprefix(f"http://{box.platform.address}")
    status, _, body = box.client().ask("GET", path, headers={"Authorization": token})
    content = json.loads(body)
    ends = datetime.datetime.fromisoformat(content.pop("Expiration"))

    assert status == 200
    assert content == {"AccessKeyId": "AKIA", "SecretAccessKey": "secret", "Token": "session"}
    assert ends - datetime.datetime.now(datetime.UTC) > datetime.timedelta(minutes=30)
    for headers in ({}, {"Authorization": "guessed"}):
        status, _, body = box.client().ask("GET", path, headers=headers)
        assert status == 404
        assert b"secret" not in body
    assert box.client().ask("POST", path, b"", {"Authorization": token})[0] == 405
    assert sandbox().client().ask("GET", path)[0] == 404


def test_refusals_reach_the_caller_and_the_events(sandbox):
    """A second restore/next is a 403 with both states named, and the driver sees it too."""
    box = sandbox().until_init_end()
    answer = box.client().restore_next()

    assert error_type_of(answer) == (403, "InvalidStateTransition")
    assert b"RestoreReady" in answer[2]
    refusal = box.platform.events[-1]
    assert (refusal.name, refusal.detail["status"], refusal.detail["call"]) == ("refused", 403, "restore/next")


def test_header_names_are_read_in_any_case(sandbox):
    """Clients spell header names as they like."""
    client = sandbox().client()
    answer = client.ask("POST", f"{EXTENSION}/register", b"{}", {"lambda-EXTENSION-name": "snapext"})

    assert answer[0] == 200


def test_a_response_with_a_wrong_id_is_a_400_and_its_body_is_out_of_the_way(sandbox):
    """After the refusal the same connection can still answer the right invocation."""
    box = sandbox().until_ready()
    invoked = box.start(box.platform.invoke, b"x", LIMIT_S)

    def respond(request_id):
        assert error_type_of(box.runtime.respond("wrong", b"z" * 200_000)) == (400, "InvalidRequestID")
        return box.runtime.respond(request_id, b"right")

    box.serve_once(respond)
    assert invoked.result(LIMIT_S).body == b"right"


# --- responses -------------------------------------------------------------------------------------------------------


def test_a_streamed_response_is_put_together_and_its_first_byte_is_timed(sandbox):
    """The first byte counts when it comes, however long the rest of the chunked body takes."""
    heard_of_it = threading.Event()
    box = sandbox(on_event=lambda event: event.name == "first_byte" and heard_of_it.set()).until_ready()
    invoked = box.start(box.platform.invoke, b"x", LIMIT_S)
    began = []

    def chunks():
        yield b"first "
        assert heard_of_it.wait(LIMIT_S)
        began.append(box.platform.now_ms())
        yield b"second"

    headers = {"Lambda-Runtime-Function-Response-Mode": "streaming", "Transfer-Encoding": "chunked"}
    box.serve_once(lambda request_id: box.runtime.respond(request_id, chunks(), headers=headers, encode_chunked=True))
    result = invoked.result(LIMIT_S)
    (start_ms,) = (event.at_ms for event in box.platform.events if event.name == "invoke_start")

    assert (result.ok, result.body) == (True, b"first second")
    assert start_ms + result.first_byte_ms <= began[0] <= start_ms + result.duration_ms
    assert result.headers["lambda-runtime-function-response-mode"] == "streaming"


def test_a_late_error_in_the_trailers_fails_the_invocation(sandbox):
    """A streaming runtime reports a failure after the last chunk, and the connection lives on."""
    box = sandbox().until_ready()
    invoked = box.start(box.platform.invoke, b"x", LIMIT_S)

    def respond(request_id):
        connection = box.runtime.connection
        connection.putrequest("POST", f"{RUNTIME}/invocation/{request_id}/response")
        connection.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        connection.send(b"4;ext=1\r\nhalf\r\n0\r\nLambda-Runtime-Function-Error-Type: Function.Late\r\n\r\n")
        return connection.getresponse().read()

    box.serve_once(respond)
    result = invoked.result(LIMIT_S)
    assert (result.ok, result.body, result.error_type) == (False, b"half", "Function.Late")


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("Content-Length: 10", b"short"),
        ("Content-Length: ten", b""),
        ("Transfer-Encoding: chunked", b"5\r\nshort\r\n"),
        ("Transfer-Encoding: chunked", b"5\r\nshortest\r\n"),
        ("Transfer-Encoding: chunked", b"five\r\n"),
    ],
)
def test_a_response_that_breaks_off_is_truncated(sandbox, head, body):
    """The runtime is told 400, the connection is closed and the invocation is not ok."""
    box = sandbox().until_ready()
    invoked = box.start(box.platform.invoke, b"x", LIMIT_S)

    def respond(request_id):
        address = box.platform.address.split(":")
        with socket.create_connection(address, LIMIT_S) as connection:
            request = f"POST {RUNTIME}/invocation/{request_id}/response HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n"
            connection.sendall(request.encode() + body)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(4096), b""))

    _, answer = box.serve_once(respond)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"TruncatedHTTPRequest" in answer
    assert invoked.result(LIMIT_S).error_type == "Runtime.TruncatedResponse"


def test_a_failed_invocation_is_returned_and_not_raised(sandbox):
    """invocation/error makes a result with the error's type and body; the environment stays up."""
    box = sandbox().until_ready()
    invoked = box.start(box.platform.invoke, b"x", LIMIT_S)
    headers = {"Lambda-Runtime-Function-Error-Type": "Function.Broken"}
    box.serve_once(lambda i: box.runtime.ask("POST", f"{RUNTIME}/invocation/{i}/error", b"{}", headers))

    result = invoked.result(LIMIT_S)
    assert (result.ok, result.body, result.error_type) == (False, b"{}", "Function.Broken")
    assert box.platform.failure is None


# --- failures and deadlines ------------------------------------------------------------------------------------------


def test_a_reported_failure_ends_the_wait_when_a_process_exits(sandbox):
    """The driver gets the type and the message that the runtime reported to init/error."""
    box = sandbox()
    box.client().register()
    waiting = box.start(box.platform.wait_init_end, LIMIT_S)
    body = {"errorMessage": "hook failed", "errorType": "ValueError", "stackTrace": []}
    headers = {"Lambda-Runtime-Function-Error-Type": "Runtime.BeforeSnapshotError"}
    answer = box.client().ask("POST", f"{RUNTIME}/init/error", json.dumps(body), headers)
    assert answer[0] == 202
    assert not waiting.done()
    box.platform.process_exited("runtime", "bootstrap", 64)

    expected = Failure("init", "Runtime.BeforeSnapshotError", "hook failed", body, "Runtime.ExitError")
    with pytest.raises(PlatformFailure, match=r"^Runtime.BeforeSnapshotError: hook failed$") as caught:
        waiting.result(LIMIT_S)
    assert expected == caught.value.failure == box.platform.failure


@pytest.mark.parametrize(("role", "error_type"), [("extension", "Extension.Crash"), ("runtime", "Runtime.ExitError")])
def test_an_exit_ends_an_invocation_at_once(sandbox, role, error_type):
    """An invocation that no process can answer any more is a failure, not a timeout."""
    box = sandbox().until_ready()
    invoked = box.start(box.platform.invoke, b"x", LIMIT_S)
    box.asked.result(LIMIT_S)
    box.platform.process_exited(role, "snapext" if role == "extension" else "bootstrap", 1)

    with pytest.raises(PlatformFailure) as caught:
        invoked.result(LIMIT_S)
    assert caught.value.failure.error_type == error_type


def test_the_restore_deadline_fires_by_itself(sandbox):
    """Nobody has to look for the restore to time out: on_event hears of it, and every wait fails."""
    events = queue.Queue()
    box = sandbox(restore_timeout_ms=30, on_event=lambda event: events.put(event.name)).until_init_end()
    box.platform.restore()

    assert "restore_timeout" in iter(lambda: events.get(timeout=LIMIT_S), None)
    with pytest.raises(PlatformFailure) as caught:
        box.platform.wait_ready(LIMIT_S)
    assert caught.value.failure.error_type == "Runtime.RestoreHookUserTimeout"


def test_a_waiting_driver_is_told_of_the_restore_deadline_when_it_passes(sandbox):
    """wait_ready returns at the restore deadline and not at its own."""
    box = sandbox(restore_timeout_ms=30).until_init_end()
    box.platform.restore()

    with pytest.raises(PlatformFailure) as caught:
        box.platform.wait_ready(LIMIT_S)
    assert caught.value.failure.error_type == "Runtime.RestoreHookUserTimeout"


def test_a_wait_that_times_out_says_what_it_still_waited_for(sandbox):
    """The message names each party and the call that it has not made; the environment has not failed."""
    box = sandbox()
    with pytest.raises(PlatformFailure) as caught:
        box.platform.wait_registered(0)
    assert "extension snapext has not registered" in caught.value.failure.message
    box.client().register()
    with pytest.raises(PlatformFailure) as caught:
        box.platform.wait_init_end(0.01)

    assert caught.value.failure.error_type == "Sandbox.Timeout"
    assert caught.value.failure.message == (
        "init has not finished after 0.01 s: the runtime has not asked for restore/next or invocation/next; "
        "extension snapext has not asked for event/next"
    )
    assert box.platform.failure is None


def test_an_invocation_that_times_out_says_that_the_runtime_has_not_answered(sandbox):
    """The time to answer is part of the event, and its end is reported in words."""
    box = sandbox().until_ready()

    with pytest.raises(PlatformFailure, match="the runtime has not answered"):
        box.platform.invoke(b"x", 0.01)


def test_a_driver_that_acts_out_of_order_is_told_so(sandbox):
    """A restore before init has finished is the driver's mistake, not a failure of the environment."""
    box = sandbox()

    with pytest.raises(SimulationError, match="init has not finished") as caught:
        box.platform.restore()
    assert not isinstance(caught.value, PlatformFailure)


# --- events, and what clients may do to the server -------------------------------------------------------------------


def test_on_event_has_heard_everything_when_a_wait_returns(sandbox):
    """Events come in order and before the driver goes on, so a log reads as it happened."""
    heard = []
    box = sandbox(on_event=heard.append).until_ready()

    assert tuple(heard) == box.platform.events
    assert heard[-1].name == "ready"


def test_on_event_may_use_the_platform(sandbox):
    """It runs without the platform's locks, even for things that wait."""
    seen = []

    def on_event(event):
        if event.name == "ready":
            seen.append((box.platform.failure, box.platform.wait_ready(LIMIT_S) >= 0, len(box.platform.events) > 0))
            box.platform.shutdown()

    box = sandbox(on_event=on_event)
    box.until_ready()

    assert box.event.result(LIMIT_S)[0] == 200
    assert seen == [(None, True, True)]


def test_an_on_event_that_raises_is_logged_and_hurts_nobody(sandbox, caplog):
    """The platform goes on and the next event is delivered."""
    heard = []

    def on_event(event):
        heard.append(event.name)
        raise ValueError(event.name)

    box = sandbox(on_event=on_event).until_ready()

    assert [event.name for event in box.platform.events] == heard
    assert "on_event failed for ready" in caplog.text


def test_clients_that_vanish_leave_no_trace_but_the_state_they_made(sandbox):
    """A connection that is reset, while held open or half-way through a request, is no error of the server."""
    box = sandbox().until_init_end()
    for request in (b"", b"GET /2018", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx", b"\x00\xff\r\n\r\n"):
        connection = socket.create_connection(box.platform.address.split(":"), LIMIT_S)
        connection.sendall(request)
        reset(connection)
    reset(box.runtime.connection.sock)
    with contextlib.suppress(OSError, http.client.HTTPException):
        box.asked.result(LIMIT_S)
    box.platform.restore()
    other = box.client()
    box.start(other.invocation_next)

    assert box.platform.wait_ready(LIMIT_S) > 0


def reset(connection):
    """Close a connection so that the peer sees a reset, whatever thread still reads from it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def test_leaving_the_platform_unblocks_every_caller_and_ends_every_thread(sandbox):
    """Held calls are cut off, idle connections closed, waiting drivers told; no thread and no port stays."""
    before = set(threading.enumerate())
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        box = Sandbox(stack, pool).until_init_end()
        idle = box.client()
        idle.ask("GET", "/")
        waiting = box.start(box.platform.wait_ready, LIMIT_S)
        host, port = box.platform.address.split(":")
        box.platform.__exit__(None, None, None)
        stack.pop_all()

        for call in (box.event, box.asked):
            with pytest.raises((OSError, http.client.HTTPException)):
                call.result(LIMIT_S)
        with pytest.raises(SimulationError, match="the platform stopped"):
            waiting.result(LIMIT_S)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), LIMIT_S)
        for client in (idle, box.extension, box.runtime):
            client.connection.close()
    assert {thread.name for thread in set(threading.enumerate()) - before} == set()


def test_an_idle_platform_comes_and_goes(sandbox):
    """A platform without calls starts and stops without delay or complaint."""
    with Platform(init_type=InitType.ON_DEMAND, extension_names=[]) as platform:
        platform.wait_registered(0)
        assert platform.address.startswith("127.0.0.1:")
