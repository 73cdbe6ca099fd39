"""snapext.testing: the boundary in a test, sync and async, and that the test leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
import unittest
import warnings

import pytest

import snapext
from helpers import LIMIT_S, wait_until
from phases import no_hooks
from snapext.hooks import loops
from snapext.integrations import frame, table
from snapext.link import linking
from snapext.testing import Boundary, HookFailedError, SnapStart, arun_boundary, run_boundary


@pytest.fixture(autouse=True)
def nothing_registered():
    """No hooks when a test begins; what it leaves is for it to say."""
    with no_hooks():
        yield


@pytest.fixture
def snapstart():
    with SnapStart() as snapstart:
        yield snapstart


@pytest.fixture
def anyio_backend():
    return "asyncio"


def raise_(error):
    raise error


# --- what runs, where ------------------------------------------------------------------------------------------------


def test_both_phases_run_in_the_order_of_a_function(snapstart):
    """Before the snapshot the last hook first, after the restore in order; in the test's own thread; all are named."""
    ran = []

    def close(number):
        ran.append((number, threading.get_ident()))

    async def reopen():
        ran.append(await asyncio.sleep(0, "reopen"))

    for number in (1, 2):
        snapext.register_before_snapshot(close, number)
    snapext.register_after_restore(reopen)
    snapext.register_after_restore(close, 3)
    here = threading.get_ident()
    names = [
        f"{__name__}.{test_both_phases_run_in_the_order_of_a_function.__name__}.<locals>.{n}"
        for n in ("close", "reopen")
    ]

    assert snapstart.run() == Boundary((names[0], names[0]), (names[1], names[0]))
    assert ran == [(2, here), (1, here), "reopen", (3, here)]


def test_each_phase_alone(snapstart):
    """A second restore is another clone: its hooks run again, and its environment id is another."""
    ran = []
    snapext.register_before_snapshot(ran.append, "before")
    snapext.register_after_restore(lambda: ran.append(snapext.status().environment_id))
    snapstart.before_snapshot()
    assert ran == ["before"]
    snapstart.after_restore()
    snapstart.after_restore()
    assert len(set(ran)) == 3
    assert snapext.status().environment_id == ran[-1]


@pytest.mark.anyio
async def test_async_hooks_run_on_the_tests_loop(snapstart):
    """And a plain one may drive a loop of its own, as it may in a function."""
    ran = []

    async def opens():
        ran.append(asyncio.get_running_loop())

    def drives():
        asyncio.run(opens())

    for hook in (opens, drives, opens):
        snapext.register_after_restore(hook)
    await snapstart.arun()
    here = asyncio.get_running_loop()

    assert [loop is here for loop in ran] == [True, False, True]


@pytest.mark.anyio
async def test_the_loop_goes_on_meanwhile(snapstart):
    """An async hook may wait for another task of the test."""
    opened = asyncio.Event()
    snapext.register_before_snapshot(opened.wait)
    opening = asyncio.get_running_loop().create_task(_set_soon(opened))
    await snapstart.abefore_snapshot()
    await opening
    await snapstart.aafter_restore()


async def _set_soon(event):
    await asyncio.sleep(0)
    event.set()


@pytest.mark.anyio
async def test_a_running_loop_has_to_be_awaited_on(snapstart):
    """`run()` there would wait for the loop, which waits for it."""
    with pytest.raises(RuntimeError, match=r"`await` arun\(\)"):
        snapstart.run()


def test_another_kind_of_loop_is_refused(snapstart):
    """Trio's say: no hook of snapext would run on it in a function."""
    with pytest.raises(RuntimeError, match="no asyncio loop runs here"):
        snapstart.arun().send(None)


class Stdlib(unittest.IsolatedAsyncioTestCase):
    """Without pytest's fixtures."""

    def setUp(self):
        self.snapstart = self.enterContext(SnapStart())

    async def test_in_the_standard_librarys_test_case(self):
        """The context manager is enough."""
        loops_seen = []

        async def hook():
            loops_seen.append(asyncio.get_running_loop())

        snapext.register_after_restore(hook)
        await self.snapstart.arun()
        await arun_boundary()
        assert loops_seen == [asyncio.get_running_loop()] * 2


def test_async_hooks_go_to_the_loop_that_the_app_has_bound(snapstart):
    """A server in another thread of the test keeps them, as in a function."""
    seen = []

    async def hook():
        seen.append(asyncio.get_running_loop())

    async def serve(ready, stop):
        snapext.bind_loop()
        ready.set()
        await stop.wait()

    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(ready, stop),))
    thread.start()
    assert ready.wait(LIMIT_S)
    snapext.register_after_restore(hook)
    snapstart.run()
    loop.call_soon_threadsafe(stop.set)
    thread.join(LIMIT_S)
    loop.close()
    assert seen == [loop]


