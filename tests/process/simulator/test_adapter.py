"""The simulated web adapter, as a process, against a Runtime API and an app that live in the test."""

import contextlib
import json
import os
import queue
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from snapext_tools.simulator.apigw import PRELUDE_END, HttpResponse, http_event, parse_response
from snapext_tools.simulator.folder import BUILTIN_ADAPTERS, _adapter_script, _extension_script, _write_launcher

DEADLINE_S = 20
REGISTER = "lambda POST /2020-01-01/extension/register"
EVENT_NEXT = "lambda GET /2020-01-01/extension/event/next"
RESTORE_NEXT = "lambda GET /2018-06-01/runtime/restore/next"
INVOCATION_NEXT = "lambda GET /2018-06-01/runtime/invocation/next"
MODULE = ("-m", "snapext_tools.simulator.adapter")
# The same program with a shorter wait: 9.8 s would be half of the whole suite.
IMPATIENT = (
    "-c",
    "from snapext_tools.simulator import adapter; adapter.ASYNC_INIT_TIMEOUT_S = 0.5; exit(adapter.main())",
)
SNAP_START = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}


class Journal:
    """The calls to the Runtime API and to the app in the order in which they came, safe to wait on."""

    def __init__(self):
        self._changed = threading.Condition()
        self.calls = []

    def add(self, call):
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()

    def wait_for(self, call, times=1):
        with self._changed:
            assert self._changed.wait_for(lambda: self.calls.count(call) >= times, DEADLINE_S), self.calls

    @property
    def main_calls(self):
        """All calls except event/next, which comes from the background at any moment."""
        return [call for call in self.calls if call != EVENT_NEXT]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Say nothing."""

    def handle_one_request(self):
        with contextlib.suppress(ConnectionError):
            super().handle_one_request()

    def do_GET(self):
        self.server.journal.add(f"{self.server.label} {self.command} {self.path}")
        self.server.answer(self)

    def do_POST(self):
        self.do_GET()

    def do_PUT(self):
        self.do_GET()

    def do_DELETE(self):
        self.do_GET()

    def read_body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def read_chunk(self):
        chunk = self.rfile.read(int(self.rfile.readline(), 16))
        self.rfile.readline()
        return chunk

    def reply(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    label = ""

    def __init__(self, journal):
        super().__init__(("127.0.0.1", 0), Handler)
        self.journal = journal
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def port(self):
        return self.server_address[1]

    def stop(self):
        self.shutdown()
        self.thread.join()
        self.server_close()


class FakeLambda(Server):
    """Plays the Runtime and Extensions APIs: blocks where the platform does."""

    label = "lambda"

    def __init__(self, journal):
        super().__init__(journal)
        self.restored = threading.Event()
        self.over = threading.Event()
        self.invocations = queue.Queue()
        self.chunks = queue.Queue()
        self.answers = queue.Queue()
        self.payloads = queue.Queue()
        self.posts = {}

    def invoke(self, event):
        self.invocations.put(event)

    def response(self):
        return self.answers.get(timeout=DEADLINE_S)

    def end(self):
        """Drop every connection that is being held, as when the environment goes away."""
        self.over.set()
        self.restored.set()
        self.invocations.put(None)

    def answer(self, request):
        path = request.path.removeprefix("/2018-06-01/runtime")
        if path == "/2020-01-01/extension/register":
            self.posts[path] = (request.headers, request.read_body())
            request.reply(200, headers=[("Lambda-Extension-Identifier", "an-identifier")])
        elif path == "/2020-01-01/extension/event/next":
            self.posts[path] = (request.headers, b"")
            self.over.wait()
            request.close_connection = True
        elif path == "/restore/next":
            self.restored.wait()
            self._finish(request)
        elif path == "/invocation/next":
            event = self.invocations.get()
            headers = [("Lambda-Runtime-Aws-Request-Id", "id-1")]
            self._finish(request, event if isinstance(event, bytes) else json.dumps(event).encode(), headers)
        elif request.headers.get("Transfer-Encoding") == "chunked":
            self._read_stream(request)
        else:
            self.posts[path] = (request.headers, request.read_body())
            request.reply(202)
            if path.endswith("/response"):
                self.payloads.put(self.posts[path][1])
                self.answers.put(parse_response(self.posts[path][1]))

    def _finish(self, request, body=b"", headers=()):
        if self.over.is_set():
            request.close_connection = True
        else:
            request.reply(200, body, headers)

    def _read_stream(self, request):
        self.posts["stream"] = (request.headers, b"")
        pieces = []
        try:
            while chunk := request.read_chunk():
                pieces.append(chunk)
                self.chunks.put(chunk)
        except ValueError:  # broken off: the line with the next length is missing
            request.close_connection = True
            self.chunks.put(None)
            return
        request.reply(202)
        self.answers.put(parse_response(b"".join(pieces)))


class App(Server):
    """A web app whose answers are functions by path; any other path answers 200."""

    label = "app"

    def __init__(self, journal):
        super().__init__(journal)
        self.routes = {}

    def answer(self, request):
        route = self.routes.get(request.path.partition("?")[0])
        if route is None:
            request.read_body()
            request.reply(200, b"ok", [("Content-Type", "text/plain")])
        else:
            route(request)


def answers(status):
    """Return a route that always answers `status`."""

    def route(request):
        request.read_body()
        request.reply(status)

    return route


@pytest.fixture
def journal():
    return Journal()


@pytest.fixture
def platform(journal):
    server = FakeLambda(journal)
    yield server
    server.end()
    server.stop()


@pytest.fixture
def app(journal):
    server = App(journal)
    yield server
    server.stop()


@pytest.fixture
def start_adapter(platform, app):
    """Return a function that starts the adapter; whatever it started is gone after the test."""
    started = []

    def start(*options, program=MODULE, command=None, cwd=None, **variables):
        environ = {
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{platform.port}",
            "AWS_LWA_PORT": str(app.port),
        }
        command = command or [sys.executable, *program, "--name", "lambda-adapter", *options]
        process = subprocess.Popen(command, env=environ | variables, stderr=subprocess.PIPE, text=True, cwd=cwd)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=DEADLINE_S)


def test_1_0_is_ready_then_asks_for_invocations(journal, platform, start_adapter):
    """A 1.0 adapter registers under its file's name, checks readiness once and asks for no restore."""
    start_adapter("--generation", "1.0", **SNAP_START)

    journal.wait_for(INVOCATION_NEXT)
    journal.wait_for(EVENT_NEXT)

    assert journal.main_calls.index(REGISTER) == 0
    assert journal.main_calls == [REGISTER, "app GET /", INVOCATION_NEXT]
    headers, body = platform.posts["/2020-01-01/extension/register"]
    assert headers["Lambda-Extension-Name"] == "lambda-adapter"
    assert json.loads(body) == {"events": []}
    assert platform.posts["/2020-01-01/extension/event/next"][0]["Lambda-Extension-Identifier"] == "an-identifier"


