"""A process whose main thread is in the middle of an import may be about to register more hooks."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from clients import HOOKS, WAIT, Start
from helpers import AFTER, BEFORE, Listener, Peer, wait_until
from snapext.wire.messages import BeforeSnapshot, Done, HookCounts, Hooks

HALF = HOOKS + "say('half'); sys.stdin.readline()\n"
LATE = "@snapext.register_before_snapshot\ndef late(): ran.append('late')\n"


@pytest.fixture
def import_app(tmp_path: Path) -> str:
    """Code that imports a module `app`, which waits for a line in its middle and registers one more hook then."""
    (tmp_path / "app.py").write_text(HALF + LATE)
    return f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import app\n"


def joined(listener: Listener) -> Peer:
    peer = listener.accept()
    assert peer.greet().importing
    return peer


def test_a_process_says_that_it_imports_and_when_that_is_over(listener: Listener, start: Start, import_app: str):
    """The hello says so; when the import ends, the counts come once more, with all hooks in them."""
    app = start(import_app + "sys.stdin.readline()")
    peer = joined(listener)
    assert app.line() == "half"
    app.go()
    while (last := peer.next(Hooks)).importing:
        pass

    assert last == Hooks(HookCounts(2, 1))
    assert peer.ask(BEFORE).ok


def test_the_end_of_an_import_is_told_although_no_hook_came(listener: Listener, start: Start, tmp_path: Path):
    """The extension waits for it, whether or not the counts have changed."""
    (tmp_path / "app.py").write_text("import snapext, sys; print('half', flush=True); sys.stdin.readline()")
    app = start(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import app\nsys.stdin.readline()")
    peer = joined(listener)
    assert app.line() == "half"
    app.go()

    assert peer.next(Hooks) == Hooks(HookCounts(0, 0))


def test_a_process_that_imports_nothing_says_nothing(listener: Listener, path: Path, start: Start):
    """The usual hello has no such field, and no message follows it."""
    path.parent.chmod(0o755)  # refused for now: the link is faster than the app's next line
    start(HOOKS + WAIT)
    path.parent.chmod(0o700)
    peer = listener.accept()
    assert not peer.greet().importing
    peer.ask(AFTER)

    assert not [message for message in peer.heard if isinstance(message, Hooks)]


def test_the_phase_waits_for_the_import_and_runs_the_hooks_registered_later(
    listener: Listener, start: Start, import_app: str
):
    """Told of the snapshot in the middle of its import, a process waits for the rest of its hooks."""
    app = start(import_app + "sys.stdin.readline(); print(app.ran)")
    peer = joined(listener)
    assert app.line() == "half"
    peer.send(BEFORE)
    app.go()

    assert [hook.name for hook in peer.next(Done).hooks] == ["app.late", "app.before"]
    assert app.end()[0] == "['late', 'before']\n"


HASTENED = """
from snapext.link import told
began, slept = told.monotonic(), []
told.sleep = slept.append
told.monotonic = lambda: began + sum(slept)
"""


def test_an_import_that_outlasts_the_phase_fails_it_and_is_named(listener: Listener, start: Start, import_app: str):
    """The hooks that are not registered yet would be lost; the phase has an answer before its time is over.

    By a clock that goes on as the link's thread sleeps: on a busy machine that thread wakes up late.
    """
    app = start(HASTENED + import_app)
    peer = joined(listener)
    assert app.line() == "half"
    done = peer.ask(BeforeSnapshot(1, 0, 20_000))

    assert done.error is not None
    assert (done.ok, done.hooks, done.error.type, done.error.hook) == (False, (), "StillImporting", None)
    assert "still importing app after 19000 ms" in done.error.message
    assert app.end()[0] == ""


def test_where_in_an_import_it_is_stuck_is_named(listener: Listener, start: Start, tmp_path: Path):
    """The module that was asked for and the one that it imports are both in the message."""
    (tmp_path / "app.py").write_text("import slow_models")
    (tmp_path / "slow_models.py").write_text(HALF)
    app = start(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import app")
    peer = joined(listener)
    assert app.line() == "half"
    done = peer.ask(BeforeSnapshot(1, 0, 200))

    assert done.error is not None
    assert "app (now in slow_models)" in done.error.message


def test_a_program_that_serves_from_within_an_import_is_not_waited_for(
    listener: Listener, start: Start, import_app: str
):
    """When the extension knows that it serves already, its hooks run at once."""
    app = start(import_app)
    peer = joined(listener)
    assert app.line() == "half"
    done = peer.ask(BeforeSnapshot(1, 0, 20_000, serving=True))

    assert (done.ok, [hook.name for hook in done.hooks]) == (True, ["app.before"])
    assert done.duration_ms < 5_000


def test_a_program_that_runs_from_within_an_import_is_not_looked_at_for_ever(
    listener: Listener, start: Start, import_app: str
):
    """After the restore nothing asks any more: its link's thread sleeps until a message comes."""
    app = start(import_app)
    peer = joined(listener)
    assert app.line() == "half"
    assert peer.ask(BEFORE.replace(serving=True)).ok
    assert peer.ask(AFTER).ok
    (thread,) = {entry.name for entry in Path(f"/proc/{app.process.pid}/task").iterdir()} - {str(app.process.pid)}
    wakes = Path(f"/proc/{app.process.pid}/task/{thread}/status")

    def has_rested() -> bool:
        before = wakes.read_text()
        time.sleep(0.5)  # ten looks, if there were any
        return wakes.read_text() == before

    assert wait_until(has_rested)


