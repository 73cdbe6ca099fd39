"""snapext.testing: what takes time, and what takes a process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest

import snapext
from helpers import LIMIT_S, SRC, App, clean_environ
from phases import no_hooks
from snapext.testing import HookFailedError, SnapStart


@pytest.fixture
def snapstart():
    """No hooks when a test begins."""
    with no_hooks(), SnapStart() as snapstart:
        yield snapstart


def test_an_async_hook_has_its_time(snapstart):
    """In milliseconds."""
    snapext.register_after_restore(asyncio.sleep, 60)
    with pytest.raises(HookFailedError, match=r"asyncio.tasks.sleep failed .*when the phase's budget was used up"):
        snapstart.run(timeout_ms=200)


class Waits:
    """What a hook returns may be awaited, and need not be a coroutine."""

    def __await__(self):
        return asyncio.sleep(60).__await__()


def test_a_plain_hook_has_its_time(snapstart):
    """Nothing can stop it, but the phase fails by it as in a function, and not by the next hook that has none left."""

    def connects():
        time.sleep(0.3)

    snapext.register_after_restore(len, ())
    snapext.register_after_restore(connects)
    for is_followed in (False, True):
        if is_followed:
            snapext.register_after_restore(Waits)
        with pytest.raises(
            HookFailedError,
            match=r"connects failed after \d+ ms: TimeoutError: it ended when the 250 ms of the phase were",
        ):
            snapstart.after_restore(timeout_ms=250)
    assert not snapext.is_restored()
    snapext.get_after_restore().pop()
    snapstart.after_restore()
    assert snapext.is_restored()


FORK = """
import os
import snapext
from snapext.testing import SnapStart

with SnapStart() as snapstart:
    snapext.register_after_restore(len, ())
    snapstart.run()
    snapext.connect()
    if (child := os.fork()) == 0:
        print(snapext.is_restored(), len(os.listdir("/proc/self/task")), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_a_fork_of_a_test_is_not_linked():
    """It would look for an extension for a minute."""
    with App(FORK, clean_environ(PYTHONPATH=str(SRC))) as app:
        out, _ = app.end()

    assert out == "True 1\n"


def test_hooks_of_aws_module_are_hooks_of_the_test(tmp_path):
    """Whichever registers, and whichever is imported first: the contents go, the lists stay."""
    code = """
import snapext, snapext.testing
with snapext.testing.SnapStart() as snapstart:
    import snapshot_restore_py as aws
    aws.register_after_restore(print, "aws's")
    snapext.register_after_restore(print, "ours")
    snapstart.run()
    lists = aws.get_after_restore(), snapext.get_after_restore()
    assert lists[0] is lists[1]
assert lists[0] == [] and aws.get_after_restore() is lists[0] is snapext.get_after_restore()
aws.register_before_snapshot(print, "kept")
with snapext.testing.SnapStart():
    snapext.register_before_snapshot(print)
assert aws.get_before_snapshot() == snapext.get_before_snapshot() == [(print, ("kept",), {})]
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environ(PYTHONPATH=str(SRC)),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("aws's\nours\n", "", 0)
