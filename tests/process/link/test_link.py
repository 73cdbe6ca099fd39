"""Real client processes on a real socket, with the extension's end of it in the test's hands."""

import os
import random
import shutil
import socket
import tempfile
import time
from pathlib import Path

import pytest

from clients import HOOKS, READ, READY, REPORT, WAIT
from helpers import AFTER, BEFORE, ENVIRONMENT_ID, WELCOME, App, Listener, clean_environ
from snapext.wire.messages import (
    PROTOCOL_VERSION,
    AfterRestore,
    BeforeSnapshot,
    Checkpoint,
    Hello,
    HookCounts,
    Hooks,
    Result,
    Running,
    Shutdown,
    Welcome,
)


def test_hello_says_who_the_process_is(listener, path, start):
    """The first message has the version, the pid, the role, a name and the hooks of the process."""
    path.parent.chmod(0o755)  # refused for now: the link is faster than the app's next line
    app = start(HOOKS + WAIT)
    path.parent.chmod(0o700)
    hello = listener.accept().next(Hello)

    client = hello.client.partition("/")[0]
    assert Hello(
        PROTOCOL_VERSION, app.process.pid, "app", client, "python", HookCounts(1, 1), generation=0, board=True
    ) == hello.replace(client=client)
    assert client == "snapext-python"


def test_hooks_registered_later_are_told(listener, start):
    """The extension hears of hooks that are registered after the greeting."""
    app = start(HOOKS + WAIT + "snapext.register_after_restore(print)" + READ)
    peer = listener.accept()
    peer.greet()
    app.go()

    while peer.next(Hooks).hooks != HookCounts(1, 2):
        pass


def test_a_boundary_runs_each_hook_once_and_says_so(listener, start):
    """Both phases run, are answered with their own id, and the hooks are named before and after they run."""
    app = start(HOOKS + REPORT)
    peer = listener.accept()
    peer.greet()
    before, after = peer.ask(BEFORE), peer.ask(AFTER)

    assert (before.id, before.ok, [hook.name for hook in before.hooks]) == (1, True, ["__main__.before"])
    assert (after.id, after.ok, [hook.name for hook in after.hooks]) == (2, True, ["__main__.after"])
    said = [(m.id, m.hook) for m in peer.heard if isinstance(m, Running)]
    ours = "snapext: generators"  # which are found before the snapshot, and renewed before the first after-restore hook
    assert said == [(1, "__main__.before"), (1, ours), (2, ours), (2, "__main__.after")]
    assert app.end()[0] == "['before', 'after']\n"


def test_hooks_run_once_even_if_told_twice(listener, start):
    """Told again of a boundary, on the same or on another connection, a process answers again and runs nothing."""
    app = start(HOOKS + REPORT)
    first = listener.accept()
    first.greet()
    first.ask(BEFORE)
    assert first.ask(BeforeSnapshot(5, 0, 1_000)).ok
    first.ask(AFTER)
    first.socket.close()
    second = listener.accept()
    assert second.greet(Welcome(1, "ready", 1, ENVIRONMENT_ID)).generation == 1
    again = second.ask(AfterRestore(9, 1, 1_000, ENVIRONMENT_ID, 0.0))

    assert (again.id, again.ok, len(again.hooks)) == (9, True, 1)
    assert app.end()[0] == "['before', 'after']\n"


def test_a_failed_hook_is_not_forgotten_when_told_again(listener, start):
    """A phase that failed once is not reported as a success the second time."""
    start(HOOKS + "@snapext.register_before_snapshot\ndef bad(): raise SystemExit(3)\n" + WAIT)
    peer = listener.accept()
    peer.greet()
    first, second = peer.ask(BEFORE), peer.ask(BeforeSnapshot(5, 0, 1_000))

    assert (first.ok, second.ok) == (False, False)
    assert (second.error.type, second.error.message, second.error.hook) == ("SystemExit", "3", "__main__.bad")


# --- connecting ------------------------------------------------------------------------------------------------------


def test_a_listener_that_comes_late_is_found(path, start):
    """The extension may listen after the app has started."""
    app = start(HOOKS + WAIT)
    with Listener(path) as listener:
        assert app.process.pid == listener.accept().greet().pid


