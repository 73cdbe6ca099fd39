"""`snapext simulate` as a person or a script uses it: its output, where it goes, and its exit status."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import psutil
import pytest

from helpers import free_port, wait_until
from lives import APPS
from snapext_tools.simulator.report.page import page_of
from snapext_tools.simulator.report.trace import trace_of

SNAPEXT = [sys.executable, "-m", "snapext"]
SERVER = [sys.executable, "tracing_http_server.py"]


def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SNAPEXT, "simulate", *words],
        cwd=APPS,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing argument"),
        (["--port", "0", "--", "python"], "0 is not in the range"),
        (["--port", "web", "--", "python"], "not a valid integer"),
        (["--workers", "-1", "--", "python"], "-1 is not in the range"),
        (["--expect-hooks", "-1", "--", "python"], "-1 is not in the range"),
        (["--init-type", "warm", "--", "python"], "'warm' is not one of"),
        (["--freeze", "-1", "--", "python"], "-1.0 is not in the range"),
        (["--request", "GET", "--", "python"], "'GET' is not a method and a path"),
        (["--request", "FETCH /", "--", "python"], "'FETCH /' is not a method and a path"),
        (["--request", "GET / HTTP/1.1", "--", "python"], "is not a method and a path"),
        (["-d", "a=1", "--request", "/", "--", "python"], "Invalid value for -d: it belongs to the --request"),
        (["--request", "/", "-H", "nothing", "--", "python"], "'nothing' is not a header"),
        (["--event", "/etc/passwd", "--", "python"], "/etc/passwd is not JSON"),
        (["--adapter", "/etc/passwd", "--", "python"], "builtin-1.1, none nor an executable"),
        (["--", "no-such-command"], "cannot run 'no-such-command': no such command"),
        (["--freese", "1", "--", "python"], "No such option"),
        (["--report", "/proc/gone/life.html", "--", "python"], "cannot write '/proc/gone/life.html': No such file"),
        (["--report", "/dev", "--", "python"], "cannot write '/dev': Is a directory"),
        (["--trace", "-", "--", "python"], "'-' is not the name of a file"),
        (["--trace", "a", "--report", "./a", "--", "python"], "--report and --trace name the same file"),
        (["--template", "gone"], "cannot read gone: No such file or directory"),
        (["--template", "gone", "--", "python", "app.py"], "with --template the only word is the name of a function"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_status_2(words: list[str], said: str) -> None:
    """Never a traceback, and nothing on standard output."""
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (APPS / "a").exists()


def test_a_template_says_how_the_app_starts(tmp_path: Path) -> None:
    """The script in its folder, on the template's port, with its variables; the JSON document is as usual."""
    port = free_port()
    (tmp_path / "app").mkdir()
    script = tmp_path / "app" / "run.sh"
    script.write_text(f'#!/bin/sh\ntest -f run.sh && cd "$APPS" && exec {sys.executable} tracing_http_server.py\n')
    script.chmod(0o755)
    (tmp_path / "template.yaml").write_text(
        "Resources:\n  App:\n    Type: AWS::Serverless::Function\n    Properties:\n      CodeUri: app\n"
        f"      Handler: run.sh\n      Environment: {{Variables: {{AWS_LWA_PORT: {port}, APPS: {APPS}, T: !Ref T}}}}\n"
    )
    done = run("--json", "--template", str(tmp_path / "template.yaml"), "App")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] is True
    assert "not set, because the template gives no value: T (!Ref T)" in done.stderr


@pytest.mark.parametrize(
    "words", [[], ["--port", "web", "--", "python"], ["--request", "/", "-H", "x", "--", "python"]]
)
def test_wrong_usage_has_a_document_too(words: list[str], tmp_path: Path) -> None:
    """Its reader need not check the status first, and finds no page of an earlier life."""
    done = run("--json", f"--report={tmp_path}/life.html", "--trace", f"{tmp_path}/trace.json", *words)
    document = json.loads(done.stdout)
    assert done.returncode == 2
    assert document["ok"] is False
    (error,) = document["errors"]
    assert (error["phase"], error["type"]) == ("usage", "UsageError")
    assert error["message"] in done.stderr
    check_files(tmp_path, document)