def test_1_1_checks_readiness_again_after_the_restore(journal, platform, start_adapter):
    """A 1.1 adapter asks for restore/next by itself, and the app must be ready again before an invocation."""
    start_adapter("--generation", "1.1", **SNAP_START)

    journal.wait_for(RESTORE_NEXT)
    assert journal.main_calls == [REGISTER, "app GET /", RESTORE_NEXT]
    platform.restored.set()
    journal.wait_for(INVOCATION_NEXT)

    assert journal.main_calls == [REGISTER, "app GET /", RESTORE_NEXT, "app GET /", INVOCATION_NEXT]


def test_1_1_without_snapstart_does_not_ask_for_a_restore(journal, start_adapter):
    """On demand, a 1.1 adapter calls neither restore/next nor the SnapStart paths."""
    start_adapter(
        "--generation",
        "1.1",
        AWS_LAMBDA_INITIALIZATION_TYPE="on-demand",
        AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH="/before",
        AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH="/after",
    )

    journal.wait_for(INVOCATION_NEXT)

    assert journal.main_calls == [REGISTER, "app GET /", INVOCATION_NEXT]


@pytest.mark.parametrize("option", [[], ["--before-checkpoint-readiness"]])
def test_1_1_posts_to_the_snapstart_paths_around_the_snapshot(journal, platform, start_adapter, option):
    """The before and after requests enclose restore/next; later releases check readiness before the first."""
    start_adapter(
        "--generation",
        "1.1",
        *option,
        **SNAP_START,
        AWS_LWA_READINESS_CHECK_PATH="/health",
        AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH="/before",
        AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH="/after",
    )
    platform.restored.set()

    journal.wait_for(INVOCATION_NEXT)

    assert journal.main_calls == [
        REGISTER,
        "app GET /health",
        *["app GET /health"] * len(option),
        "app POST /before",
        RESTORE_NEXT,
        "app POST /after",
        "app GET /health",
        INVOCATION_NEXT,
    ]