def test_a_listener_that_goes_away_and_comes_back_is_found_again(path, start):
    """A process joins again after the extension's end of the link was broken and made anew."""
    app = start(HOOKS + REPORT)
    with Listener(path) as listener:
        peer = listener.accept()
        peer.greet()
        peer.ask(BEFORE)
    with Listener(path) as listener:
        peer = listener.accept()
        assert (app.process.pid, False) == ((hello := peer.greet()).pid, hello.forked)
        assert peer.ask(AFTER).ok

    assert app.end()[0] == "['before', 'after']\n"


def test_a_checkpoint_is_asked_for_when_its_own_process_is_connected(listener, path, start):
    """On a slow processor the command would be faster than the link, and the snapshot taken without a hook."""
    app = start(
        "import os; path = os.environ.pop('SNAPEXT_SOCKET'); kind = os.environ.pop('AWS_LAMBDA_INITIALIZATION_TYPE')\n"
        "import snapext; os.environ.update(SNAPEXT_SOCKET=path, AWS_LAMBDA_INITIALIZATION_TYPE=kind)\n"
        "import threading; from snapext.link import link\n"
        "slow = threading.Event(); link._dress_thread = lambda name: slow.wait(20)\n"
        + HOOKS
        + "asks = threading.Thread(target=snapext.checkpoint); asks.start()\n"
        + "sys.stdin.readline(); slow.set(); asks.join(); say('behind')"
        + READ
    )
    command = listener.accept()
    assert command.greet().role == "control"
    assert command.is_silent()
    app.go()
    assert listener.accept().greet().hooks == HookCounts(1, 1)
    command.next(Checkpoint)
    command.send(Result(True))

    assert app.line() == "behind"


def test_nobody_listens_and_the_app_notices_nothing(start):
    """Without an extension an app runs to its end at once and prints nothing of ours."""
    out, err = start(HOOKS + "print(snapext.status().connected, snapext.is_restored())").end()

    assert (out, err) == ("False False\n", "")


def test_an_extension_that_hangs_up_at_once_is_not_flooded(listener, start):
    """A process that is refused tries again with growing pauses, not in a busy loop."""
    start(HOOKS + READ)
    began = time.monotonic()
    for _ in range(10):  # pauses of 2 ms to 100 ms
        listener.accept().socket.close()

    assert time.monotonic() - began > 0.3


def test_the_apps_default_timeout_does_not_cut_the_link(listener, start):
    """socket.setdefaulttimeout in the app does not change our connection: a cut one could miss a restore."""
    app = start("import socket; socket.setdefaulttimeout(0.01)" + HOOKS + "time.sleep(0.3); say('slept')" + READ)
    peer = listener.accept()
    peer.greet()
    assert app.line() == "slept"

    assert peer.ask(BEFORE).ok


@pytest.mark.parametrize("how", ["group may enter", "symlink", "regular file", "foreign owner", "foreign socket"])
def test_a_place_that_others_could_have_made_is_refused(listener, path, start, how):
    """A process does not connect where the place is not safely its own, and says why in one line."""
    at = path
    if how == "group may enter":
        path.parent.chmod(0o750)
    elif how == "symlink":
        (path.parent.parent / "link").symlink_to(path.parent)
        at = path.parent.parent / "link" / path.name
    elif how == "regular file":
        at = path.parent / "file"
        at.touch(0o600)
    elif os.geteuid():
        pytest.skip("needs root")
    elif how == "foreign owner":
        os.chown(path.parent, 65534, 65534)
    else:
        os.chown(path, 65534, 65534)
    app = start(HOOKS + READ + "print(snapext.status().connected)", SNAPEXT_SOCKET=str(at))
    app.wait_for_error()
    out, err = app.end()
    listener.server.settimeout(0)

    assert out == "False\n"
    assert len(err.splitlines()) == 1
    assert "is not used" in err
    with pytest.raises(BlockingIOError):
        listener.server.accept()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_another_users_listener_is_refused(start):
    """The user at the other end of the socket must be our own, no matter who owns the file."""
    folder = Path(tempfile.mkdtemp())  # pytest's own folders cannot be entered by others
    path = folder / "bridge.sock"
    os.chown(folder, 65534, 65534)
    code = f"""
        import os, socket, sys
        os.setuid(65534)
        server = socket.socket(socket.AF_UNIX); server.bind({str(path)!r}); server.listen(); print("up", flush=True)
        print(repr(server.accept()[0].recv(10)), flush=True)
    """
    with App(code, clean_environ()) as other:
        assert other.line() == "up"
        os.chown(folder, 0, 0)
        os.chown(path, 0, 0)
        app = start(HOOKS + READ, SNAPEXT_SOCKET=str(path))
        app.wait_for_error()
        _, err = app.end()
        shutil.rmtree(folder)

        assert "another user's process listens on it" in err
        assert other.line() == "b''"