def check_files(folder: Path, document: dict[str, Any]) -> None:
    """The page and the trace show the life of the document, and nothing else is left there."""
    assert (folder / "life.html").read_text() == page_of(document)
    assert (folder / "trace.json").read_text() == trace_of(document)
    assert not list(folder.glob(".*"))


def test_a_command_that_cannot_be_started_has_a_document_too(tmp_path: Path) -> None:
    """That is found out late."""
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    done = run("--json", "--port", str(free_port()), "--", str(broken))
    assert done.returncode == 2
    assert "cannot start" in json.loads(done.stdout)["errors"][0]["message"]


def test_a_port_that_somebody_listens_on_is_refused() -> None:
    """That server would be taken for the app, at whatever address. It is named, in one line and without a usage."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run("--json", "--port", port, "--", *SERVER)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: cannot use port {port}: process {os.getpid()} (")
    assert "listens there already" in line
    assert json.loads(done.stdout)["errors"][0]["message"] == line.removeprefix("Error: ")


def test_a_server_that_is_not_the_functions_is_never_taken_for_it(tmp_path: Path) -> None:
    """It appears while init waits for an app that has another port than the template says; what to do is said once."""
    port = free_port()
    (tmp_path / "run.sh").write_text(f"#!/bin/sh\ncd {APPS} && PORT={free_port()} exec {' '.join(SERVER)}\n")
    (tmp_path / "run.sh").chmod(0o755)
    template = tmp_path / "template.yaml"
    template.write_text(
        "Resources:\n  App:\n    Type: AWS::Serverless::Function\n    Properties:\n      CodeUri: .\n"
        f"      Handler: run.sh\n      Environment: {{Variables: {{PORT: {port}, TRACE_FILE: {tmp_path}/trace}}}}\n"
    )
    words = [*SNAPEXT, "simulate", "--request", "/secret", "--template", str(template)]
    asked: list[str] = []

    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        hint = f"snapext doctor {template} says which port the app listens on"
        said = next(line for line in process.stdout if "doctor" in line)
        assert said.strip().endswith(hint)
        with ThreadingHTTPServer(("127.0.0.1", port), Stranger) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            last = process.stdout.read().splitlines()[-1]
            server.shutdown()
    assert process.returncode == 1
    stranger = f"process {os.getpid()} ("
    assert f"port {port} is answered by a process that is not the function's: {stranger}" in last
    assert asked
    assert "/secret" not in asked


def test_the_story_is_told_on_standard_output_and_the_app_is_kept_apart(tmp_path: Path) -> None:
    """Every chapter in its order, hooks with durations and their share of the budget, then one verdict."""
    done = run("--port", str(free_port()), "--", *SERVER, TRACE_FILE=str(tmp_path / "trace"))
    assert done.returncode == 0
    chapters = [line.split()[0] for line in done.stdout.splitlines() if line and not line.startswith(" ")]
    assert chapters == [
        *("init", "before_snapshot", "snapshot", "restore", "after_restore", "ready", "invoke", "shutdown", "OK:")
    ]
    after = [line for line in done.stdout.splitlines() if "after_first" in line]
    assert "% of 10 s" in after[0]
    assert "\x1b[" not in done.stdout
    assert "OK: 1 process, 4 hooks run" in done.stdout.splitlines()[-1]


def test_without_snapext_the_life_is_what_it_is_today_and_never_ok(tmp_path: Path) -> None:
    """No extension, no link, no hook, and a readiness check that pointed at us is the app's own again."""
    trace, port = tmp_path / "trace", str(free_port())
    without = ("--without-snapext", "--port", port)
    env = {"TRACE_FILE": str(trace), "AWS_LWA_READINESS_CHECK_PORT": "9555"}
    done = run(*without, "--workers", "1", "--request", "/", "--", *SERVER, **env)
    assert done.returncode == 0, done.stderr
    chapters = [line.split()[0] for line in done.stdout.splitlines() if line and not line.startswith(" ")]
    assert chapters == ["init", "snapshot", "restore", "ready", "invoke", "shutdown", "NOT"]
    assert "snapext registered" not in done.stdout
    last = "NOT JUDGED: 1 request served without snapext; whether an answer is from before the snapshot is yours to see"
    assert done.stdout.splitlines()[-1] == last
    assert {json.loads(line)["phase"] for line in trace.read_text().splitlines()} == {"request"}

    ours = ("SNAPEXT_PORT", "SNAPEXT_SOCKET", "SNAPEXT_MODE", "SNAPEXT_WORKERS", "SNAPEXT_LOG_LEVEL")
    look = f"from os import *; print(*[n in environ for n in {ours}], 'snapext' in environ.get('PYTHONPATH', ''))"
    failed = run(*without, "--json", "--", sys.executable, "-c", f"{look}; _exit(3)")
    document = json.loads(failed.stdout)
    assert (failed.returncode, document["ok"], document["mode"]) == (1, False, "without snapext")
    assert f"app |{' False' * 6}" in failed.stderr
    assert failed.stderr.splitlines()[-1].startswith("FAILED: 0 requests served without snapext; the runtime exited")


