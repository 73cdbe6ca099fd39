"""Whatever goes wrong with us or around us, the link goes on, is made again, or says why not."""

from __future__ import annotations

import select
import time
from pathlib import Path

import pytest

from clients import HOOKS, READ, READY, REPORT, WAIT, Start
from helpers import AFTER, BEFORE, LIMIT_S, Listener, Peer
from snapext.wire.messages import BeforeSnapshot, Describe, Described, Done, Hello, HookCounts, Running, Welcome


def attempts(listener: Listener, seconds: float, talk: bytes | None = None) -> int:
    """How many connections come within some time; each gets `talk`, if given, and is closed."""
    count, deadline = 0, time.monotonic() + seconds
    listener.server.settimeout(0.05)
    while time.monotonic() < deadline:
        try:
            peer, _ = listener.server.accept()
        except TimeoutError:
            continue
        peer.settimeout(LIMIT_S)
        if talk is not None:
            peer.recv(65536)
            peer.sendall(talk)
        peer.close()
        count += 1
    return count


# --- ornaments -------------------------------------------------------------------------------------------------------


def test_a_module_that_is_half_imported_does_not_end_the_link(listener: Listener, start: Start):
    """What the process is called is looked up in modules that another thread may be in the middle of importing."""
    half = "sys.modules['multiprocessing.process'] = type(sys)('multiprocessing.process')\n"
    app = start("import sys\n" + half + HOOKS + WAIT)

    assert listener.accept().greet().name == "python"
    assert app.end() == ("", "")


@pytest.mark.parametrize("argv", ["None", "[None]", "[b'bytes']", "[]"])
def test_a_name_that_cannot_be_had_does_not_end_the_link(listener: Listener, start: Start, argv: str):
    """An app may put anything into sys.argv."""
    start(f"import sys; sys.argv = {argv}" + HOOKS + WAIT)

    assert listener.accept().greet().name in ("python", "b'bytes'")


@pytest.mark.parametrize("character", ["x", "ü", "🦀", r"\x00"], ids=ascii)
def test_names_that_do_not_fit_into_a_message_are_left_out(listener: Listener, start: Start, character: str):
    """`status` asks for the names of the hooks: the answer has as many as fit in one message, and the link lives."""
    start(
        HOOKS
        + f"""
def hook(): ran.append("hook")
hook.__qualname__ = '{character}' * 100
for _ in range(1_000): snapext.register_before_snapshot(hook); snapext.register_after_restore(hook)
"""
        + WAIT
    )
    peer = listener.accept()
    peer.greet()
    peer.send(Describe(7))
    described = peer.next(Described)

    assert described.id == 7
    assert len(described.before_snapshot) >= 20
    assert peer.ask(BEFORE).ok


# --- after a failure -------------------------------------------------------------------------------------------------

BREAK = """
from snapext.link.conversation import Conversation
whole = Conversation._welcomed
def broken(self, message):
    Conversation._welcomed = whole
    raise LookupError("a fault of ours")
Conversation._welcomed = broken
"""


def test_an_error_of_ours_is_said_and_the_link_is_made_again(listener: Listener, start: Start):
    """No exception ends the thread (a fake fault: those that we know of are fixed)."""
    app = start(BREAK + HOOKS + REPORT)
    listener.accept().greet()
    peer = listener.accept()
    peer.greet()
    assert peer.ask(BEFORE).ok
    out, err = app.end()

    assert out == "['before']\n"
    assert err == (
        f"snapext: the link of process {app.process.pid} to the extension failed, and it reconnects: "
        "LookupError('a fault of ours')\n"
    )


NO_THREAD = "import _thread; _thread.stack_size(1 << 46)\n"  # more than there is: pthread_create fails
THREAD = "_thread.stack_size(0)\n"


def test_a_thread_that_cannot_be_started_is_tried_again_at_the_next_hook(listener: Listener, start: Start):
    """The reason is logged once, and the extension sees the hooks; the next registered hook links the process."""
    app = start(
        NO_THREAD
        + HOOKS
        + READY
        + "sys.stdin.readline()\n"
        + THREAD
        + "snapext.register_after_restore(ran.append, 'late')\n"
        + READ
    )
    for hooks in (HookCounts(), HookCounts(1, 0), HookCounts(1, 1)):  # when it is imported, and with each hook
        peer = listener.accept()
        assert peer.next(Hello).hooks == hooks
        peer.is_hung_up()
    app.go()
    peer = listener.accept()

    assert peer.greet().hooks == HookCounts(1, 2)
    assert peer.ask(AFTER).ok
    _, err = app.end()
    assert len(err.splitlines()) == 1
    assert f"process {app.process.pid} is not linked to the extension: it cannot start a thread" in err


