"""What a look shows of real processes: whether they belong to the function, what each is, holds and does."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers import App, clean_environ, wait_until
from snapext_extension.kernel import processes, threads
from snapext_extension.kernel.accepting import accepts
from snapext_extension.kernel.look import Looker
from snapext_extension.kernel.processes import Stat, command, environment, executable, is_python
from snapext_extension.kernel.sockets import all_listening_inodes, held_by, listening_inodes
from snapext_extension.kernel.threads import at_rest
from snapext_extension.kernel.tree import function_tree, read_start_command
from snapext_extension.peers.signals import SignalError, candidates

Start = Callable[..., App]
UID = os.geteuid()
NOBODY = 2**22 + 1
"""More than the kernel gives to any process (PID_MAX_LIMIT)."""
API = "127.0.0.1:59001"
SLEEPS = "print('up', flush=True); sys.stdin.readline()"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program that says `up` in its first line; it is ended with the test."""
    with contextlib.ExitStack() as stack:

        def start(code: str = SLEEPS, python: str = sys.executable, **environ: str) -> App:
            app = stack.enter_context(App("import sys\n" + code, clean_environ(**environ), python=python))
            assert app.line() == "up"
            return app

        yield start


@pytest.fixture
def family(start: Start) -> Iterator[tuple[App, int, int]]:
    """A parent, its child and its grandchild."""
    parent = start(
        "import os, signal\n"
        "if not (child := os.fork()):\n"
        "    if not os.fork(): signal.pause()\n"
        "    signal.pause()\n"
        "while not (text := open(f'/proc/{child}/task/{child}/children').read()): pass\n"
        "print('up', flush=True); print(child, text, flush=True); sys.stdin.readline()"
    )
    child, grandchild = (int(word) for word in parent.line().split())
    yield parent, child, grandchild
    for pid in (child, grandchild):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def pids(found: list[Stat]) -> set[int]:
    return {process.pid for process in found}


def note(app: App, path: Path, *, older: int = 0) -> str:
    """Leave what the wrapper leaves."""
    head, _, tail = Path(f"/proc/{app.process.pid}/stat").read_bytes().rpartition(b")")
    fields = tail.split()
    fields[19] = str(int(fields[19]) - older).encode()
    path.write_bytes(head + b") " + b" ".join(fields) + b"\n")
    return str(path)


# --- who belongs to the function -------------------------------------------------------------------------------------


def test_the_function_is_its_start_command_and_all_below(
    start: Start, family: tuple[App, int, int], tmp_path: Path
) -> None:
    """No other process, even of the same user."""
    parent, child, grandchild = family
    other = start()
    found = function_tree(note(parent, tmp_path / "start-command"), "/opt/extensions", UID)
    assert pids(found) == {parent.process.pid, child, grandchild}
    assert other.process.pid not in pids(found)


@pytest.mark.parametrize("what", ["a pipe", "an endless device", "a folder"])
def test_what_is_put_in_the_place_of_the_start_command_does_not_stop_us(tmp_path: Path, what: str) -> None:
    """Whatever it contains, it counts as no file."""
    path = tmp_path / "start-command"
    if what == "a pipe":
        os.mkfifo(path)
    elif what == "a folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    assert read_start_command(str(path)) == b""
    with pytest.raises(SignalError, match="does not say which process"):
        candidates(str(path), (), (), 40)


def test_a_child_that_has_ended_does_not_count(start: Start, tmp_path: Path) -> None:
    """Although its parent has not asked for its status."""
    parent = start(
        "import os\nif not (child := os.fork()): os._exit(0)\n"
        "os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)\n" + SLEEPS
    )
    found = function_tree(note(parent, tmp_path / "start-command"), "/opt/extensions", UID)
    assert pids(found) == {parent.process.pid}