def test_the_extra_readiness_check_needs_a_before_path(journal, platform, start_adapter):
    """With no before path, later releases check readiness no more often than the first ones."""
    start_adapter("--generation", "1.1", "--before-checkpoint-readiness", **SNAP_START)
    platform.restored.set()

    journal.wait_for(INVOCATION_NEXT)

    assert journal.main_calls == [REGISTER, "app GET /", RESTORE_NEXT, "app GET /", INVOCATION_NEXT]


@pytest.mark.parametrize(
    ("path", "error_type", "restores"),
    [
        ("/init/error", "Runtime.BeforeSnapshotError", 0),
        ("/restore/error", "Runtime.AfterRestoreError", 1),
    ],
)
def test_a_refused_snapstart_request_fails_the_phase(journal, platform, app, start_adapter, path, error_type, restores):
    """An answer that is not 2xx is reported with the phase's error type, and the adapter exits 1."""
    hook = "/before" if path == "/init/error" else "/after"
    app.routes[hook] = answers(302)
    platform.restored.set()
    adapter = start_adapter(
        "--generation",
        "1.1",
        **SNAP_START,
        AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH="/before",
        AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH="/after",
    )

    _, stderr = adapter.communicate(timeout=DEADLINE_S)

    assert adapter.returncode == 1
    headers, body = platform.posts[path]
    assert headers["Lambda-Runtime-Function-Error-Type"] == error_type
    assert json.loads(body)["errorMessage"] == f"POST {hook} on the app answered 302"
    assert stderr == f"web-adapter: {error_type}: POST {hook} on the app answered 302\n"
    assert journal.calls.count(RESTORE_NEXT) == restores
    assert INVOCATION_NEXT not in journal.calls


def test_a_held_readiness_request_is_awaited(journal, app, start_adapter):
    """While the app holds one readiness request open, the adapter sends no other and asks for no invocation."""
    asked = queue.Queue()
    release = threading.Event()

    def hold(request):
        asked.put(None)
        release.wait(DEADLINE_S)
        request.reply(200)

    app.routes["/held"] = hold
    start_adapter("--generation", "1.0", AWS_LWA_READINESS_CHECK_PATH="/held")

    asked.get(timeout=DEADLINE_S)
    with pytest.raises(queue.Empty):
        asked.get(timeout=0.3)
    assert INVOCATION_NEXT not in journal.calls
    release.set()
    journal.wait_for(INVOCATION_NEXT)

    assert journal.main_calls == [REGISTER, "app GET /held", INVOCATION_NEXT]


def test_readiness_is_asked_until_the_status_is_healthy(journal, app, start_adapter):
    """Readiness is checked again after any status outside the healthy set, including a redirect."""
    statuses = iter([500, 404, 302, 204])
    app.routes["/health"] = lambda request: request.reply(next(statuses))
    start_adapter(
        "--generation",
        "1.0",
        AWS_LWA_READINESS_CHECK_PATH="/health",
        AWS_LWA_READINESS_CHECK_HEALTHY_STATUS="200-299",
    )

    journal.wait_for(INVOCATION_NEXT)

    assert journal.main_calls == [REGISTER, *["app GET /health"] * 4, INVOCATION_NEXT]


def test_tcp_readiness_is_a_connection_to_the_readiness_port(journal, start_adapter):
    """With the tcp protocol the adapter is ready when the readiness port accepts, and sends no request."""
    with socket.create_server(("127.0.0.1", 0)) as gate:
        gate.settimeout(DEADLINE_S)
        start_adapter(
            "--generation",
            "1.0",
            AWS_LWA_READINESS_CHECK_PROTOCOL="tcp",
            AWS_LWA_READINESS_CHECK_PORT=str(gate.getsockname()[1]),
        )
        connection, _ = gate.accept()
        with connection:
            connection.settimeout(DEADLINE_S)
            assert connection.recv(1) == b""

    journal.wait_for(INVOCATION_NEXT)
    assert journal.main_calls == [REGISTER, INVOCATION_NEXT]