def test_a_bridge_that_dies_midway_leaves_the_app_working(listener, path, start):
    """A hook that runs while the extension dies ends normally, even where SIGPIPE would end the process."""
    app = start(
        "import signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL)"
        + HOOKS
        + "@snapext.register_before_snapshot\ndef slow(): say('in'); go.wait(20); ran.append('slow')\n"
        + "go = threading.Event()\nsay('ready')\nsys.stdin.readline()\ngo.set()\n"
        + "while len(ran) < 2: time.sleep(0.001)\n"
        + "snapext.register_before_snapshot(print); print(ran)"
    )
    peer = listener.accept()
    peer.greet()
    peer.send(BEFORE)
    assert app.line() == "in"
    listener.close()

    assert app.end() == ("['slow', 'before']\n", "")


GARBAGE = [b"garbage\n", b'{"type":"welcome"}\n', b"x" * 70_000, b'{"type":"hello"}\n', b"\x00" * 10]


@pytest.mark.parametrize("garbage", GARBAGE, ids=["garbage", "malformed", "long", "misdirected", "half"])
def test_an_extension_that_talks_nonsense_leaves_the_app_working(listener, start, garbage):
    """Malformed input runs no hook, disturbs nothing, and does not end the link for good."""
    app = start(HOOKS + REPORT)
    peer = listener.accept()
    peer.next(Hello)
    peer.socket.sendall(garbage)
    peer.socket.close()
    second = listener.accept()
    second.greet()
    assert second.ask(BEFORE).ok

    assert app.end() == ("['before']\n", "")


def test_nothing_runs_before_the_welcome(listener, start):
    """An order from a peer that has not greeted is refused."""
    app = start(HOOKS + REPORT)
    peer = listener.accept()
    peer.next(Hello)
    peer.socket.sendall(b'{"type":"before_snapshot","id":1,"generation":0,"timeout_ms":1000}\n')
    assert peer.is_hung_up()

    assert app.end()[0] == "[]\n"


def test_the_time_of_the_restore_follows_the_clock(listener, start):
    """The platform sets the wall clock after the restore: asked then, the time is right, also in a fork."""
    app = start(
        HOOKS
        + """
import os, time
def show():
    really = time.time
    offset = really() - time.monotonic()
    shown = [snapext.status().restored_at]
    time.time = lambda: really() + 3600  # nobody may set this machine's clock
    shown.append(snapext.status().restored_at)
    if not os.fork():
        say(*(round(at - offset, 1) for at in (*shown, snapext.status().restored_at)))
        os._exit(0)
    os.wait()
snapext.register_after_restore(show)
"""
        + REPORT
    )
    peer = listener.accept()
    peer.greet()
    assert peer.ask(BEFORE).ok
    assert peer.ask(AFTER.replace(restored_at=1.0, restored_monotonic=5.0)).ok

    assert app.line() == "5.0 3605.0 3605.0"
    app.end()


# --- state -----------------------------------------------------------------------------------------------------------


def test_status_follows_the_boundary(listener, start):
    """Before, between and after, a process can ask where it is."""
    app = start(
        HOOKS
        + """
def show():
    s = snapext.status()
    say(s.phase, s.generation, s.environment_id, s.restored_at, s.connected, snapext.is_restored())
snapext.register_before_snapshot(show)
snapext.register_after_restore(show)
"""
        + READY
        + "restored = [snapext.wait_restored(0), snapext.wait_restored(20)]; show(); say(restored)"
    )
    peer = listener.accept()
    peer.greet()
    peer.ask(BEFORE)
    peer.ask(AFTER)

    assert app.line() == "before_snapshot 0 None None True False"
    assert f"after_restore 0 {ENVIRONMENT_ID} {AFTER.restored_at} True False" == app.line()
    assert f"ready 1 {ENVIRONMENT_ID} {AFTER.restored_at} True True" == app.line()
    assert app.line() == "[False, True]"


def test_a_failed_restore_is_not_a_restore(listener, start):
    """While its after-restore hooks have not succeeded, a process is not restored."""
    app = start(HOOKS + "snapext.register_after_restore(lambda: 1 / 0)" + WAIT + "print(snapext.wait_restored(0.05))")
    peer = listener.accept()
    peer.greet()

    assert not peer.ask(AFTER).ok
    assert app.end()[0] == "False\n"