def test_a_daemon_of_the_start_command_belongs_to_it(
    monkeypatch: pytest.MonkeyPatch, start: Start, tmp_path: Path
) -> None:
    """It has another parent; what Lambda gave the runtime alone tells where it is from. An agent has not got that."""
    # Simulations in this process have made it adopt daemons, which an extension does not (PR_SET_CHILD_SUBREAPER).
    ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", API)
    daemonise = (
        "import os, signal\nread, write = os.pipe()\n"
        "if not (child := os.fork()):\n"
        "    daemon = os.fork()\n"
        "    if daemon: os.write(write, b'%d' % daemon); os._exit(0)\n"
        "    signal.pause()\n"
        "os.waitpid(child, 0)\nprint('up', flush=True); print(os.read(read, 9).decode(), flush=True)\n"
        "sys.stdin.readline()"
    )
    function = start(daemonise, AWS_LAMBDA_RUNTIME_API=API, _HANDLER="run.sh")
    agent = start(daemonise, AWS_LAMBDA_RUNTIME_API=API)
    foreign = start(daemonise, AWS_LAMBDA_RUNTIME_API="127.0.0.1:1", _HANDLER="run.sh")
    daemons = [int(app.line()) for app in (function, agent, foreign)]
    try:
        found = function_tree(note(function, tmp_path / "start-command"), "/opt/extensions", UID)
        assert pids(found) == {function.process.pid, daemons[0]}
    finally:
        for daemon in daemons:
            os.kill(daemon, signal.SIGKILL)


def test_a_kernel_thread_is_of_no_function(monkeypatch: pytest.MonkeyPatch, start: Start, tmp_path: Path) -> None:
    """In a container none can be seen; one is played by a process whose flags say so."""
    app = start()
    path = f"/proc/{app.process.pid}/stat"
    real = processes.read

    def read(asked: str) -> bytes:
        text = real(asked)
        if asked != path:
            return text
        head, _, tail = text.rpartition(b")")
        fields = tail.split()
        fields[6] = b"%d" % (int(fields[6]) | 0x00200000)
        return head + b") " + b" ".join(fields)

    assert app.process.pid in pids(function_tree(str(tmp_path / "none"), "/opt/extensions", UID))
    monkeypatch.setattr(processes, "read", read)
    assert app.process.pid not in pids(function_tree(str(tmp_path / "none"), "/opt/extensions", UID))


@pytest.mark.parametrize("file", ["missing", "torn", "another's pid", "a pipe"])
def test_without_a_start_command_the_function_is_everybody_but_the_extensions(
    monkeypatch: pytest.MonkeyPatch, start: Start, family: tuple[App, int, int], tmp_path: Path, file: str
) -> None:
    """An extension is left out with all that it has started, and so are we ourselves and what started us."""
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", API)
    extensions = tmp_path / "extensions"
    extensions.mkdir()
    (extensions / "agent").symlink_to(sys.executable)
    agent = start(
        "import subprocess\nout = subprocess.DEVNULL\nchild = subprocess.Popen(['cat'], stdout=out, stderr=out)\n"
        "print('up', flush=True)\n"
        "print(child.pid, flush=True); sys.stdin.readline(); child.kill(); child.wait()",
        python=str(extensions / "agent"),
    )
    elsewhere = start(AWS_LAMBDA_RUNTIME_API=API)  # a script in that folder has executed it
    parent, child, grandchild = family
    app = start(AWS_LAMBDA_RUNTIME_API=API, _HANDLER="run.sh")
    path = tmp_path / "start-command"
    if file == "torn":
        path.write_bytes(b"7 (bash) S 1\n")
    elif file == "another's pid":
        note(parent, path, older=1)
    elif file == "a pipe":
        os.mkfifo(path)
    found = pids(function_tree(str(path), f"{extensions}/", UID))
    assert {parent.process.pid, child, grandchild, app.process.pid} <= found
    assert not found & {agent.process.pid, int(agent.line()), elsewhere.process.pid}
    assert not found & {os.getpid(), *processes.ancestors(os.getpid())}
    agent.end()


def test_a_process_of_another_user_is_not_of_the_function(start: Start, tmp_path: Path) -> None:
    """Without a file that names the start command."""
    app = start()
    assert app.process.pid in pids(function_tree(str(tmp_path / "none"), "/opt/extensions", UID))
    assert function_tree(str(tmp_path / "none"), "/opt/extensions", UID + 1) == []


OUTSIDE = """
import os, subprocess
def start(**env):
    code = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"
    return subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE)
children = start(), start(AWS_LAMBDA_RUNTIME_API=API, _HANDLER="run.sh")
print("up", flush=True)
print(*[int(child.stdout.readline()) for child in children], flush=True)
look = (
    f"import os, sys; sys.path[:0] = {PATH!r}; from snapext_extension.kernel import tree; "
    "print(*[s.pid for s in tree.function_tree('/none', '/opt/extensions', os.geteuid())])"
)
platform = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {look!r}]))"
subprocess.run([sys.executable, "-c", platform], env={"AWS_LAMBDA_RUNTIME_API": API}, check=True)
sys.stdin.read()
"""