def test_a_failure_shows_hook_process_stack_and_what_users_would_have_seen(tmp_path: Path) -> None:
    """In the story, not only in the document."""
    words = [f"{Path(sys.executable).parent}/waitress-serve", "--listen", "127.0.0.1:{port}", "misbehaving:app"]
    port = str(free_port())
    done = run(
        f"--report={tmp_path}/life.html",
        "--port",
        port,
        "--",
        *(word.format(port=port) for word in words),
        TRACE_FILE=str(tmp_path / "trace"),
        MISBEHAVE="after:raise",
    )
    assert done.returncode == 1
    page = (tmp_path / "life.html").read_text()
    for part in ('id="failure-1"', "raise ValueError(&quot;the pool is gone&quot;)", 'class="hook bad"'):
        assert part in page
    for part in ("(waitress-serve)", "ValueError: the pool is gone", "SnapStartException"):
        assert part in done.stdout
    (failed,) = [line for line in done.stdout.splitlines() if "waitress-serve ✗" in line]
    assert "✗ misbehaving.culprit" in failed
    last = done.stdout.splitlines()[-1]
    assert last.startswith("FAILED: 1 process, ")
    assert "after_restore hook misbehaving.culprit" in last


def test_with_json_standard_output_is_one_document(tmp_path: Path) -> None:
    """With every field that a program may rely on; the story goes to standard error, page and trace to their files."""
    files = ("--report", str(tmp_path / "life.html"), "--trace", str(tmp_path / "trace.json"))
    done = run("--json", *files, "--port", str(free_port()), "--", *SERVER, TRACE_FILE=str(tmp_path / "trace"))
    document = json.loads(done.stdout)
    check_files(tmp_path, document)
    assert document["command"] == SERVER
    assert set(document) == {
        *("ok", "mode", "command", "init_type", "adapter", "environment_id", "restore_ms", "hooks_run", "processes"),
        *("events", "errors"),
    }
    assert document["hooks_run"] == 4
    assert (document["mode"], document["init_type"], document["adapter"]) == ("gate", "snap-start", "builtin")
    (process,) = document["processes"]
    assert set(process) == {"pid", "name", "hooks", "passed", "started_at_ms", "ended_at_ms"}
    assert process["hooks"] == {"before_snapshot": 2, "after_restore": 2}
    names = [event["event"] for event in document["events"]]
    assert names == [
        *("extension_registered", "extension_registered", "runtime_started", "process_joined", "before_snapshot"),
        *("snapshot", "restore", "after_restore", "ready", "invoke", "shutdown"),
    ]
    times = [event["at_ms"] for event in document["events"]]
    assert times == sorted(times)
    at = {event["event"]: event["at_ms"] for event in document["events"]}
    # Two clocks are read one after the other, and we may lose the processor in between.
    assert at["runtime_started"] - 500 <= process["started_at_ms"] <= at["process_joined"]
    assert at["ready"] >= at["restore"] + document["restore_ms"] - 0.01
    assert process["ended_at_ms"] is None or process["ended_at_ms"] >= at["invoke"]
    (invoke,) = [event for event in document["events"] if event["event"] == "invoke"]
    assert {"path", "status", "duration_ms", "body"} <= set(invoke)
    assert "OK:" in done.stderr


