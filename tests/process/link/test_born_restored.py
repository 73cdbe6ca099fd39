"""A process that started after the restore counts as restored, although it has no hooks and was never told."""

from __future__ import annotations

import time

import pytest

from clients import HOOKS, READ, Start
from helpers import BEFORE, ENVIRONMENT_ID, Listener
from snapext.wire.messages import Hello, Welcome

RESTORED = Welcome(1, "ready", 1, ENVIRONMENT_ID)
PATIENT = "from snapext.link import generation; generation.ASK_TIMEOUT_S = 20.0\n"  # instead of one second
TIMED = "import time; began = time.monotonic(); answer = snapext.is_restored(); took = time.monotonic() - began\n"
TELL = "import sys; print(answer, int(took * 1000), flush=True)" + READ
LATE_LINK = (
    "import os; path = os.environ.pop('SNAPEXT_SOCKET'); kind = os.environ.pop('AWS_LAMBDA_INITIALIZATION_TYPE')\n"
    "import snapext; os.environ.update(SNAPEXT_SOCKET=path, AWS_LAMBDA_INITIALIZATION_TYPE=kind)\n"
)
IMPORTS = {"linked by its import": "import snapext\n" + PATIENT, "not linked yet": LATE_LINK + PATIENT}


@pytest.mark.parametrize("how", IMPORTS.values(), ids=IMPORTS)
def test_a_process_without_hooks_that_began_after_the_restore_is_restored(listener: Listener, start: Start, how: str):
    """The first question is put to the extension, and its welcome is the answer."""
    app = start(how + TIMED + TELL)
    listener.accept().greet(RESTORED)

    assert app.line().split()[0] == "True"


@pytest.mark.parametrize("how", IMPORTS.values(), ids=IMPORTS)
def test_before_the_restore_it_is_not(listener: Listener, start: Start, how: str):
    """The welcome says so, and is not waited for again."""
    app = start(how + TIMED + TELL)
    listener.accept().greet()

    assert app.line().split()[0] == "False"


@pytest.mark.parametrize("how", IMPORTS.values(), ids=IMPORTS)
def test_without_an_extension_nobody_waits(start: Start, how: str):
    """There is no socket: the answer is there at once."""
    answer, took_ms = start(how + TIMED + TELL).line().split()

    assert answer == "False"
    assert int(took_ms) < 10_000


def test_an_extension_that_does_not_answer_is_waited_for_once(listener: Listener, start: Start):
    """For a second, and never again."""
    app = start(LATE_LINK + TIMED + "for _ in range(5): snapext.is_restored()\nall = time.monotonic() - began\n" + TELL)
    listener.accept().next(Hello)
    answer, took_ms = app.line().split()

    assert answer == "False"
    assert 900 <= int(took_ms) < 5_000


def test_all_threads_that_ask_at_the_same_time_hear_the_answer(listener: Listener, start: Start):
    """A server answers several first requests at once: none of them is told that nothing has been restored."""
    app = start(
        LATE_LINK
        + PATIENT
        + """
import sys, threading
answers = []
threads = [threading.Thread(target=lambda: answers.append(snapext.is_restored())) for _ in range(4)]
for thread in threads: thread.start()
print("asked", flush=True)
for thread in threads: thread.join()
print(*answers, flush=True)
"""
        + READ
    )
    peer = listener.accept()
    assert app.line() == "asked"
    peer.greet(RESTORED)

    assert app.line() == "True True True True"


def test_outside_of_snapstart_nobody_is_asked(listener: Listener, start: Start):
    """Always False there, and at once."""
    app = start(LATE_LINK.replace("=kind", "='on-demand'") + TIMED + TELL)

    assert app.line().split()[0] == "False"
    listener.server.settimeout(0.2)
    with pytest.raises(TimeoutError):
        listener.server.accept()


def test_a_running_loop_is_not_held_up(listener: Listener, start: Start):
    """The round trip is over in a few milliseconds, so an app may ask in a request."""
    app = start(
        "import asyncio\n"
        + LATE_LINK
        + PATIENT
        + "async def main():\n    global answer, took\n    "
        + TIMED.replace("; ", "\n    ")
        + "asyncio.run(main())\n"
        + TELL
    )
    listener.accept().greet(RESTORED)
    answer, took_ms = app.line().split()

    assert answer == "True"
    assert int(took_ms) < 10_000


def test_a_forked_child_of_an_unlinked_process_is_told(listener: Listener, start: Start):
    """It asks for itself."""
    app = start(
        LATE_LINK
        + PATIENT
        + "if os.fork() == 0:\n    print(snapext.is_restored(), flush=True); os._exit(0)\nos.wait()\n"
    )
    listener.accept().greet(RESTORED)

    assert app.line() == "True"


def test_a_hook_that_asks_does_not_wait_for_itself(listener: Listener, start: Start):
    """It runs in the thread that would hear the answer."""
    asks = "snapext.register_before_snapshot(lambda: say(snapext.is_restored()))\nsys.stdin.readline()"
    app = start(HOOKS + PATIENT + asks)
    peer = listener.accept()
    peer.greet()
    began = time.monotonic()
    assert peer.ask(BEFORE).ok
    assert time.monotonic() - began < 10
    assert app.line() == "False"


def test_a_signal_handler_that_interrupts_us_may_ask(listener: Listener, start: Start):
    """It has a lock of ours, which the link's thread waits for: nobody waits for the other."""
    app = start(
        "import time, sys\n" + LATE_LINK + PATIENT + "snapext.connect()\nfrom snapext.link import linking\n"
        "began = time.monotonic()\nwith linking.current().view.lock: answer = snapext.is_restored()\n"
        "took = time.monotonic() - began\n" + TELL
    )
    peer = listener.accept()
    del peer
    assert int(app.line().split()[1]) < 10_000


def test_one_that_is_told_by_signals_asks_as_a_command(listener: Listener, start: Start):
    """Without hooks it owes nothing, so it is where the environment is."""
    app = start(LATE_LINK + PATIENT + TIMED + TELL, SNAPEXT_TRANSPORT="signal")
    peer = listener.accept()
    assert peer.greet(RESTORED).role == "control"
    peer.socket.sendall(
        b'{"type":"result","ok":true,"message":null,"exit_status":0,'
        b'"status":{"generation":1,"environment_id":"%s"}}\n' % ENVIRONMENT_ID.encode()
    )

    assert app.line().split()[0] == "True"
