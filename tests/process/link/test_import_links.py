"""`import snapext` links a process of the app where an extension is expected, and no process of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from clients import READ, Start
from helpers import LIMIT_S, ROOT, SRC, App, Listener, clean_environ
from snapext.wire.messages import HookCounts

IMPORT = "import snapext, sys" + READ


@pytest.mark.parametrize("initialization", ["snap-start", "on-demand"])
def test_importing_links_where_a_socket_is_named(listener: Listener, start: Start, initialization: str):
    """SNAPEXT_SOCKET is set by our wrapper and by `snapext simulate`."""
    app = start(IMPORT, AWS_LAMBDA_INITIALIZATION_TYPE=initialization)
    hello = listener.accept().greet()

    assert (hello.pid, hello.hooks) == (app.process.pid, HookCounts(0, 0))


def test_importing_links_under_snap_start(start: Start, tmp_path: Path):
    """The socket has a default then."""
    app = start(
        "import os; del os.environ['SNAPEXT_SOCKET']\nimport snapext\nprint(len(os.listdir('/proc/self/task')))"
    )

    assert app.end() == ("2\n", "")


def test_a_module_of_ours_links_as_well(listener: Listener, start: Start):
    """Whatever of snapext the app imports first."""
    start("from snapext.errors import SnapextError\nimport sys" + READ)
    listener.accept().greet()


OURS = {
    "marked by its launcher": ["-c", "import sys; sys._snapext_own = True; import snapext" + READ],
    "isolated and marked": [
        "-I",
        "-S",
        "-c",
        f"import sys; sys._snapext_own = True; sys.path.insert(0, {str(SRC)!r}); import snapext.command.main" + READ,
    ],
    "the extension": ["-c", "import sys, snapext_extension, snapext.wire" + READ],
    "an extension that is just being imported": ["-c", "import sys, snapext_extension.config" + READ],
    "a module of ours": ["-m", "snapext_tools.simulator.adapter", "--wait"],
    "our command as a module": ["-m", "snapext", "--help"],
    "with an option before it": ["-Wignore", "-m", "snapext", "--help"],
    "in one word": ["-msnapext", "--help"],
    "in one word with a switch": ["-um", "snapext", "--help"],
    "our command": [str(Path(sys.executable).parent / "snapext"), "--help"],
}


@pytest.mark.parametrize("arguments", OURS.values(), ids=OURS)
def test_a_process_of_ours_is_not_linked(listener: Listener, path: Path, arguments: list[str]):
    """Neither the extension nor a command is a process of the app; not even connect() changes that."""
    env = clean_environ(
        PYTHONPATH=f"{SRC}:{ROOT / 'extension'}", SNAPEXT_SOCKET=str(path), AWS_LAMBDA_INITIALIZATION_TYPE="snap-start"
    )
    done = subprocess.run(
        [sys.executable, *arguments], env=env, input="", capture_output=True, text=True, timeout=LIMIT_S
    )
    listener.server.settimeout(0)
    with pytest.raises(BlockingIOError):
        listener.server.accept()
    assert "Traceback" not in done.stderr


def test_connect_does_not_link_a_process_of_ours(listener: Listener, path: Path, start: Start):
    """The autostart calls it in each process that imports snapext."""
    start("import sys; sys._snapext_own = True\nimport snapext\nsnapext.connect()\nprint('connected')").end()
    listener.server.settimeout(0)
    with pytest.raises(BlockingIOError):
        listener.server.accept()


@pytest.mark.parametrize("arguments", [["-m", "app"], ["-mapp", "snapext"], ["app.py", "-m", "snapext"]])
def test_an_app_is_not_taken_for_one_of_ours(
    listener: Listener, path: Path, tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
):
    """Not even if it is started like one, or has our name among its arguments."""
    (tmp_path / "app.py").write_text(IMPORT)
    monkeypatch.chdir(tmp_path)
    env = clean_environ(PYTHONPATH=f"{SRC}:{tmp_path}", SNAPEXT_SOCKET=str(path))
    with subprocess.Popen([sys.executable, *arguments], env=env, stdin=subprocess.PIPE) as process:
        assert listener.accept().greet().pid == process.pid
        process.communicate(b"\n", timeout=LIMIT_S)


def test_importing_twice_is_linked_once(listener: Listener, start: Start):
    """By import, by connect(), by a hook: it is one connection."""
    app = start(
        "import importlib, sys, snapext; snapext.connect(); snapext.register_after_restore(int)\n"
        "importlib.reload(snapext); print('linked', flush=True)" + READ
    )
    listener.accept().greet()
    assert app.line() == "linked"
    assert isinstance(app, App)
    listener.server.settimeout(0.2)
    with pytest.raises(TimeoutError):
        listener.server.accept()
