"""AWS's own snapshot_restore_py: registering with it does what registering with snapext does."""

from __future__ import annotations

import pytest

from clients import READ, Start
from helpers import AFTER, BEFORE, Listener
from snapext.wire.messages import HookCounts, Hooks

pytest.importorskip("snapshot_restore_py")

NAMES = "from snapshot_restore_py import register_after_restore, register_before_snapshot\n"
ORDERS = {"ours first": f"import snapext\n{NAMES}", "theirs first": f"{NAMES}import snapext\n"}
LATER = """
import importlib.abc, sys
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "snapshot_restore_py": raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
import snapext
del sys.meta_path[0]
snapext.register_before_snapshot(print, "ours", flush=True)
from snapshot_restore_py import register_after_restore, register_before_snapshot
"""
BOTH = pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)


@BOTH
def test_the_first_hook_starts_the_link(listener: Listener, start: Start, order: str):
    """Where importing alone has not linked the process, a hook does, whichever module it is registered with."""
    unlinked = "import os; path = os.environ.pop('SNAPEXT_SOCKET'); del os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']\n"
    app = start(
        unlinked + order + "os.environ['SNAPEXT_SOCKET'] = path\n"
        "print(len(os.listdir('/proc/self/task')), flush=True)\n"
        "register_after_restore(print)\nimport sys; sys.stdin.readline()"
    )
    assert app.line() == "1"

    assert listener.accept().greet().pid == app.process.pid


@BOTH
def test_each_hook_is_told(listener: Listener, start: Start, order: str):
    """The extension hears of hooks that are registered later, without waiting for a phase."""
    app = start(
        order + "import sys\nregister_before_snapshot(int)\nsys.stdin.readline()\n"
        "register_before_snapshot(int)\nregister_after_restore(int)\nsys.stdin.readline()"
    )
    peer = listener.accept()
    peer.greet()
    app.go()
    while peer.next(Hooks).hooks != HookCounts(2, 1):
        pass


LIFESPAN = """
import asyncio, sys
loops = []
async def hook(): loops.append(asyncio.get_running_loop())
async def app(scope, receive, send):
    await receive()
    register_before_snapshot(hook)
    register_after_restore(hook)
    await send({"type": "lifespan.startup.complete"})
    while len(loops) < 2: await asyncio.sleep(0.01)
    print([loop is asyncio.get_running_loop() for loop in loops], flush=True)
    await receive()
import uvicorn
uvicorn.run(app, port=0, log_level="error")
"""


@BOTH
def test_an_async_hook_of_a_lifespan_runs_on_the_apps_loop(listener: Listener, start: Start, order: str):
    """A pool that it makes belongs to the loop on which requests are served."""
    app = start(order + LIFESPAN)
    peer = listener.accept()
    peer.greet()
    while peer.next(Hooks).hooks != HookCounts(1, 1):
        pass
    assert peer.ask(BEFORE).ok
    assert peer.ask(AFTER).ok

    assert app.line() == "[True, True]"


def test_a_module_that_is_found_only_later_shares_the_lists_too(listener: Listener, start: Start):
    """Hooks registered before with ours and afterwards with theirs run in one order."""
    app = start(
        LATER + "snapext.connect()\nregister_before_snapshot(print, 'theirs', flush=True)" + "\nimport sys" + READ
    )
    peer = listener.accept()
    peer.greet()
    assert len(peer.ask(BEFORE).hooks) == 2

    assert [app.line(), app.line()] == ["theirs", "ours"]


@BOTH
def test_their_functions_look_and_return_as_before(start: Start, order: str):
    """Their code, signature and documentation are theirs, they return the function, and the lists are lists."""
    app = start(
        order
        + """
import inspect, snapshot_restore_py as theirs
for name in ("register_before_snapshot", "register_after_restore"):
    function = getattr(theirs, name)
    assert function is globals()[name]
    assert inspect.getsource(function).startswith(f"def {name}(func")
    assert list(inspect.signature(function).parameters) == ["func", "args", "kwargs"]
    assert function.__module__ == "snapshot_restore_py" and "Register a function" in function.__doc__
    @function
    def hook(): return 42
    assert hook() == 42
assert isinstance(theirs.get_before_snapshot(), list)
assert theirs.get_before_snapshot() is theirs.get_before_snapshot() is snapext.get_before_snapshot()
func, args, kwargs = theirs.get_after_restore().pop()
assert (args, kwargs, snapext.get_after_restore()) == ((), {}, [])
import copy, pickle
assert copy.copy(theirs.get_before_snapshot()) == theirs.get_before_snapshot()
print("as before")
"""
    )

    assert app.end() == ("as before\n", "")


OTHERWISE = """
class Hooks:
    before, after = [], []
def get_before_snapshot(): return Hooks.before
def get_after_restore(): return Hooks.after
def register_before_snapshot(func, *args, **kwargs):
    "Theirs."
    Hooks.before.append((func, args, kwargs)); return func
def register_after_restore(func, *args, **kwargs): Hooks.after.append((func, args, kwargs)); return func
"""


def test_a_module_that_keeps_its_lists_in_another_way_is_wrapped(tmp_path, listener: Listener, start: Start):
    """A later version of theirs may; each hook is still reported, and the wrapper names the function that it wraps."""
    (tmp_path / "snapshot_restore_py.py").write_text(OTHERWISE)
    app = start(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport snapext\n"
        "from snapshot_restore_py import register_before_snapshot, register_after_restore\n"
        "snapext.connect(); snapext.connect()\n"
        "print(register_before_snapshot.__doc__, register_before_snapshot.__wrapped__.__name__, flush=True)\n"
        "sys.stdin.readline()\n"
        "assert register_before_snapshot(int) is int; snapext.register_before_snapshot(int)\n"
        "register_after_restore(int)\nsys.stdin.readline()"
    )
    peer = listener.accept()
    peer.greet()
    assert app.line() == "Theirs. register_before_snapshot"
    app.go()
    while peer.next(Hooks).hooks != HookCounts(2, 1):
        pass