def test_wait_restored_needs_no_hook(listener, start):
    """A process that only waits for the restore hears of it."""
    app = start("import snapext; print(snapext.wait_restored(20))")
    peer = listener.accept()
    peer.greet()
    peer.ask(AFTER)

    assert app.end()[0] == "True\n"


def test_wait_restored_does_not_wait_where_no_restore_comes(start):
    """Outside SnapStart waiting ends at once, however long it was allowed to take."""
    app = start("import snapext; print(snapext.wait_restored())", AWS_LAMBDA_INITIALIZATION_TYPE="on-demand")

    assert app.end()[0] == "False\n"


def test_a_process_that_joins_after_the_restore_is_restored_at_once(listener, start):
    """A process that started after the restore has nothing to run, and its welcome says so."""
    app = start(HOOKS + "print(snapext.wait_restored(20), ran, snapext.status().environment_id)")
    listener.accept().greet(Welcome(1, "ready", 1, ENVIRONMENT_ID))

    assert f"True [] {ENVIRONMENT_ID}\n" == app.end()[0]


def test_shutdown_is_heard_and_the_link_rests(listener, start):
    """After shutdown the status says so, and the process does not come back to a socket that is going away."""
    app = start(HOOKS + "while snapext.status().phase != 'shutdown': time.sleep(0.001)\nsay('down')" + READ)
    peer = listener.accept()
    peer.greet()
    peer.send(Shutdown("spindown", 2_000))
    assert app.line() == "down"
    peer.socket.shutdown(socket.SHUT_WR)
    assert peer.is_hung_up()
    assert app.end() == ("", "")

    listener.server.settimeout(0)
    with pytest.raises(BlockingIOError):
        listener.server.accept()


# --- fork ------------------------------------------------------------------------------------------------------------

FORK = """
def child():
    pid = os.fork()
    if pid:
        return pid
    while 'after' not in ran: time.sleep(0.001)
    print('child', ran, flush=True)
    while snapext.status().phase != 'shutdown': time.sleep(0.001)  # it must not be gone before its answer is out
    os._exit(0)
"""


def test_a_fork_before_the_snapshot_is_a_process_of_its_own(listener, start):
    """A child has its parent's hooks, its own connection and answers; the parent's connection is unharmed."""
    app = start(HOOKS + FORK + WAIT + "pid = child(); os.waitpid(pid, 0); print('parent', ran, flush=True)")
    parent = listener.accept()
    parent.greet()
    app.go()
    child = listener.accept()
    hello = child.greet()

    assert (True, 0, HookCounts(1, 1)) == (hello.forked, hello.generation, hello.hooks)
    assert hello.pid != app.process.pid
    assert parent.ask(BEFORE).ok
    assert child.ask(BEFORE).ok
    assert parent.ask(AFTER).ok
    assert child.ask(AFTER).ok
    child.send(Shutdown("spindown", 1))
    assert [app.line(), app.line()] == ["child ['before', 'after']", "parent ['before', 'after']"]


def test_a_fork_after_the_restore_carries_the_generation(listener, start):
    """A child of a restored process owes nothing: it says what its parent's memory had seen, and is restored itself."""
    code = """
if not os.fork():
    print(snapext.is_restored(), snapext.status().environment_id, snapext.status().restored_at, ran, flush=True)
    while not snapext.status().connected: time.sleep(0.001)  # it must not be gone before it is welcome
    os._exit(0)
os.wait()
"""
    app = start(HOOKS + READY + "snapext.wait_restored()" + code)
    parent = listener.accept()
    parent.greet()
    parent.ask(BEFORE)
    parent.ask(AFTER)
    hello = listener.accept().greet(Welcome(1, "ready", 1, ENVIRONMENT_ID))

    assert (hello.forked, hello.generation) == (True, 1)
    assert f"True {ENVIRONMENT_ID} {AFTER.restored_at} ['before', 'after']" == app.line()
    assert parent.is_silent()


def test_a_fork_between_the_phases_runs_what_it_is_told(listener, start):
    """A child forked after the before-snapshot hooks of its parent still runs its own."""
    app = start(
        HOOKS + FORK + READY + "while not ran: time.sleep(0.001)\nran.clear(); pid = child(); os.waitpid(pid, 0)"
    )
    parent = listener.accept()
    parent.greet()
    parent.ask(BEFORE)
    child = listener.accept()
    child.greet()
    child.ask(BEFORE)
    child.ask(AFTER)
    child.send(Shutdown("spindown", 1))

    assert app.line() == "child ['before', 'after']"