def test_a_restore_does_not_wait_for_an_import(listener: Listener, start: Start, import_app: str):
    """Lazy imports while requests are served must not delay a restore."""
    app = start(import_app)
    peer = joined(listener)
    assert app.line() == "half"

    assert peer.ask(AFTER).ok


def test_a_child_forked_by_a_thread_imports_nothing(listener: Listener, start: Start, tmp_path: Path):
    """In a child the thread that forked is the main one, whatever the parent's main thread was doing."""
    fork = """
import warnings; warnings.simplefilter("ignore")
def fork():
    if os.fork() == 0: threading.Event().wait(60)
thread = threading.Thread(target=fork); thread.start(); thread.join()
"""
    (tmp_path / "app.py").write_text(HOOKS + fork + "say('half'); sys.stdin.readline()\n")
    app = start(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import app")
    hellos = {hello.pid: hello for hello in (listener.accept().greet(), listener.accept().greet())}  # in either order
    parent = hellos.pop(app.process.pid)
    ((pid, child),) = hellos.items()
    os.kill(pid, signal.SIGKILL)

    assert (parent.forked, parent.importing) == (False, True)
    assert (child.forked, child.importing) == (True, False)


FORKED_IN_AN_IMPORT = """
def work(): import slow
def pool(task):
    child = os.fork()
    if child == 0: task(); os._exit(0)
def daemonize():
    return os.fork() == 0
"""
ONE_THAT_IMPORTS = {
    "a daemon": "if daemonize(): threading.Event().wait(60)",
    "a daemon that imports more": "if daemonize(): import slow",
    "a pool's process that imports": "pool(work)",
}


def forked_in_an_import(listener: Listener, start: Start, folder: Path, code: str) -> tuple[Peer, int]:
    """A child that was forked while an app was imported, which goes on in the parent."""
    (folder / "slow.py").write_text("import threading; threading.Event().wait(60)")
    (folder / "app.py").write_text(HOOKS + FORKED_IN_AN_IMPORT + code + "\nsay('half'); sys.stdin.readline()\n")
    start(f"import sys; sys.path.insert(0, {str(folder)!r}); import app")
    peers = [(peer, peer.greet()) for peer in (listener.accept(), listener.accept())]
    ((child, hello),) = [(peer, hello) for peer, hello in peers if hello.forked]
    return child, hello.pid


def test_a_pools_process_does_not_import_what_its_parent_does(listener: Listener, start: Start, tmp_path: Path):
    """It was forked in the middle of an import, to which it never returns: its hooks run at once."""
    peer, pid = forked_in_an_import(listener, start, tmp_path, "pool(threading.Event().wait)")
    done = peer.ask(BeforeSnapshot(1, 0, 20_000))
    os.kill(pid, signal.SIGKILL)

    assert (done.ok, [hook.name for hook in done.hooks]) == (True, ["app.before"])
    assert done.duration_ms < 5_000


@pytest.mark.parametrize("code", ONE_THAT_IMPORTS.values(), ids=ONE_THAT_IMPORTS)
def test_a_child_that_goes_on_with_an_import_is_waited_for(listener: Listener, start: Start, tmp_path: Path, code: str):
    """A daemon returns to the import that it was forked in; a pool's process may import what its work needs."""
    peer, pid = forked_in_an_import(listener, start, tmp_path, code)
    done = peer.ask(BeforeSnapshot(1, 0, 1_000))
    os.kill(pid, signal.SIGKILL)

    assert done.error is not None
    assert done.error.type == "StillImporting"
