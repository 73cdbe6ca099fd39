"""A notice for a person reaches standard error once, and never stops or ends the app."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clients import HOOKS, READ, READY, REPORT, Start
from helpers import BEFORE, LIMIT_S, SRC, Listener, clean_environ

SAY = "from snapext.guest import notice\n"
ONCE = "notice.once('kind', 'the line')\n"


def run(code: str, *, stderr: int = subprocess.PIPE) -> tuple[int, str, str]:
    """The lines of ours that a process printed, and how it ended."""
    done = subprocess.run(
        [sys.executable, "-c", f"import os, sys\n{SAY}{code}"],
        env=clean_environ(PYTHONPATH=str(SRC)),
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        timeout=LIMIT_S,
    )
    return done.returncode, done.stdout, done.stderr or ""


def test_each_kind_is_said_once():
    """A second line of a kind is not, one of another kind is."""
    code = "for i in range(3): notice.once('a', f'first {i}'); notice.once('b', f'second\\n{i}')"
    assert run(code) == (0, "", "snapext: first 0\nsnapext: second 0\n")


def test_the_lines_of_a_process_are_bounded():
    """However many kinds there are, and however long they get."""
    _, _, err = run("for i in range(1_000): notice.once(str(i), 'x' * 100_000)")
    lines = err.splitlines()

    assert 5 <= len(lines) <= 20
    assert max(map(len, lines)) < 4_096


@pytest.mark.parametrize(
    "how",
    [
        "import logging; logging.disable()",
        "import logging; logging.basicConfig(level=logging.CRITICAL)",
        "import logging; logging.getLogger('snapext').disabled = True",
        "sys.stderr = None",
        "sys.modules['logging'] = None",
    ],
)
def test_what_the_app_does_with_logging_changes_nothing(how: str):
    """It goes to the descriptor."""
    assert run(f"{how}\n{ONCE}") == (0, "", "snapext: the line\n")


def test_a_full_pipe_that_nobody_reads_stops_nobody():
    """The line is dropped, and said the next time that there is room."""
    read, write = os.pipe()
    code = (
        "os.set_blocking(2, False)\n"
        "try:\n    while True: os.write(2, b'x' * 4096)\n"
        "except BlockingIOError: pass\n"
        f"os.set_blocking(2, True)\n{ONCE}print('goes on', flush=True); sys.stdin.readline()\n{ONCE}"
    )
    with subprocess.Popen(
        [sys.executable, "-c", f"import os, sys\n{SAY}{code}"],
        env=clean_environ(PYTHONPATH=str(SRC)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=write,
    ) as app:
        os.close(write)
        assert app.stdout is not None
        assert app.stdin is not None
        assert app.stdout.readline() == b"goes on\n"
        os.set_blocking(read, False)
        while True:
            try:
                os.read(read, 1 << 20)
            except BlockingIOError:
                break
        app.stdin.write(b"\n")
        app.stdin.close()
        assert app.wait(LIMIT_S) == 0
    assert os.read(read, 1 << 20) == b"snapext: the line\n"
    os.close(read)


def test_a_pipe_without_a_reader_does_not_end_the_app():
    """Not even where SIGPIPE does what it does by default."""
    read, write = os.pipe()
    os.close(read)
    code = f"import signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n{ONCE}print('goes on')"
    assert run(code, stderr=write)[:2] == (0, "goes on\n")
    os.close(write)


def test_a_socket_whose_other_end_is_gone_does_not_end_the_app():
    """Standard error may be a socket, which cannot be opened once more."""
    code = (
        "import signal, socket; signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
        "ours, theirs = socket.socketpair(); os.dup2(ours.fileno(), 2); theirs.close()\n"
        f"{ONCE}print('goes on', signal.sigpending(), signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    )
    assert run(code)[:2] == (0, "goes on set() set()\n")


def test_a_closed_descriptor_is_no_error():
    """There is no reader."""
    assert run(f"os.close(2)\n{ONCE}print('goes on')") == (0, "goes on\n", "")


def test_a_file_of_the_app_that_has_taken_the_descriptor_is_not_written_to(tmp_path: Path):
    """An app that closes 2 gets that number for the next file that it opens."""
    file = tmp_path / "data"
    code = f"os.close(2)\nfile = open({str(file)!r}, 'wb')\nassert file.fileno() == 2\n{ONCE}print('goes on')"
    assert run(code)[:2] == (0, "goes on\n")
    assert file.read_bytes() == b""


def test_a_log_file_that_the_app_has_put_there_is_written_to(tmp_path: Path):
    """A daemon sends its standard error to a file."""
    file = tmp_path / "log"
    file.write_text("before\n")
    code = f"log = os.open({str(file)!r}, os.O_WRONLY | os.O_APPEND); os.dup2(log, 2)\n{ONCE}"
    assert run(code)[0] == 0
    assert file.read_text() == "before\nsnapext: the line\n"


def test_nothing_is_left_open():
    """The descriptor that a line is written through is closed."""
    assert (
        run(f"before = os.listdir('/proc/self/fd')\n{ONCE}print(before == os.listdir('/proc/self/fd'))")[1] == "True\n"
    )


# --- what is said ----------------------------------------------------------------------------------------------------


def test_hooks_registered_by_the_program_and_a_module_are_named(tmp_path: Path, listener: Listener, start: Start):
    """`python main.py` whose server imports "main:app" registers each hook twice: the first phase says so, once."""
    main = tmp_path / "main.py"
    main.write_text(
        HOOKS + "if __name__ == '__main__':\n    import main\n" + "    " + (READY + READ).replace("\n", "\n    ")
    )
    app = start(
        f"import runpy, sys; sys.path.insert(0, {str(tmp_path)!r}); runpy.run_path({str(main)!r}, run_name='__main__')"
    )
    assert app.line() == "ready"
    peer = listener.accept()
    peer.greet()
    assert len(peer.ask(BEFORE).hooks) == 2
    _, err = app.end()

    assert len(err.splitlines()) == 1
    assert f"({main}:" in err
    assert "is registered twice, from the modules __main__ and main" in err


def test_what_cannot_be_linked_is_said_where_an_extension_is_expected(tmp_path: Path, start: Start):
    """A part of ours is broken: the app keeps running, and its hooks are not lost without a message."""
    app = start("import sys; sys.modules['snapext.link.link'] = None" + HOOKS + REPORT)
    _, err = app.end()

    assert len(err.splitlines()) == 1
    assert f"process {app.process.pid} is not linked, and its hooks will not run: ModuleNotFoundError" in err


def test_what_cannot_be_linked_is_not_said_elsewhere(tmp_path: Path):
    """A developer's machine is not expected to have an extension."""
    assert run("sys.modules['snapext.link.link'] = None\nimport snapext\nsnapext.register_after_restore(print)") == (
        0,
        "",
        "",
    )