# --- failures --------------------------------------------------------------------------------------------------------


def _failing(error):
    async def opens():
        await asyncio.sleep(0)
        raise error

    def closes():
        raise error

    return opens, closes


@pytest.mark.parametrize("hook", [0, 1], ids=["async", "plain"])
def test_a_failure_names_the_hook_and_has_what_it_raised(snapstart, hook):
    """The same object, whose stack begins at the hook."""
    error = ConnectionError("no database")
    hook = snapext.register_before_snapshot(_failing(error)[hook])
    with pytest.raises(
        HookFailedError, match=rf"the before_snapshot hook .*{hook.__name__} failed after \d+ ms: Co.*no da"
    ) as caught:
        snapstart.run()
    assert caught.value.__cause__ is error
    assert (caught.value.phase, caught.value.hook.rpartition(".")[2]) == ("before_snapshot", hook.__name__)
    assert error.__traceback__.tb_frame.f_code is hook.__code__
    assert not snapext.is_restored()


@pytest.mark.anyio
async def test_a_failure_on_the_tests_loop_is_the_same(snapstart):
    """After the restore; the environment is not restored then."""
    for hook in _failing(KeyError("k")):
        snapext.get_after_restore().clear()
        snapext.register_after_restore(hook)
        with pytest.raises(HookFailedError, match="the after_restore hook") as caught:
            await snapstart.arun()
        assert isinstance(caught.value.__cause__, KeyError)
        assert (snapext.is_restored(), snapext.status().phase) == (False, "after_restore")


def test_a_hook_that_would_do_nothing_fails(snapstart):
    """As it would fail the version."""

    def pool():
        yield

    snapext.register_after_restore(pool)
    with pytest.raises(HookFailedError, match=r"pool.* is a generator function") as caught:
        snapstart.run()
    assert caught.value.__cause__ is None


def test_what_ends_a_test_goes_through(snapstart):
    """pytest.skip() and Ctrl-C in a hook are no failures of the hook."""
    snapext.register_before_snapshot(pytest.skip, "not here")
    snapext.register_after_restore(raise_, KeyboardInterrupt())
    snapext.register_after_restore(raise_, None)
    with pytest.raises(pytest.skip.Exception):
        snapstart.before_snapshot()
    with pytest.raises(KeyboardInterrupt):
        snapstart.after_restore()


@pytest.mark.anyio
async def test_a_cancelled_test_ends(snapstart):
    """And does not go on with the next hook."""
    began, ran = asyncio.Event(), []

    async def waits():
        began.set()
        await asyncio.Event().wait()

    snapext.register_after_restore(waits)
    snapext.register_after_restore(ran.append, 1)
    task = asyncio.get_running_loop().create_task(snapstart.arun())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ran == []


def test_a_generator_that_cannot_be_renewed_fails(snapstart):
    """Before the snapshot, where nobody knows how to renew it."""
    snapext.register_before_snapshot(len, ())
    snapext.register_generator(object())
    with pytest.raises(RuntimeError, match="would repeat in every clone"):
        snapstart.run()


def test_an_app_without_hooks_is_a_warning(snapstart):
    """It was most likely not imported, and the test would test nothing."""
    with pytest.warns(UserWarning, match="no hook is registered"):
        snapstart.before_snapshot()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        snapext.register_after_restore(len, ())
        snapstart.before_snapshot()


# --- what the app sees -----------------------------------------------------------------------------------------------


def test_the_app_sees_the_life_of_an_environment(snapstart):
    """Not restored until the hooks have run; then with a new environment id, and the time."""
    seen = []

    def look():
        status = snapext.status()
        seen.append((status.phase, status.generation, snapext.is_restored(), status.environment_id is not None))

    snapext.register_before_snapshot(look)
    snapext.register_after_restore(look)
    look()
    waiting = threading.Thread(target=lambda: seen.append(snapext.wait_restored(LIMIT_S)))
    snapstart.before_snapshot()
    look()
    waiting.start()
    wait_until(lambda: linking.current().view.changes.waiting)
    snapstart.after_restore()
    waiting.join(LIMIT_S)
    look()

    assert [entry for entry in seen if entry is not True] == [
        ("init", 0, False, False),
        ("before_snapshot", 0, False, False),
        ("snapshot", 0, False, False),
        ("after_restore", 0, False, True),
        ("ready", 1, True, True),
    ]
    assert True in seen
    assert (snapext.status().initialization_type, snapext.status().connected) == ("snap-start", True)
    assert snapext.status().restored_at is not None