def test_a_thread_that_cannot_be_started_is_tried_again_in_a_child(listener: Listener, start: Start):
    """A forked worker is linked, whatever its parent could not do."""
    app = start(
        NO_THREAD + HOOKS + THREAD + "if (child := os.fork()) == 0:\n"
        "    threading.Event().wait(60)\n"
        "say(child); sys.stdin.readline(); os.kill(child, 9)"
    )
    for _ in range(3):
        assert not listener.accept().next(Hello).forked
    hello = listener.accept().greet()

    assert (hello.pid, hello.forked, hello.hooks) == (int(app.line()), True, HookCounts(1, 1))
    app.end()


def test_one_who_is_refused_after_its_answer_does_not_hammer(listener: Listener, start: Start):
    """An extension that hangs up after each `done` sees a connection each 100 ms at most, and no hook runs twice."""
    app = start(HOOKS + REPORT)
    began = time.monotonic()
    for count in range(14):  # pauses of 2 ms to 100 ms
        peer = listener.accept()
        peer.greet()
        assert peer.ask(BeforeSnapshot(count, 0, 5_000)).id == count
        peer.socket.close()

    assert time.monotonic() - began > 0.7
    assert app.end() == ("['before']\n", "")


def test_a_connection_that_lasted_is_made_again_at_once(listener: Listener, start: Start):
    """The pauses begin anew: a phase may be under way that waits for this process."""
    start(HOOKS + WAIT)
    for _ in range(8):  # the pauses have grown
        listener.accept().socket.close()
    pauses = []
    for _ in range(3):  # a busy machine may add a pause of its own to one
        peer = listener.accept()
        peer.greet()
        time.sleep(1.1)  # what counts as having lasted
        peer.socket.close()
        began = time.monotonic()
        assert select.select([listener.server], [], [], LIMIT_S)[0]
        pauses.append(time.monotonic() - began)

    assert min(pauses) < 0.09


def test_a_welcome_with_another_protocol_number_is_respected(listener: Listener, start: Start):
    """The client hangs up by itself, says why once, and does not come back again and again."""
    app = start(HOOKS + REPORT)
    peer = listener.accept()
    peer.next(Hello)
    peer.send(Welcome(2, "init", 0, None))
    assert peer.is_hung_up()
    assert attempts(listener, 0.5) == 0
    out, err = app.end()

    assert out == "[]\n"
    assert len(err.splitlines()) == 1
    assert "speaks version 2 of the protocol, this client 1" in err


def test_nothing_is_run_for_one_who_speaks_another_protocol(listener: Listener, start: Start):
    """The rest of its messages may mean something else in that version."""
    app = start(HOOKS + REPORT)
    peer = listener.accept()
    peer.next(Hello)
    peer.socket.sendall(peer.connection.send(Welcome(2, "init", 0, None)) + peer.connection.send(BEFORE))
    assert peer.is_hung_up()

    assert app.end()[0] == "[]\n"


# --- whom it answers -------------------------------------------------------------------------------------------------


def test_what_runs_is_said_with_the_newest_id(listener: Listener, start: Start):
    """Asked again while its hooks run, a process says under the new number which hook runs, and answers both."""
    app = start(
        HOOKS
        + "go = threading.Event()\n"
        + "snapext.register_before_snapshot(lambda: go.wait(20))\n"
        + READY
        + "sys.stdin.readline(); go.set()"
        + READ
        + "print(ran)"
    )
    peer = listener.accept()
    peer.greet()
    peer.send(BEFORE)
    assert peer.next(Running).id == BEFORE.id
    peer.send(BeforeSnapshot(9, 0, 10_000))
    app.go()

    assert (running := peer.next(Running)).id == 9
    assert running.hook == "__main__.before"
    assert [peer.next(Done).id, peer.next(Done).id] == [BEFORE.id, 9]
    assert app.end()[0] == "['before']\n"


# --- descriptors -----------------------------------------------------------------------------------------------------

DESCRIPTORS = """
import os, sys
out = os.dup(1)
for number in (0, 1, 2): os.close(number)
import snapext
async def hook(): pass
snapext.register_before_snapshot(hook)
def tell(*words): os.write(out, (" ".join(map(str, words)) + "\\n").encode())
def free(): return [number for number in (0, 1, 2) if not os.path.exists(f"/proc/self/fd/{number}")]
"""


