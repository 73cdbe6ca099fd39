"""Hooks and generators, each time in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from helpers import LIMIT_S, SRC, App, clean_environ


def test_a_lock_that_a_fork_has_left_is_not_waited_for() -> None:
    """A numpy generator that drew in another thread at the moment of a fork is locked for good in the child."""
    code = """
import numpy, threading
from snapext.hooks import generators
rng = numpy.random.default_rng(5)
generators.register(rng)
locked = threading.Thread(target=rng.bit_generator.lock.acquire)
locked.start()
locked.join()
generators.renew_registered()
print(rng.bit_generator.state["state"] != numpy.random.default_rng(5).bit_generator.state["state"])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (run.stdout, run.stderr) == ("True\n", "")


def test_the_public_function_reseeds_each_process_differently() -> None:
    """snapext.reseed() may be called by hand in each process and gives each its own."""
    code = "import random, snapext; random.seed(1); {}; print(random.getrandbits(128))"
    drawn = [printed(code.format(reseed)) for reseed in ("0", "0", "snapext.reseed()", "snapext.reseed()")]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


def printed(code: str) -> str:
    """What `code` prints in a new interpreter."""
    environ = clean_environ(PYTHONPATH=str(SRC))
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=LIMIT_S)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


FORK = """
import asyncio, gc, os, time, snapext
from snapext.hooks import runner

async def in_another_thread():
    await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.01)

snapext.register_before_snapshot(in_another_thread)
snapext.register_after_restore(in_another_thread)
runner.run(runner.before_snapshot(snapext.get_before_snapshot(), [], 5_000, print))
if (child := os.fork()) == 0:
    gc.collect()
    os._exit(0)
os.waitpid(child, 0)
print(runner.run(runner.after_restore(snapext.get_after_restore(), 5_000, print)).duration_ms < 4_000)
"""


def test_a_forked_child_leaves_the_parents_private_loop_alone():
    """A child that drops the parent's private loop does not take it out of the epoll set that they share."""
    with App(FORK, clean_environ(PYTHONPATH=str(SRC), SNAPEXT_SOCKET="/nonexistent/bridge.sock")) as app:
        out, _ = app.end()

    assert out.splitlines()[-1] == "True"


def test_without_asyncio_nothing_is_looked_at():
    """Nor imported."""
    code = (
        "import sys, time, gc; from snapext.hooks import around; import snapext\n"
        "gc.get_objects = gc.get_count = gc.collect = None\n"
        "snapext.register_before_snapshot(time.sleep, 0.001)\n"
        "from snapext.hooks import around, own_loops, runner\n"
        "outcome = runner.run(around.before_snapshot(1_000, print))\n"
        "print(outcome.error, sorted({'asyncio', 'weakref'} & set(sys.modules)))"
    )
    environ = clean_environ(PYTHONPATH=str(SRC))
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env=environ, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert (done.stdout, done.stderr) == ("time.sleep\nsnapext: generators\nNone []\n", "")