def test_a_server_error_is_a_failure_of_the_app(tmp_path: Path) -> None:
    """A 500 to a request is not success."""
    done = run(
        *("--json", "--port", str(free_port()), "--request", "PUT /", "--", *SERVER), TRACE_FILE=str(tmp_path / "trace")
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["errors"][0]["type"] == "HTTP 501"


def test_a_story_without_an_end_is_ended_and_says_what_it_waited_for(tmp_path: Path) -> None:
    """An app that never listens."""
    done = run(
        *("--timeout", "2", "--port", str(free_port()), "--"),
        *(sys.executable, "-c", "import threading; threading.Event().wait(60)"),
    )
    assert done.returncode == 1
    assert "has not asked for" in done.stdout


ECHO = [sys.executable, "echoing.py"]


def test_a_page_that_cannot_be_written_in_the_end_is_one_line_and_status_2(tmp_path: Path) -> None:
    """The disk may be full by then. What else is asked for is written all the same."""
    words = ("--report", "/dev/full", "--trace", str(tmp_path / "trace.json"), "--init-type", "on-demand")
    done = run(*words, "--port", str(free_port()), "--", *ECHO)
    assert done.returncode == 2
    assert "Error: cannot write --report /dev/full: No space left on device" in done.stderr.splitlines()
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-1].startswith("OK:")
    assert json.loads((tmp_path / "trace.json").read_text())["otherData"]["init_type"] == "on-demand"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 1, "; no hook ran (--expect-hooks 0 if none should)"),
        (["--expect-hooks", "0"], 0, "OK: 0 processes, 0 hooks run"),
        (["--expect-hooks", "2"], 1, "; 0 hooks ran, not 2 (--expect-hooks)"),
        (["--init-type", "on-demand"], 0, "OK: 0 processes, 0 hooks run"),
    ],
)
def test_an_app_without_hooks_is_ok_only_where_none_is_expected(words: list[str], status: int, said: str) -> None:
    """Under SnapStart it is most likely an app that is not linked. The last line says so."""
    done = run(*words, "--port", str(free_port()), "--", *ECHO)
    assert done.returncode == status, done.stdout + done.stderr
    assert said in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("adapter", "words", "status", "said"),
    [
        ("builtin", [], 1, "served; no hook ran, because of SNAPEXT_MODE=off (--expect-hooks 0 if none should)"),
        ("builtin-1.1", ["--expect-hooks", "0"], 0, "OK: SNAPEXT_MODE=off, 0 processes, 0 hooks run"),
    ],
)
def test_with_mode_off_an_app_with_hooks_lives_as_without_snapext(
    adapter: str, words: list[str], status: int, said: str, tmp_path: Path
) -> None:
    """No hook runs, by no way: not by the socket, not by a signal. The first line and the last say why."""
    trace = tmp_path / "trace"
    env = {"SNAPEXT_MODE": "off", "SNAPEXT_SIGNALS": "1", "SNAPEXT_WORKERS": "7", "TRACE_FILE": str(trace)}
    done = run("--adapter", adapter, *words, "--port", str(free_port()), "--", *SERVER, **env)
    assert done.returncode == status, done.stdout + done.stderr
    assert said in done.stdout.splitlines()[-1]
    assert "1 request served" in done.stdout.splitlines()[-1]
    (line,) = [line for line in done.stdout.splitlines() if "! " in line]
    assert "SNAPEXT_MODE=off: no process is linked" in line
    phases = [json.loads(line)["phase"] for line in trace.read_text().splitlines()]
    assert set(phases) == {"request"}
    assert len(phases) == 2 + (adapter == "builtin-1.1")  # as many checks of the app as the adapter makes of us