def test_a_fork_in_a_thread_with_the_ident_of_a_link_that_gave_up_is_linked(listener, start):
    """The C library reuses the ident of a thread that has ended: the new thread is not a hook that forks."""
    app = start(
        "import os, threading\npath = os.environ['SNAPEXT_SOCKET']\n"
        "os.environ.update(SNAPEXT_SOCKET='/nobody/here.sock', AWS_LAMBDA_RUNTIME_API='127.0.0.1:1')\n"
        + HOOKS
        + """
from snapext.link import link, linking
link.GIVE_UP_AFTER_S = 0
ended = []
link._dress_thread = lambda name: ended.append(threading.get_ident())
while not ended: linking.join(); time.sleep(0.001)
while linking.current()._alive: time.sleep(0.001)
os.environ["SNAPEXT_SOCKET"] = path
def fork():
    if threading.get_ident() == ended[0]:
        ended.clear()
        if not os.fork(): sys.stdin.readline(); os._exit(0)
while ended:
    thread = threading.Thread(target=fork); thread.start(); thread.join()
say("forked"); os.wait()
"""
    )
    assert app.line() == "forked"

    assert listener.accept().greet().forked


def test_forks_while_hooks_are_registered_do_not_deadlock(listener, start):
    """Threads that register and threads that fork at the same time all come to an end."""
    app = start(
        HOOKS
        + """
import warnings; warnings.simplefilter("ignore")
def register():
    for _ in range(300): snapext.register_after_restore(print)
def fork():
    for _ in range(20):
        if not (pid := os.fork()):
            snapext.register_after_restore(print); snapext.status(); os._exit(0)
        os.waitpid(pid, 0)
threads = [threading.Thread(target=f) for f in (register, fork, register, fork)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(snapext.get_after_restore()))
"""
    )
    listener.accept().greet()

    assert app.end()[0] == "601\n"


# --- answers that have to fit ----------------------------------------------------------------------------------------


def test_two_thousand_hooks_run_and_are_answered(listener, start):
    """When the timings of all hooks do not fit into a line, the answer comes without them."""
    start(HOOKS + "for _ in range(2_000): snapext.register_before_snapshot(lambda: ran.append(1))" + WAIT)
    peer = listener.accept()
    peer.greet()
    done = peer.ask(BEFORE)

    assert (done.ok, done.hooks) == (True, ())
    hooks = [message.hook for message in peer.heard if isinstance(message, Running)]
    assert (len(hooks), hooks[-1]) == (2_002, "snapext: generators")


@pytest.mark.parametrize("text", ["x", "ü", "🦀", r"\x00", r"\ud800", r"\n", '"'], ids=ascii)
def test_a_giant_failure_is_answered(listener, start, text):
    """However long and whatever its characters, an error arrives, with its type, its hook and the end of its stack."""
    start(
        HOOKS
        + f"""
E = type("E" + "é" * 70_000, (Exception,), {{}})
def bad(): raise E('''{text}''' * 100_000)
bad.__qualname__ = "bäd🦀" * 10_000
for _ in range(500): snapext.register_after_restore(lambda: None)
snapext.register_after_restore(bad)
"""
        + WAIT
    )
    peer = listener.accept()
    peer.greet()
    done = peer.ask(AFTER)

    assert done.error.type.startswith("Eé")
    assert done.error.hook.startswith("__main__.bäd🦀")
    assert done.error.message
    assert len(done.error.stack) >= 1_000


# --- what the hooks are promised -------------------------------------------------------------------------------------


def test_random_differs_between_two_processes_told_the_same(listener, start):
    """Two processes that were seeded alike draw different values after the same restore."""
    code = HOOKS + "import random; random.seed(1)" + READY + "snapext.wait_restored(20); print(random.random())"
    apps = [start(code), start(code)]
    for _ in apps:
        peer = listener.accept()
        peer.greet()
        peer.ask(AFTER)
    first, second = (app.end()[0] for app in apps)

    assert first != second


@pytest.mark.parametrize(
    ("setting", "reseeds"), [({}, True), ({"SNAPEXT_RESEED": "1"}, True), ({"SNAPEXT_RESEED": "0"}, False)]
)
def test_reseeding_can_be_switched_off(listener, start, setting, reseeds):
    """SNAPEXT_RESEED=0, and nothing else, leaves random as it was."""
    app = start(
        HOOKS + "import random; random.seed(42)" + READY + "snapext.wait_restored(20); print(random.random())",
        **setting,
    )
    peer = listener.accept()
    peer.greet()
    peer.ask(AFTER)
    random.seed(42)

    assert reseeds == (f"{random.random()}\n" != app.end()[0])