def test_async_init_gives_up_before_init_ends_and_waits_again_at_the_invocation(journal, platform, app, start_adapter):
    """A 1.0 adapter with async init asks for an invocation before the app is up, and serves it once it is."""
    release = threading.Event()
    held = threading.Event()

    def hold(request):
        if held.is_set():
            release.wait(DEADLINE_S)
            request.reply(200)
        else:
            held.set()
            platform.over.wait(DEADLINE_S)
            request.close_connection = True

    app.routes["/health"] = hold
    start_adapter(
        "--generation",
        "1.0",
        program=IMPATIENT,
        AWS_LWA_READINESS_CHECK_PATH="/health",
        AWS_LWA_ASYNC_INIT="true",
    )

    journal.wait_for(INVOCATION_NEXT)
    platform.invoke(http_event("GET", "/hello"))
    journal.wait_for("app GET /health", times=2)
    assert "app GET /hello" not in journal.calls
    release.set()

    assert platform.response().status == 200


@pytest.mark.parametrize("mode", ["buffered", "response_stream"])
def test_an_invocation_is_a_request_to_the_app(platform, app, start_adapter, mode):
    """Method, path, query, headers, cookies and body reach the app, and its answer goes back whole."""
    seen = {}

    def echo(request):
        seen.update(method=request.command, target=request.path, headers=request.headers)
        body = request.read_body()
        headers = [("Content-Type", "image/png"), ("Set-Cookie", "c=3; Path=/"), ("Set-Cookie", "d=4")]
        request.reply(302, body[::-1], [*headers, ("Location", "/elsewhere")])

    app.routes["/a%20b"] = echo
    start_adapter("--generation", "1.0", AWS_LWA_INVOKE_MODE=mode)
    event = http_event("PUT", "/a%20b?q=1&q=2", {"X-One": "1", "Cookie": "a=1; b=2"}, b"\xff\x00body")
    for _ in range(2):
        platform.invoke(event)
        response = platform.response()

    assert (seen["method"], seen["target"]) == ("PUT", "/a%20b?q=1&q=2")
    assert seen["headers"]["X-One"] == "1"
    assert seen["headers"].get_all("Cookie") == ["a=1; b=2"]
    assert (response.status, response.body) == (302, b"ydob\x00\xff")
    assert response.headers["location"] == "/elsewhere"
    assert response.cookies == ("c=3; Path=/", "d=4")


def test_an_empty_answer_is_an_answer(platform, app, start_adapter):
    """A 204 without a body goes back as it is."""
    app.routes["/empty"] = lambda request: (request.send_response(204), request.end_headers())
    start_adapter("--generation", "1.0")

    platform.invoke(http_event("DELETE", "/empty"))
    response = platform.response()

    assert (response.status, response.body) == (204, b"")


@pytest.mark.parametrize("chunked", [True, False])
def test_streaming_sends_the_first_chunk_before_the_app_makes_the_last(platform, app, start_adapter, chunked):
    """Each piece of a streamed answer is out before the next one exists, whether the app frames it or not."""
    proceed = threading.Event()

    def drip(request):
        request.send_response(200)
        request.send_header("Content-Type", "text/event-stream")
        request.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")))
        request.end_headers()
        for piece in (b"first", b"last"):
            request.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            assert piece == b"last" or proceed.wait(DEADLINE_S)
        request.wfile.write(b"0\r\n\r\n" if chunked else b"")

    app.routes["/drip"] = drip
    start_adapter("--generation", "1.0", AWS_LWA_INVOKE_MODE="response_stream")
    platform.invoke(http_event("GET", "/drip"))

    prelude = platform.chunks.get(timeout=DEADLINE_S)
    assert prelude.endswith(PRELUDE_END)
    assert platform.chunks.get(timeout=DEADLINE_S) == b"first"
    assert platform.chunks.empty()
    proceed.set()

    assert platform.response() == HttpResponse(
        200, {"content-type": "text/event-stream"} | _dated(prelude), b"firstlast"
    )
    headers = platform.posts["stream"][0]
    assert headers["Lambda-Runtime-Function-Response-Mode"] == "streaming"
    assert headers["Content-Type"] == "application/vnd.awslambda.http-integration-response"


def _dated(prelude):
    headers = json.loads(prelude.removesuffix(PRELUDE_END))["headers"]
    return {name: headers[name] for name in ("server", "date")}