def test_a_process_outside_of_the_environment_is_not_of_the_function(start: Start) -> None:
    """A developer runs other programs too: one started by neither our parent nor our platform is not the function's."""
    outer = start(f"API, PATH = '127.0.0.1:{os.getpid()}', {sys.path!r}\n{OUTSIDE}")
    stranger, ours = outer.line().split()
    assert stranger != ours
    assert outer.line() == ours


def test_a_process_that_cannot_be_looked_at_is_of_nobody() -> None:
    """It has ended: every look then has an empty answer."""
    assert processes.stat(NOBODY) is None
    assert command(NOBODY) == ()
    assert executable(NOBODY) == ""
    assert environment(NOBODY) == {}
    assert held_by(NOBODY) == frozenset()
    assert not at_rest(NOBODY)
    assert not accepts(NOBODY, (1,))
    assert not is_python(NOBODY)
    assert not processes.catches(NOBODY, 10)


def test_without_a_descriptor_to_spare_every_look_is_empty() -> None:
    """It raises nothing: an extension that is out of descriptors has other things to say."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.uname(), os.getppid()
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        seen = (
            function_tree("/none", "/opt/extensions", UID),
            processes.stat(os.getpid()),
            (command(os.getpid()), environment(os.getpid()), at_rest(os.getpid())),
            (listening_inodes(1), all_listening_inodes(), held_by(os.getpid())),
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert seen == ([], None, ((), {}, False), (frozenset(), frozenset(), frozenset()))


# --- what a process is ---------------------------------------------------------------------------------------------


def test_a_process_tells_its_command_line_and_its_program(start: Start) -> None:
    """And what it was started with."""
    app = start(KEY="a=b")
    pid = app.process.pid
    assert command(pid) == (sys.executable, "-c", "import sys\n" + SLEEPS)
    assert executable(pid) == os.path.realpath(sys.executable)
    assert environment(pid)["KEY"] == "a=b"
    assert "" not in environment(pid)


def test_a_program_whose_file_is_gone_still_has_its_name(tmp_path: Path) -> None:
    """An update in place, or a file that deletes itself."""
    path = tmp_path / "python3.12"
    shutil.copy(shutil.which("sleep") or "", path)
    with subprocess.Popen([path, "60"]) as child:
        wait_until(lambda: executable(child.pid) == str(path))
        path.unlink()
        assert Path(f"/proc/{child.pid}/exe").readlink().name.endswith("(deleted)")
        assert executable(child.pid) == str(path)
        child.kill()


def test_python_is_told_from_other_programs(start: Start, tmp_path: Path) -> None:
    """By its name; and under another name, like uWSGI's, by the libraries that it has loaded."""
    renamed = tmp_path / "server"
    shutil.copy(os.path.realpath(sys.executable), renamed)
    env = {"PYTHONHOME": sys.base_prefix, "LD_LIBRARY_PATH": f"{sys.base_prefix}/lib"}
    assert is_python(start().process.pid)
    assert is_python(start("import _ctypes\n" + SLEEPS, python=str(renamed), **env).process.pid)
    with subprocess.Popen(["sleep", "60"]) as child:
        wait_until(lambda: processes.program(child.pid) != Path(sys.executable).resolve().name)
        assert not is_python(child.pid)
        child.kill()


def test_a_process_has_started_when_it_did(start: Start, tmp_path: Path) -> None:
    """By the clock of the extension, and never later than that: who answered a check has started before it."""
    before_ms = time.monotonic() * 1000
    app = start()
    up_ms = time.monotonic() * 1000
    (seen,) = Looker(1, note(app, tmp_path / "start-command"), "/opt/extensions").look()
    assert before_ms - 20 <= seen.started_ms <= up_ms


# --- what it holds -------------------------------------------------------------------------------------------------