GENERATORS = """
import os, random, ssl, sys, snapext
def say(*words): print(*words, flush=True)
class Own:
    seeds = []
    def reseed(self, seed):
        self.seeds.append(seed)
stirred = []
import _ssl
_ssl.RAND_add = lambda seed, _entropy: stirred.append(seed)
random.seed(42)
snapext.register_generator(Own())
"""
RENEWED = "say(random.random() != random.Random(42).random(), len(set(Own.seeds)), stirred[-1][:32].decode())\n"


def test_a_process_without_hooks_is_reseeded(listener, start):
    """It has a link; a generator that it registers makes one. The seed begins with the environment id."""
    app = start(GENERATORS + READY + "snapext.wait_restored(20)\n" + RENEWED)
    peer = listener.accept()
    assert peer.greet().hooks == HookCounts()
    assert peer.ask(BEFORE).ok
    assert peer.ask(AFTER).ok

    assert app.line() == f"True 1 {ENVIRONMENT_ID}"
    app.end()


def test_a_fork_of_a_stale_parent_is_reseeded(listener, start):
    """It was forked before its parent was restored, and has found no more than the parent had."""
    app = start(
        GENERATORS
        + READY
        + READ
        + "if not os.fork():\n    snapext.wait_restored(20)\n    "
        + RENEWED
        + "    os._exit(0)\nos.wait()\n"
    )
    parent = listener.accept()
    parent.greet()
    assert parent.ask(BEFORE).ok
    app.go()
    child = listener.accept()
    assert child.greet().forked
    assert child.ask(AFTER).ok

    assert app.line() == f"True 1 {ENVIRONMENT_ID}"
    app.end()


@pytest.mark.parametrize(("setting", "ok"), [("1", False), ("0", True)])
def test_a_generator_that_cannot_be_renewed_fails_the_phase(listener, start, setting, ok):
    """Before the snapshot, when the hooks have run: no version is published whose clones draw the same."""
    app = start(HOOKS + "snapext.register_generator(object())\n" + REPORT, SNAPEXT_RESEED=setting)
    peer = listener.accept()
    peer.greet()
    done = peer.ask(BEFORE)
    assert done.ok == ok
    assert ok or (done.error.type, done.error.hook) == ("NotRenewedError", None)

    assert app.end()[0] == "['before']\n"


def test_a_hook_that_seeds_has_the_last_word(listener, start):
    """A seed that an after-restore hook sets is not overwritten: reseeding comes before the first hook."""
    app = start(
        "import random, snapext; snapext.register_after_restore(random.seed, 42)\n"
        "snapext.wait_restored(20); print(random.random())"
    )
    peer = listener.accept()
    peer.greet()
    peer.ask(AFTER)
    random.seed(42)

    assert f"{random.random()}\n" == app.end()[0]


def test_hooks_registered_with_snapshot_restore_py_run_too(listener, start):
    """A hook registered with AWS's own module is counted, and runs in its place."""
    pytest.importorskip("snapshot_restore_py")
    app = start(
        HOOKS + "import snapshot_restore_py as theirs; theirs.register_after_restore(ran.append, 'theirs')\n"
        "snapext.register_after_restore(ran.append, 'ours')" + REPORT
    )
    peer = listener.accept()
    peer.greet()
    peer.ask(AFTER)

    assert app.end()[0] == "['after', 'theirs', 'ours']\n"


def test_an_app_that_exits_in_the_middle_of_a_hook_exits(listener, start):
    """A hook that still runs does not keep the app from ending, and nothing is printed."""
    app = start(HOOKS + "snapext.register_before_snapshot(time.sleep, 20)" + WAIT)
    peer = listener.accept()
    peer.greet()
    peer.send(BEFORE)
    while "sleep" not in peer.next(Running).hook:
        pass

    assert app.end() == ("", "")


def test_an_extension_that_does_not_read_does_not_hold_up_the_app(listener, start):
    """Registering never blocks, however slow the other end is."""
    app = start(HOOKS + "for _ in range(20_000): snapext.register_after_restore(print)\nprint('registered')")
    listener.accept().send(WELCOME)

    assert app.end()[0] == "registered\n"