def test_a_stream_that_the_app_breaks_off_is_not_taken_for_whole(journal, platform, app, start_adapter):
    """When the app dies in mid-stream the response is cut and reported, and the next one is served."""

    def break_off(request):
        request.send_response(200)
        request.send_header("Content-Length", "100")
        request.end_headers()
        request.wfile.write(b"first")
        request.close_connection = True

    app.routes["/broken"] = break_off
    adapter = start_adapter("--generation", "1.0", AWS_LWA_INVOKE_MODE="response_stream")
    platform.invoke(http_event("GET", "/broken"))
    journal.wait_for("lambda POST /2018-06-01/runtime/invocation/id-1/error")
    platform.invoke(http_event("GET", "/fine"))

    assert platform.response().status == 200
    assert platform.posts["/invocation/id-1/error"][0]["Lambda-Runtime-Function-Error-Type"] == "Runtime.StreamError"
    platform.end()
    assert adapter.communicate(timeout=DEADLINE_S)[1].startswith("web-adapter: the app broke off its answer")


@pytest.mark.parametrize("mode", ["buffered", "response_stream"])
def test_an_app_that_is_gone_is_a_502(platform, app, start_adapter, mode):
    """An app that cannot be reached gives the caller a 502, one line on stderr, and the adapter goes on."""

    def hang_up(request):
        request.close_connection = True

    app.routes["/gone"] = hang_up
    adapter = start_adapter("--generation", "1.0", AWS_LWA_INVOKE_MODE=mode)
    platform.invoke(http_event("GET", "/gone"))
    gone = platform.response()
    platform.invoke(http_event("GET", "/fine"))

    assert platform.response().status == 200
    assert (gone.status, json.loads(gone.body)) == (502, {"message": "the app cannot be reached"})
    platform.end()
    _, stderr = adapter.communicate(timeout=DEADLINE_S)
    assert stderr.count("\n") == 1
    assert "/gone got no answer from the app" in stderr


@pytest.mark.parametrize("path", ["/before", "/after?x=1", "/%62efore", "//before", "/x/../after", "/after/"])
def test_nobody_outside_calls_the_snapstart_paths(journal, platform, start_adapter, path):
    """However a client spells a SnapStart path, it gets 403 and the app sees nothing."""
    start_adapter(
        "--generation",
        "1.1",
        AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH="/before",
        AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH="/after",
    )

    platform.invoke(http_event("POST", path))

    assert platform.response().status == 403
    assert [call for call in journal.calls if call.startswith("app")] == ["app GET /"]


@pytest.mark.parametrize("event", [{"httpMethod": "GET", "path": "/"}, {"requestContext": {"elb": {}}}, "not JSON"])
def test_an_event_that_it_cannot_read_is_reported(journal, platform, start_adapter, event):
    """One in an older HTTP format, or no JSON, is an error of that invocation, and the next one is served."""
    start_adapter("--generation", "1.0")

    platform.invoke(b"{" if event == "not JSON" else event)
    journal.wait_for("lambda POST /2018-06-01/runtime/invocation/id-1/error")
    platform.invoke(http_event("GET", "/fine"))

    assert platform.response().status == 200
    headers, _ = platform.posts["/invocation/id-1/error"]
    assert headers["Lambda-Runtime-Function-Error-Type"] == "Runtime.UnsupportedEvent"


@pytest.mark.parametrize(("path", "variables"), [("/events", {}), ("/queue", {"AWS_LWA_PASS_THROUGH_PATH": "queue"})])
@pytest.mark.parametrize(
    ("status", "content_type", "answer", "payload", "said"),
    [
        (200, "application/json", b'{"batch": [ 1 ]}', b'{"batch": [1]}', ""),
        (200, "application/json", b"7", b"7", ""),
        (500, "application/json", b'{"no": 1}', b'{"no": 1}', "answered 500; the invocation still succeeds"),
        (200, "text/plain", b"done", b"null", "is not JSON: the invocation's answer is null"),
        (200, "image/png", b"1", b"null", "is not JSON: the invocation's answer is null"),
        (204, "application/json", b"", b"null", "is not JSON: the invocation's answer is null"),
    ],
)
def test_an_event_that_is_not_http_is_posted_as_it_is(
    platform, app, start_adapter, path, variables, status, content_type, answer, payload, said
):
    """To the pass-through path; the caller gets the JSON of the answer, and stderr has what the real adapter hides."""
    seen = {}

    def take(request):
        seen.update(method=request.command, kind=request.headers["Content-Type"], body=request.read_body())
        request.reply(status, answer, [("Content-Type", content_type)])

    app.routes[path] = take
    adapter = start_adapter("--generation", "1.0", **variables)
    event = b'{"Records": [ {"body": "\\u00e9"} ]}'
    platform.invoke(event)

    assert platform.payloads.get(timeout=DEADLINE_S) == payload
    assert seen == {"method": "POST", "kind": "application/json", "body": event}
    platform.end()
    stderr = adapter.communicate(timeout=DEADLINE_S)[1]
    assert said in stderr
    assert bool(said) is bool(stderr)