LISTENS = """
import os, socket
server = socket.create_server(("{host}", 0), family=socket.{family})
print("up", flush=True); print(server.getsockname()[1], os.fstat(server.fileno()).st_ino, flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", "AF_INET"), ("0.0.0.0", "AF_INET"), ("::1", "AF_INET6")])
def test_who_listens_on_a_port_is_known_by_its_socket(start: Start, host: str, family: str) -> None:
    """Whatever address it listens on. A connection to that port is no listener."""
    app = start(LISTENS.format(host=host, family=family))
    port, inode = (int(word) for word in app.line().split())
    with socket.create_connection(("127.0.0.1" if family == "AF_INET" else "::1", port)) as client:
        assert listening_inodes(port) == {inode}
        assert inode in held_by(app.process.pid)
        assert inode in all_listening_inodes()
        assert not listening_inodes(port) & held_by(os.getpid())
        assert os.fstat(client.fileno()).st_ino in held_by(os.getpid()) - all_listening_inodes()


def test_a_unix_socket_that_listens_is_seen(tmp_path: Path) -> None:
    """It is how a server behind a proxy may listen."""
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "a b.sock"))
        inode = os.fstat(server.fileno()).st_ino
        assert inode not in all_listening_inodes()
        server.listen()
        client.connect(str(tmp_path / "a b.sock"))
        assert inode in all_listening_inodes()
        assert os.fstat(client.fileno()).st_ino not in all_listening_inodes()


def test_a_forked_child_holds_what_its_parent_holds(start: Start) -> None:
    """Until it closes it: one socket, two holders."""
    app = start(
        "import os, signal, socket\nserver = socket.create_server(('127.0.0.1', 0))\n"
        "if not (child := os.fork()): signal.pause()\n"
        "print('up', flush=True); print(child, server.getsockname()[1], flush=True)\n"
        "sys.stdin.readline(); os.kill(child, 9)"
    )
    child, port = (int(word) for word in app.line().split())
    assert listening_inodes(port) == held_by(child) & held_by(app.process.pid)
    app.end()


# --- what it does --------------------------------------------------------------------------------------------------

WAITS = {
    "accept": "import socket\ns = socket.create_server(('127.0.0.1', 0))\nprint('up', flush=True)\ns.accept()",
    "asyncio": "import asyncio\nasync def main():\n    print('up', flush=True)\n    await asyncio.Event().wait()\n"
    "asyncio.run(main())",
    "select": "import os, select\nprint('up', flush=True)\nselect.select([os.pipe()[0]], [], [])",
    "sleep": "import time\nprint('up', flush=True)\ntime.sleep(60)",
    "join": "import threading\nprint('up', flush=True)\nthreading.Event().wait()",
    "wait": "import subprocess\nout = subprocess.DEVNULL\nchild = subprocess.Popen(['cat'], stdout=out, stderr=out)\n"
    "print('up', flush=True)\nchild.wait()",
    "pause": "import signal\nprint('up', flush=True)\nsignal.pause()",
    "sigwait": "import signal\nprint('up', flush=True)\nsignal.sigwait({signal.SIGUSR1})",
    "read": SLEEPS,
}
BURNS = "def burn():\n    while True: pass\n"


@pytest.mark.parametrize("code", WAITS.values(), ids=WAITS)
def test_a_process_that_waits_comes_to_rest(start: Start, code: str) -> None:
    """In whichever call a server waits."""
    app = start(code)
    assert wait_until(lambda: at_rest(app.process.pid))


SERVER = "import socket\nserver = socket.create_server(('127.0.0.1', 0))\n"
UP = "print('up', flush=True)\n"
ACCEPTS = {
    "accept": SERVER + UP + "server.accept()",
    "asyncio": "import asyncio\nasync def main():\n    server = await asyncio.start_server(print, '127.0.0.1', 0)\n"
    "    print('up', flush=True)\n    await server.serve_forever()\nasyncio.run(main())",
    "http.server": "from http.server import HTTPServer, BaseHTTPRequestHandler\n"
    f"server = HTTPServer(('127.0.0.1', 0), BaseHTTPRequestHandler)\n{UP}server.serve_forever()",
    "select": "import os, select\n" + SERVER + UP + "select.select([server, os.pipe()[0]], [], [])",
    "select, many": "import os, select\n"
    + SERVER
    + "os.dup2(server.fileno(), 130)\nserver.close()\n"
    + UP
    + "select.select([130], [], [])",
    "poll": "import os, select\n" + SERVER + UP + "p = select.poll()\np.register(os.pipe()[0])\np.register(server)\n"
    "p.poll()",
}
IMPORTS = {
    "sleep": SERVER + "import time\n" + UP + "time.sleep(60)",
    "recv": SERVER + "ours, theirs = socket.socketpair()\n" + UP + "ours.recv(1)",
    "recv with a timeout": SERVER + "ours, theirs = socket.socketpair()\nours.settimeout(60)\n" + UP + "ours.recv(1)",
    "another socket": SERVER + "import select\npair = socket.socketpair()\n" + UP + "select.select(pair[:1], [], [])",
    "another loop": SERVER + "import asyncio\nasync def main():\n    print('up', flush=True)\n"
    "    await asyncio.Event().wait()\nasyncio.run(main())",
    "writes": SERVER + "import select\n" + UP + "p = select.poll()\np.register(server, select.POLLPRI)\np.poll()",
    "a thread": SERVER + "import threading\n" + UP + "threading.Event().wait()",
}  # fmt: skip


@pytest.mark.parametrize("code", ACCEPTS.values(), ids=ACCEPTS)
def test_a_server_that_has_started_waits_for_connections(start: Start, code: str) -> None:
    """In whichever way its main thread does it."""
    app = start(code)
    assert wait_until(lambda: accepts(app.process.pid, all_listening_inodes()))
    assert not accepts(app.process.pid, ())


@pytest.mark.parametrize("code", IMPORTS.values(), ids=IMPORTS)
def test_what_an_import_may_wait_for_is_no_connection(start: Start, code: str) -> None:
    """Although it holds a socket that listens, as a forked worker does before it serves."""
    app = start(code)
    pid = app.process.pid
    wait_until(lambda: at_rest(pid))
    assert all_listening_inodes() & held_by(pid)
    assert not any(accepts(pid, all_listening_inodes()) for _ in range(20))


def test_a_process_that_waits_is_at_rest_again_after_it_was_stopped(start: Start) -> None:
    """The kernel resumes some calls under another number. While it is stopped it is not at rest."""
    app = start("import select, time\nprint('up', flush=True)\nselect.poll().poll(60_000)")
    pid = app.process.pid
    wait_until(lambda: at_rest(pid))
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: (seen := processes.stat(pid)) is not None and seen.state == "T")
    assert not at_rest(pid)
    os.kill(pid, signal.SIGCONT)
    assert wait_until(lambda: at_rest(pid))


def test_a_process_that_computes_is_never_at_rest(start: Start) -> None:
    """However often we look; other threads of its may wait."""
    app = start(BURNS + "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
                "print('up', flush=True)\nburn()")  # fmt: skip
    wait_until(lambda: not at_rest(app.process.pid))
    assert not any(at_rest(app.process.pid) for _ in range(2_000))


def test_a_process_whose_import_computes_is_never_at_rest(start: Start, tmp_path: Path) -> None:
    """Although it gets next to nothing of the CPU, as under a limit: it is runnable, not waiting."""
    (tmp_path / "heavy.py").write_text(BURNS + "print('up', flush=True)\nburn()\n")
    app = start(f"import os\nos.nice(19)\nsys.path.insert(0, {str(tmp_path)!r})\nimport heavy")
    wait_until(lambda: not at_rest(app.process.pid))
    assert not any(at_rest(app.process.pid) for _ in range(2_000))


def test_a_process_whose_main_thread_waits_for_its_turn_is_never_at_rest(start: Start) -> None:
    """Another thread of it runs Python meanwhile, as ours may during an import: main sleeps, and has work to do."""
    app = start(BURNS + "import threading\nthreading.Thread(target=burn, daemon=True).start()\n"
                "print('up', flush=True)\nburn()")  # fmt: skip
    pid = app.process.pid
    wait_until(lambda: (seen := processes.stat(pid)) is not None and seen.state == "S")
    assert not any(at_rest(pid) for _ in range(2_000))


def test_a_main_thread_that_waits_for_its_turn_goes_to_sleep_again_and_again(start: Start) -> None:
    """So no two looks, a tenth of a second apart, can take its wait for that of a server."""
    app = start(BURNS + "import threading\nthreading.Thread(target=burn, daemon=True).start()\n"
                "print('up', flush=True)\nburn()")  # fmt: skip
    before = threads.times_slept(app.process.pid)
    assert before >= 0
    assert wait_until(lambda: threads.times_slept(app.process.pid) > before)


def test_a_process_whose_other_threads_compute_is_at_rest_by_its_main_thread(start: Start) -> None:
    """A server that waits in main while a pool works: its wait has lasted from one look to the next."""
    app = start(BURNS + "import threading\nthreading.Thread(target=burn, daemon=True).start()\n"
                "print('up', flush=True)\nthreading.Event().wait()")  # fmt: skip
    slept = [-1]
    assert wait_until(
        lambda: at_rest(app.process.pid, slept[0]) or slept.insert(0, threads.times_slept(app.process.pid))
    )