def test_a_number_of_hooks_that_is_expected_is_held_to(tmp_path: Path) -> None:
    """Of all processes and both phases together."""
    for number, status in (("4", 0), ("5", 1)):
        words = ("--expect-hooks", number, "--port", str(free_port()), "--", *SERVER)
        assert run(*words, TRACE_FILE=str(tmp_path / "trace")).returncode == status


def test_a_handler_that_ran_by_signal_is_a_hook_that_ran(tmp_path: Path) -> None:
    """A shell's trap before the snapshot and one after the restore, beside a server without hooks."""
    script = tmp_path / "run.sh"
    script.write_text(
        "#!/bin/bash\ntrap 'snapext done' USR1\ntrap 'snapext done' USR2\n"
        f"{sys.executable} {APPS}/echoing.py &\nwhile kill -0 $!; do wait $!; done\n"
    )
    script.chmod(0o755)
    done = run("--expect-hooks", "2", "--port", str(free_port()), "--", str(script), SNAPEXT_SIGNALS="USR1,USR2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "OK: 1 process, 2 hooks run" in done.stdout


@pytest.mark.parametrize("adapter", ["builtin", "builtin-1.1"])
def test_hooks_that_nothing_holds_the_requests_for_fail_the_life(adapter: str, tmp_path: Path) -> None:
    """Nothing holds the boundary here: the adapter checks the app and not the gate."""
    port = str(free_port())
    env = {"AWS_LWA_READINESS_CHECK_PORT": port, "TRACE_FILE": str(tmp_path / "trace")}
    done = run("--adapter", adapter, "--port", port, "--", *SERVER, **env)
    assert done.returncode == 1
    (pid,) = {json.loads(line)["pid"] for line in (tmp_path / "trace").read_text().splitlines()}
    said = (
        f"no middleware in process {pid} (tracing_http_server.py) holds requests until its 2 after-restore hooks have"
    )
    assert said in done.stdout.splitlines()[-1]


def test_an_adapter_that_makes_no_check_after_the_restore_is_never_ok(tmp_path: Path) -> None:
    """Nothing can hold it there: it is refused, or its requests are served stale."""
    words = ("--adapter", "builtin-unchecked", "--port", str(free_port()), "--", *SERVER)
    done = run(*words, TRACE_FILE=str(tmp_path / "trace"))
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("FAILED:")


BORN_LATE = """
import subprocess, sys
import snapext
import tracing_http_server

CHILD = '''
import sys, time
import snapext
snapext.register_after_restore(print)
while not snapext.status().connected:
    time.sleep(0.001)
print("up", flush=True)
sys.stdin.read()
'''

@snapext.register_after_restore
def start_another():
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"up\\n"

server = tracing_http_server
port = int(server.os.environ["PORT"])
server.ThreadingHTTPServer(("127.0.0.1", port), server.Handler).serve_forever()
"""


def test_a_process_that_is_born_after_the_restore_owes_nothing(tmp_path: Path) -> None:
    """It has joined with a hook when the runtime is ready, and that hook has nothing to do."""
    script = tmp_path / "born_late.py"
    script.write_text(BORN_LATE)
    words = ("--json", "--port", str(free_port()), "--", sys.executable, str(script))
    done = run(*words, TRACE_FILE=str(tmp_path / "trace"), PYTHONPATH=str(APPS))
    document = json.loads(done.stdout)
    assert document["ok"], document["errors"]
    assert [process["hooks"]["after_restore"] for process in document["processes"]] == [3, 1]
    assert document["hooks_run"] == 5


def test_requests_have_bodies_and_headers_as_curl_has_them(tmp_path: Path) -> None:
    """Each those that come after it, and an event goes to the pass-through path as it is."""
    (tmp_path / "sqs.json").write_text('{"Records": [ {"body": "x"} ]}')
    done = run(
        *("--json", "--expect-hooks", "0", "--port", str(free_port())),
        *("--request", "/form", "-d", "a=1", "--data", "b=2", "-H", "X-Who: me"),
        *("--request", "PUT /json", "-H", "Content-Type: application/json", "-d", "{}"),
        *("--event", str(tmp_path / "sqs.json"), "--request", "/last", "--", *ECHO),
        AWS_LWA_PASS_THROUGH_PATH="/queue",
    )
    document = json.loads(done.stdout)
    assert document["ok"], document["errors"]
    invokes = [event for event in document["events"] if event["event"] == "invoke"]
    form, put, event, last = (json.loads(invoke["body"]) for invoke in invokes)
    assert [(echo["method"], echo["path"], echo["body"]) for echo in (form, put, event, last)] == [
        ("POST", "/form", "a=1&b=2"),
        ("PUT", "/json", "{}"),
        ("POST", "/queue", '{"Records": [ {"body": "x"} ]}'),
        ("GET", "/last", ""),
    ]
    assert form["headers"]["x-who"] == "me"
    assert form["headers"]["content-type"] == "application/x-www-form-urlencoded"
    assert put["headers"]["content-type"] == event["headers"]["content-type"] == "application/json"
    assert "x-who" not in {**put["headers"], **last["headers"]}
    assert [invoke.get("path") or invoke["name"] for invoke in invokes] == ["/form", "/json", "sqs.json", "/last"]


def test_under_snapstart_the_apps_credentials_are_the_developers_by_the_endpoint_alone() -> None:
    """No key is in a variable, where a snapshot would keep it."""
    done = run(
        *("--json", "--expect-hooks", "0", "--port", str(free_port()), "--request", "/credentials", "--", *ECHO),
        AWS_ACCESS_KEY_ID="AKIAMINE",
        AWS_SECRET_ACCESS_KEY="hush",
        AWS_PROFILE="work",
    )
    (invoke,) = [event for event in json.loads(done.stdout)["events"] if event["event"] == "invoke"]
    echo = json.loads(invoke["body"])
    assert (echo["credentials"]["AccessKeyId"], echo["credentials"]["SecretAccessKey"]) == ("AKIAMINE", "hush")
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"} & {*echo["variables"]}


def test_credentials_that_cannot_be_passed_on_are_a_line_of_the_story(tmp_path: Path) -> None:
    """The app gets others, and AWS will refuse them."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [*SNAPEXT, "simulate", "--expect-hooks", "0", "--port", str(free_port()), "--", *ECHO],
        cwd=APPS,
        env={**env, "AWS_PROFILE": "work", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert "! your AWS credentials come from AWS_PROFILE, and simulate cannot turn that into keys" in done.stdout


def test_an_app_folder_with_names_of_the_standard_library_breaks_nothing_of_ours(tmp_path: Path) -> None:
    """Neither the stand-in, nor the extension, nor the simulator."""
    (tmp_path / "email").mkdir()
    for name in ("email/__init__.py", "queue.py", "snapext.py", "http.py", "json.py"):
        (tmp_path / name).write_text("raise SystemExit('taken from the app')\n")
    command = [str(Path(sys.executable).parent / "snapext"), "simulate", "--port", str(free_port()), "--"]
    done = subprocess.run(
        [*command, sys.executable, str(APPS / "tracing_http_server.py")],
        cwd=tmp_path,
        env={**os.environ, "TRACE_FILE": str(tmp_path / "trace")},
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "OK: 1 process, 4 hooks run" in done.stdout


@pytest.mark.parametrize("width", [30, 72])
@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_the_story_fits_the_terminal_that_it_is_told_on(width: int, env: dict[str, str], tmp_path: Path) -> None:
    """No line is wider, and colours come only where they are wanted."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        [*SNAPEXT, "simulate", "--port", str(free_port()), "--", *SERVER],
        cwd=APPS,
        env={**environ, "TERM": "xterm", "TRACE_FILE": str(tmp_path / "trace"), **env},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while data := os.read(ours, 65536):
            shown += data
    os.close(ours)
    assert process.wait(20) == 0
    text = shown.decode()
    assert ("\x1b[" in text) is not bool(env)
    lines = [click.unstyle(line) for line in text.splitlines()]
    assert max(map(len, lines)) <= width
    assert "OK:" in "".join(lines)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupted_simulation_says_what_was_going_on_and_leaves_nothing_behind(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    """However it is stopped, it stops all processes that it started; a second signal does not cut that short."""
    files = ("--report", str(tmp_path / "life.html"), "--trace", str(tmp_path / "trace.json"))
    process, children = interrupted(tmp_path, number, "--json", *files)
    stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == status
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    document = json.loads(stdout)
    assert document["ok"] is False
    assert [event["event"] for event in document["events"]].count("extension_registered") == 2
    (error,) = document["errors"]
    assert (error["phase"], error["type"]) == ("init", "Interrupted")
    assert error["at_ms"] >= next(e["at_ms"] for e in document["events"] if e["event"] == "runtime_started")
    check_files(tmp_path, document)
    said = f"interrupted by {number.name} after "
    assert error["message"].startswith(said)
    assert "s, in init: the runtime has not asked for restore/next or invocation/next" in error["message"]
    assert "FAILED: 0 processes" in stderr
    assert said in stderr.splitlines()[-1]


MOMENTS = {
    "before anything is started": "simulation.lay_out",
    "after the last process has ended": "platform.Platform.__exit__",
}
INTERRUPTED_AT = """
import os, signal, sys
from snapext_tools.cli.simulate import simulate
from snapext_tools.simulator import platform
from snapext_tools.simulator import simulation
whole = {moment}
def interrupted(*args, **named):
    os.kill(os.getpid(), signal.SIGTERM)
    return whole(*args, **named)
{moment} = interrupted
simulate.main(sys.argv[1:], prog_name="simulate")
"""


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_a_life_that_is_interrupted_at_its_edges_is_not_ok(moment: str, tmp_path: Path) -> None:
    """Even before there is a platform to ask what it waits for, and after it is gone."""
    words = ("--json", "--port", str(free_port()), "--", *SERVER)
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT.format(moment=moment), *words],
        cwd=APPS,
        env={**os.environ, "TRACE_FILE": str(tmp_path / "trace")},
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 143
    document = json.loads(done.stdout)
    assert document["ok"] is False
    assert [error["type"] for error in document["errors"]] == ["Interrupted"]
    assert done.stderr.splitlines()[-1].startswith("FAILED:")


def test_a_story_that_is_interrupted_ends_with_its_verdict(tmp_path: Path) -> None:
    """On standard output, as ever."""
    process, _ = interrupted(tmp_path, signal.SIGINT)
    stdout, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "✗ interrupted by SIGINT after " in stdout
    assert stdout.splitlines()[-1].startswith("FAILED:")


def interrupted(
    tmp_path: Path, number: signal.Signals, *words: str
) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A simulation that gets a signal twice while its app starts, and the processes that it had by then."""
    marker = str(tmp_path / "marker")
    # A shell starts what runs in the background with SIGINT ignored, this test perhaps included.
    command = ["env", "--default-signal=INT,HUP", *SNAPEXT, "simulate", *words, "--port", str(free_port()), "--"]
    process = subprocess.Popen(
        [*command, *_TOUCH_AND_WAIT],
        env={**os.environ, "MARKER": marker},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: Path(marker).exists(), 30)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 3
    process.send_signal(number)
    wait_until(lambda: is_ignored(process.pid, signal.SIGTERM) or process.poll() is not None, 20)
    for another in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(another)
    return process, children


def is_ignored(pid: int, number: signal.Signals) -> bool:
    """As the kernel has it, see proc(5)."""
    (mask,) = [line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "SigIgn" in line]
    return bool(int(mask, 16) >> (number - 1) & 1)


_TOUCH_AND_WAIT = [
    *(sys.executable, "-c"),
    "import os, threading; open(os.environ['MARKER'], 'w').close(); threading.Event().wait(60)",
]