def test_unchecked_asks_for_the_restore_and_makes_no_check_after_it(journal, platform, start_adapter):
    """It knows no SnapStart paths either: it is one of before 1.1 on a newer runtime library."""
    start_adapter(
        "--generation",
        "unchecked",
        **SNAP_START,
        AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH="/before",
        AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH="/after",
    )

    journal.wait_for(RESTORE_NEXT)
    platform.restored.set()
    journal.wait_for(INVOCATION_NEXT)
    assert journal.main_calls == [REGISTER, "app GET /", RESTORE_NEXT, INVOCATION_NEXT]


def test_unchecked_without_snapstart_asks_for_no_restore(journal, start_adapter):
    """Nobody does there."""
    start_adapter("--generation", "unchecked", AWS_LAMBDA_INITIALIZATION_TYPE="on-demand")

    journal.wait_for(INVOCATION_NEXT)
    assert journal.main_calls == [REGISTER, "app GET /", INVOCATION_NEXT]


IN_TIME = {"AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS": "0.3", **SNAP_START}


def hold_from(check, platform):
    """A route that answers the checks before the one of that number, and holds that one."""
    numbers = iter(range(1, 1000))

    def route(request):
        if next(numbers) >= check:
            platform.over.wait(DEADLINE_S)
            request.close_connection = True
        else:
            request.reply(200)

    return route


@pytest.mark.parametrize("unready", ["held", "answers 503"])
def test_1_1_gives_up_an_initialisation_whose_app_is_not_ready_in_time(journal, platform, app, start_adapter, unready):
    """It reports nothing, asks for nothing, and ends: init has failed."""
    app.routes["/"] = hold_from(1, platform) if unready == "held" else answers(503)
    adapter = start_adapter("--generation", "1.1", **IN_TIME)

    _, stderr = adapter.communicate(timeout=DEADLINE_S)
    assert adapter.returncode == 1
    assert "not ready after 0.3 s (AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS), which fails initialization" in stderr
    assert not any("runtime" in call for call in journal.calls)


@pytest.mark.parametrize(
    ("options", "check", "path", "error_type"),
    [
        (["--before-checkpoint-readiness"], 2, "/init/error", "Runtime.BeforeSnapshotError"),
        ([], 2, "/restore/error", "Runtime.AfterRestoreError"),
    ],
)
def test_1_1_reports_a_phase_in_which_the_app_is_not_ready_in_time(
    journal, platform, app, start_adapter, options, check, path, error_type
):
    """The check before the checkpoint POST and the one after the restore have the limit too."""
    app.routes["/"] = hold_from(check, platform)
    platform.restored.set()
    in_time = IN_TIME | {"AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS": "1"}  # the first check has to be answered within it
    adapter = start_adapter(
        "--generation", "1.1", *options, **in_time, AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH="/before"
    )

    adapter.communicate(timeout=DEADLINE_S)
    assert adapter.returncode == 1
    headers, body = platform.posts[path]
    assert headers["Lambda-Runtime-Function-Error-Type"] == error_type
    assert "not ready after 1 s" in json.loads(body)["errorMessage"]
    assert INVOCATION_NEXT not in journal.calls


def test_a_bound_on_the_readiness_check_is_unknown_before_1_1(journal, platform, app, start_adapter):
    """There it waits for ever."""
    release = threading.Event()

    def hold(request):
        release.wait(DEADLINE_S)
        request.reply(200)

    app.routes["/"] = hold
    adapter = start_adapter("--generation", "1.0", **IN_TIME | {"AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS": "0.01"})
    journal.wait_for("app GET /")
    with pytest.raises(subprocess.TimeoutExpired):
        adapter.wait(0.3)
    release.set()
    journal.wait_for(INVOCATION_NEXT)