def test_what_we_open_never_takes_a_standard_descriptor(listener: Listener, start: Start):
    """An app that has closed 0, 1 and 2 finds them free: its output would otherwise reach our socket."""
    app = start(DESCRIPTORS + "snapext.register_after_restore(lambda: tell(free()))\nimport time; time.sleep(60)")
    peer = listener.accept()
    peer.greet()
    peer.ask(BEFORE)  # an async hook: it brings a private loop
    peer.ask(AFTER)

    assert app.line() == "[0, 1, 2]"


def test_asking_as_a_command_takes_no_standard_descriptor(listener: Listener, start: Start):
    """The same for `snapext checkpoint`, which waits for long."""
    app = start(
        DESCRIPTORS + "import threading\nfrom snapext.wire import ask\n"
        "threading.Thread(target=ask.ask, args=('status',), daemon=True).start()\nimport time; time.sleep(60)"
    )
    roles = []
    for _ in range(2):
        peer = listener.accept()
        roles.append(peer.next(Hello).role)
    held = {number for number in (0, 1, 2) if Path(f"/proc/{app.process.pid}/fd/{number}").exists()}

    assert (sorted(roles), held) == (["app", "control"], set())


# --- patched after us ------------------------------------------------------------------------------------------------

PATCH = {
    "eventlet": "import eventlet; eventlet.monkey_patch()\n",
    "gevent": "import gevent.monkey; gevent.monkey.patch_all()\n",
}


@pytest.mark.parametrize("patch", PATCH.values(), ids=PATCH)
@pytest.mark.parametrize("when", ["before", "after", "between"])
def test_an_app_that_is_patched_at_any_time_is_told_all(listener: Listener, start: Start, patch: str, when: str):
    """Before snapext is imported, after it is linked, or between two phases; the app keeps running."""
    middle = "say('waits')\nwhile not ran: time.sleep(0.01)\n" if when == "between" else ""
    app = start(
        ("import warnings; warnings.simplefilter('ignore')\n" + patch if when == "before" else "")
        + HOOKS
        + ("" if when == "before" else "import warnings; warnings.simplefilter('ignore')\n" + middle + patch)
        + "say('patched')\nprint(snapext.wait_restored(20), ran)"
    )
    peer: Peer = listener.accept()
    peer.greet()
    if when == "between":
        assert app.line() == "waits"
    else:
        assert app.line() == "patched"
    assert peer.ask(BEFORE).ok
    if when == "between":
        assert app.line() == "patched"
    peer.send(Describe(3))
    assert peer.next(Described).after_restore == ("__main__.after",)
    assert peer.ask(AFTER).ok
    out, err = app.end()

    assert out == "True ['before', 'after']\n"
    assert err == ""


@pytest.mark.parametrize("patch", PATCH.values(), ids=PATCH)
def test_a_child_of_a_patched_app_is_linked(listener: Listener, start: Start, patch: str):
    """A worker that is forked after the patch has its own link."""
    app = start(
        "import warnings; warnings.simplefilter('ignore')"
        + HOOKS
        + patch
        + "child = os.fork()\nif child == 0:\n    while snapext.status().phase != 'shutdown': time.sleep(0.01)\n"
        + "say(child); sys.stdin.readline(); os.kill(child, 9)"
    )
    peers = [listener.accept(), listener.accept()]
    hellos = [peer.greet() for peer in peers]
    assert [peer.ask(BEFORE).ok for peer in peers] == [True, True]
    assert sorted(hello.forked for hello in hellos) == [False, True]
    assert int(app.line()) in [hello.pid for hello in hellos]
    app.end()


# --- an import of ours, and a fork -----------------------------------------------------------------------------------


def test_a_fork_waits_for_an_import_of_ours_but_a_moment(listener: Listener, start: Start):
    """It would leave the import's lock taken in the child; in a handler that interrupts one it would wait for ever."""
    app = start(
        HOOKS
        + """
from snapext.guest import primitives
from snapext.link import linking
held, let_go = threading.Event(), threading.Event()
def imports():
    with primitives.importing: held.set(); let_go.wait(20)
def forks():
    if os.fork() == 0: sys.stdin.readline(); os._exit(0)
    return time.monotonic()
linking.IMPORT_WAIT_S = 0.3
threading.Thread(target=imports).start(); held.wait()
began = time.monotonic()
threading.Timer(0.1, let_go.set).start()
waited = forks() - began
held.clear(); let_go.clear()
threading.Thread(target=imports).start(); held.wait()
began = time.monotonic()
limited = forks() - began
let_go.set()
say(0.05 < waited, 0.25 < limited < 15)
sys.stdin.readline()
"""
    )
    assert app.line() == "True True"
    assert sorted(listener.accept().greet().forked for _ in range(3)) == [False, True, True]
