"""uWSGI forks in C and tells Python nothing. It needs a compiler to install, so its module here is one of ours."""

from __future__ import annotations

from clients import HOOKS, Start
from helpers import BEFORE, Listener
from snapext.wire.messages import HookCounts

UWSGI = """
import ctypes, os, sys, types
uwsgi = sys.modules["uwsgi"] = types.ModuleType("uwsgi")
uwsgi.number, uwsgi.master = 0, os.getpid()
uwsgi.worker_id = lambda: uwsgi.number
uwsgi.masterpid = lambda: uwsgi.master
called = []
uwsgi.post_fork_hook = lambda: called.append("theirs")
def threads(): return len(os.listdir("/proc/self/task"))
def fork():
    child = ctypes.PyDLL(None).fork()  # holds the lock of the interpreter, and calls no hook of Python's
    if child == 0:
        uwsgi.number = 1
        uwsgi.post_fork_hook()
        sys.stdin.readline()
        os._exit(0)
    return child
"""


def test_the_master_has_no_thread_and_each_worker_is_linked(listener: Listener, start: Start):
    """A thread that wants the interpreter's lock while the master forks would hang the worker."""
    app = start(
        UWSGI
        + HOOKS
        + "snapext.connect()\nchild = fork()\nsay(child, threads())\nsys.stdin.readline(); os.kill(child, 9)\nos.wait()"
    )
    peer = listener.accept()
    hello = peer.greet()
    child, threads = app.line().split()

    assert (hello.pid, hello.forked, hello.hooks) == (int(child), True, HookCounts(1, 1))
    assert threads == "1"
    assert peer.ask(BEFORE).ok


def test_a_hook_of_the_apps_own_is_called_first(listener: Listener, start: Start):
    """The existing hook is kept, and ours is added once."""
    app = start(
        UWSGI + HOOKS + "snapext.connect(); snapext.register_after_restore(print)\n"
        "before = threads()\nuwsgi.number = 1; uwsgi.post_fork_hook()\nsay(called, before)\nsys.stdin.readline()"
    )

    assert listener.accept().greet().pid == app.process.pid
    assert app.line() == "['theirs'] 1"


def test_the_chain_of_its_decorators_is_used(listener: Listener, start: Start):
    """uwsgidecorators sets the hook for itself, and calls the functions in its list."""
    app = start(
        "import sys, types\nchain = sys.modules['uwsgidecorators'] = types.ModuleType('uwsgidecorators')\n"
        "chain.postfork_chain = []" + UWSGI + HOOKS + "uwsgi.number = 1\n"
        "for hook in chain.postfork_chain: hook()\nsys.stdin.readline()"
    )

    assert listener.accept().greet().pid == app.process.pid


def test_a_worker_that_loads_the_app_itself_is_linked_at_once(listener: Listener, start: Start):
    """With --lazy-apps there is nothing to wait for."""
    app = start(UWSGI + "uwsgi.number = 1" + HOOKS + "sys.stdin.readline()")

    assert listener.accept().greet().pid == app.process.pid


def test_a_fork_that_python_was_not_told_of_is_noticed_at_the_next_hook(listener: Listener, start: Start):
    """An app may have replaced uWSGI's hook: the child is still linked as a fork."""
    app = start(
        UWSGI
        + HOOKS
        + "uwsgi.post_fork_hook = lambda: (snapext.register_after_restore(print), snapext.connect())\n"
        + "child = fork()\nsay(child); sys.stdin.readline(); os.kill(child, 9)\nos.wait()"
    )
    hello = listener.accept().greet()

    assert (hello.pid, hello.forked, hello.hooks) == (int(app.line()), True, HookCounts(1, 2))