def test_1_1_ignores_async_init_under_snapstart_and_says_so(journal, platform, app, start_adapter):
    """Giving up the wait would publish a version whose app is not up."""
    release = threading.Event()

    def hold(request):
        release.wait(DEADLINE_S)
        request.reply(200)

    app.routes["/"] = hold
    adapter = start_adapter("--generation", "1.1", program=IMPATIENT, **SNAP_START, AWS_LWA_ASYNC_INIT="true")
    assert "AWS_LWA_ASYNC_INIT is ignored" in adapter.stderr.readline()
    journal.wait_for("app GET /")
    with pytest.raises(subprocess.TimeoutExpired):
        adapter.wait(1)  # twice what the impatient one has
    assert RESTORE_NEXT not in journal.calls
    release.set()
    journal.wait_for(RESTORE_NEXT)


@pytest.mark.parametrize("name", BUILTIN_ADAPTERS)
def test_nothing_in_the_apps_folder_or_on_its_path_breaks_the_stand_in(
    journal, platform, app, start_adapter, tmp_path, name
):
    """Folders and files of the app that are named like modules of ours, of Python or of what we need."""
    for hidden in ("email", "snapext", "requests"):
        (tmp_path / hidden).mkdir()
        (tmp_path / hidden / "__init__.py").write_text("raise SystemExit('taken from the app')\n")
    for hidden in ("queue.py", "http.py", "urllib3.py", "logging.py", "sitecustomize.py"):
        (tmp_path / hidden).write_text("raise SystemExit('taken from the app')\n")
    folder = tmp_path / "extensions"
    folder.mkdir()
    _write_launcher(str(folder / "lambda-adapter"), _adapter_script(name))
    platform.restored.set()
    start_adapter(command=[str(folder / "lambda-adapter")], cwd=tmp_path, PYTHONPATH=str(tmp_path), **SNAP_START)

    journal.wait_for(INVOCATION_NEXT)
    assert (RESTORE_NEXT in journal.calls) is (name != "builtin")


def test_each_stand_in_carries_the_marks_of_its_kind():
    """The extension tells the kinds apart by what stands in the file, as in the real ones."""
    marks = ("/runtime/restore/next", "AWS_LWA_SNAPSTART", "before-checkpoint")
    found = {name: [mark in _adapter_script(name) for mark in marks] for name in BUILTIN_ADAPTERS}

    assert found == {
        "builtin": [False, False, False],
        "builtin-unchecked": [True, False, False],
        "builtin-1.1": [True, True, True],
    }


def test_no_program_of_ours_is_taken_for_a_process_of_the_app():
    """Each says whose it is before it imports snapext, which would link it."""
    scripts = [*map(_adapter_script, BUILTIN_ADAPTERS), _extension_script()]
    for script in scripts:
        assert script.index("sys._snapext_own = True") < script.index("from snapext")
        assert "sys.path +=" in script


@pytest.mark.parametrize("until", [RESTORE_NEXT, INVOCATION_NEXT])
def test_the_adapter_leaves_quietly_with_the_runtime_api(journal, platform, start_adapter, until):
    """When the Runtime API hangs up, the adapter exits 0 and says nothing."""
    adapter = start_adapter("--generation", "1.1" if until == RESTORE_NEXT else "1.0", **SNAP_START)
    journal.wait_for(until)

    platform.end()

    assert adapter.communicate(timeout=DEADLINE_S)[1] == ""
    assert adapter.returncode == 0


def test_a_refusal_of_the_runtime_api_is_one_line(platform, start_adapter, monkeypatch):
    """An answer that the adapter cannot go on with is printed with its endpoint, and the exit status is 1."""
    monkeypatch.setattr(platform, "answer", lambda request: request.reply(403, b"InvalidStateTransition"))
    adapter = start_adapter("--generation", "1.0")

    _, stderr = adapter.communicate(timeout=DEADLINE_S)

    assert adapter.returncode == 1
    assert stderr == "web-adapter: POST /2020-01-01/extension/register answered 403: InvalidStateTransition\n"


def test_a_wrong_setting_is_one_line(start_adapter):
    """A variable that is not accepted is named on stderr, and the exit status is 2."""
    adapter = start_adapter("--generation", "1.0", AWS_LWA_INVOKE_MODE="stream")

    _, stderr = adapter.communicate(timeout=DEADLINE_S)

    assert adapter.returncode == 2
    assert stderr == ("web-adapter: AWS_LWA_INVOKE_MODE='stream' is not accepted: buffered or response_stream\n")
