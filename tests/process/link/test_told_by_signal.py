"""A signalled client, with the extension's end of the socket in the test's hands."""

from __future__ import annotations

import signal

from clients import HOOKS, READY, WAIT, Start
from helpers import BEFORE, Listener
from snapext.wire.messages import BeforeSnapshot, Done, Running, Welcome

TOLD = Welcome(1, "before_snapshot", 0, None)
FIRST = signal.SIGRTMIN + 4
LOOP = """
import asyncio
async def waits():
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.01, future.set_result, None)
    await future
    ran.append("waited")
snapext.register_before_snapshot(waits)
async def main():
    say("ready")
    for _ in range(2_000):
        if len(ran) == 2: break
        await asyncio.sleep(0.01)
    print(ran)
asyncio.run(main())
"""


def test_a_hook_that_awaits_the_running_loop_does_not_wait_for_ever(listener: Listener, start: Start):
    """All hooks run as a task of the loop, beside its own tasks; then it hangs up."""
    app = start(HOOKS + LOOP, SNAPEXT_TRANSPORT="signal")
    assert app.line() == "ready"
    app.process.send_signal(FIRST)
    peer = listener.accept()
    assert peer.greet(TOLD).signalled
    done = peer.ask(BEFORE)

    assert [hook.name for hook in done.hooks] == ["__main__.waits", "__main__.before"]
    assert peer.is_hung_up()
    assert app.end() == ("['waited', 'before']\n", "")


def test_a_hook_that_hangs_on_the_running_loop_fails_the_phase_in_time(listener: Listener, start: Start):
    """The budget applies there too, and the loop keeps running."""
    app = start(
        HOOKS + LOOP.replace("await future", "await asyncio.Event().wait()").replace("== 2", "== -1"),
        SNAPEXT_TRANSPORT="signal",
    )
    assert app.line() == "ready"
    app.process.send_signal(FIRST)
    peer = listener.accept()
    peer.greet(TOLD)
    done = peer.ask(BeforeSnapshot(1, 0, 1_000))

    assert done.error is not None
    assert (done.error.type, done.error.hook) == ("TimeoutError", "__main__.waits")
    assert done.duration_ms >= 990
    assert done.error.duration_ms is not None
    assert 0 < done.error.duration_ms <= done.duration_ms  # the hook's own: on a busy machine the phase began earlier


def test_a_signal_in_the_middle_of_a_hook_is_answered_when_the_hooks_are_done(listener: Listener, start: Start):
    """Told a second time while its hooks run, the process runs none of them again, and answers on both connections."""
    app = start(
        HOOKS
        + "def slow(): os.write(1, b'in\\n'); sys.stdin.readline(); ran.append('slow')\n"
        + "snapext.register_before_snapshot(slow)"
        + READY
        + "while len(ran) < 2: time.sleep(0.01)\nsnapext.register_after_restore(print)\nprint(ran)",
        SNAPEXT_TRANSPORT="signal",
    )
    app.process.send_signal(FIRST)
    first = listener.accept()
    first.greet(TOLD)
    first.send(BEFORE)
    assert app.line() == "in"
    app.process.send_signal(FIRST)
    second = listener.accept()
    second.greet(TOLD)
    second.send(BeforeSnapshot(8, 0, 10_000))
    app.go()

    assert second.next(Running).id == 8
    assert [first.next(Done).id, second.next(Done).id] == [1, 8]
    assert second.is_hung_up()
    assert first.is_hung_up()
    assert app.end() == ("['slow', 'before']\n", "")


def test_a_phase_that_is_not_for_it_ends_at_once(listener: Listener, start: Start):
    """A welcome with another phase: there is nothing to do."""
    app = start(HOOKS + WAIT, SNAPEXT_TRANSPORT="signal")
    app.process.send_signal(FIRST)
    peer = listener.accept()
    peer.greet(Welcome(1, "ready", 1, None))
    assert peer.is_hung_up()
    app.process.send_signal(FIRST)
    again = listener.accept()
    again.greet(Welcome(1, "after_restore", 0, None))
    assert again.is_hung_up()
    assert app.end() == ("", "")