def test_the_generators_differ_after_it(snapstart):
    """`random`, and one that the test has registered; alone, or with the phase."""
    own = snapext.register_generator(random.Random(7))
    snapext.register_after_restore(len, ())
    drawn = set()
    for renew in (len, lambda _: snapstart.reseed(), lambda _: snapstart.after_restore()):
        random.seed(7)
        own.seed(7)
        renew(())
        drawn |= {own.random(), random.random()}
    assert len(drawn) == 5


def test_a_test_runs_hooks_also_where_snapext_is_off(monkeypatch):
    """The function's variables may be loaded in a test; what they say is back when it is over."""
    monkeypatch.setenv("SNAPEXT_MODE", "off")
    monkeypatch.setattr(frame, "_wanted", set())
    monkeypatch.setattr(table, "attended", set())
    ran = []
    with SnapStart() as snapstart:
        snapext.register_after_restore(ran.append, 1)
        snapext.install_all()
        assert len(snapext.get_before_snapshot()) == 1
        snapstart.run()
    assert (ran, os.environ["SNAPEXT_MODE"]) == ([1], "off")


# --- what is left behind ---------------------------------------------------------------------------------------------


def test_nothing_of_a_test_is_left():
    """Hooks that it registers or removes, its generators, its loop, its environment; and the lists are the same."""
    snapext.register_after_restore(len, "before")
    own_loops = (loops.bound(), loops._private)  # another test may have left one
    lists = (snapext.get_before_snapshot(), snapext.get_after_restore())
    contents, link, type_ = (
        [list(hooks) for hooks in lists],
        linking.current(),
        os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE"),
    )

    async def hook():
        pass

    with SnapStart() as outer:
        snapext.get_after_restore().clear()
        snapext.register_after_restore(hook)
        snapext.bind_loop(asyncio.new_event_loop())
        bound = loops.bound()
        bound.close()
        with SnapStart() as inner:
            snapext.register_before_snapshot(hook)
            inner.run()
            private = loops._private
        assert (snapext.get_before_snapshot(), snapext.is_restored()) == ([], False)
        outer.run()

    assert private.is_closed()
    assert (loops.bound(), loops._private) == own_loops
    assert (snapext.get_before_snapshot(), snapext.get_after_restore()) == tuple(contents)
    assert all(a is b for a, b in zip(lists, (snapext.get_before_snapshot(), snapext.get_after_restore()), strict=True))
    assert (linking.current(), os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE")) == (link, type_)


def test_run_boundary_undoes_itself():
    """A function for the tests that only ask whether the hooks work."""
    snapext.register_after_restore(len, ())
    assert run_boundary() == Boundary((), ("builtins.len",))
    assert not snapext.is_restored()


def test_hooks_of_a_module_that_the_test_imports_stay(tmp_path, monkeypatch):
    """It is imported once: the next test would find no hooks. What it registers when it is called goes."""
    (tmp_path / "app_of_this_test.py").write_text(
        "import snapext\n@snapext.register_after_restore\ndef opens(): pass\n"
        "def create_app(): snapext.register_after_restore(opens, *())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):
        with SnapStart() as snapstart:
            import app_of_this_test

            app_of_this_test.create_app()
            assert snapstart.run().after_restore == ("app_of_this_test.opens",) * 2
    assert [func for func, _, _ in snapext.get_after_restore()] == [app_of_this_test.opens]
    del sys.modules["app_of_this_test"]


def test_what_an_import_puts_in_front_stays_in_front(tmp_path, monkeypatch):
    """Integrations and `fresh` run last before the snapshot and first after the restore, in the second test as well."""
    (tmp_path / "ordered_app.py").write_text(
        "import snapext\n@snapext.register_after_restore\ndef opens(): pass\n"
        "@snapext.register_before_snapshot\ndef closes(): pass\n"
        "@snapext.fresh\ndef secret(): pass\n"
        "snapext.install_all()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(frame, "_wanted", set())
    monkeypatch.setattr(table, "attended", set())
    ran = []
    for _ in range(2):
        with SnapStart() as snapstart:
            import ordered_app  # noqa: F401

            monkeypatch.setattr(frame, "_wanted", set())  # this is about the order, not about libraries
            ran.append(snapstart.run())
    del sys.modules["ordered_app"]

    assert ran[1] == ran[0]
    assert [name.rpartition(".")[0] for name in ran[0].before_snapshot] == [
        "ordered_app",
        "snapext.hooks.fresh",
        "snapext.integrations",
    ]
    assert ran[0].after_restore == ("snapext.hooks.fresh.after_restore", "ordered_app.opens")
