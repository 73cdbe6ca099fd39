"""Hooks in the main thread of a real process that serves, with the extension's end of its socket in our hands."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from clients import HOOKS, Start
from helpers import AFTER, BEFORE, App, Listener, wait_until
from snapext.link.looking import WAITING
from snapext.wire.messages import Done

WHERE = """
mine = threading.local()
mine.opened = True
def where(): return "main" if getattr(mine, "opened", False) else threading.current_thread().name
@snapext.register_before_snapshot
def before_where(): say("before", where())
@snapext.register_after_restore
def after_where(): say("after", where())
"""
SERVE = """
import http.server
import snapext.link.main_thread
snapext.link.main_thread.START_WITHIN_S = 10  # on a busy machine too the main thread is the one
class Server(http.server.HTTPServer):
    served = False
    def service_actions(self):
        if not self.served: say("serving")
        self.served = True
server = Server(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
server.serve_forever(0.05)
"""
BUSY = """
say('ready')
while "after" not in ran: sum(range(100))
sys.stdin.readline()
"""


def test_what_belongs_to_the_main_thread_of_a_server_is_reached(listener: Listener, start: Start):
    """A threading.local of the main thread is seen in both phases, in order, and each hook runs once."""
    app = start(HOOKS + WHERE + "def last(): say(ran)\nsnapext.register_after_restore(last)" + SERVE)
    peer = listener.accept()
    peer.greet()
    app.line()
    before, after = peer.ask(BEFORE), peer.ask(AFTER)

    assert [app.line() for _ in range(3)] == ["before main", "after main", "['before', 'after']"]
    assert [hook.name for hook in before.hooks] == ["__main__.before_where", "__main__.before"]
    assert [hook.name for hook in after.hooks] == ["__main__.after", "__main__.after_where", "__main__.last"]


def test_a_server_that_was_stopped_while_it_waited_is_reached(listener: Listener, start: Start):
    """Its poll() goes on as another system call, restart_syscall, until its time is over: here a minute."""
    app = start(HOOKS + WHERE + SERVE.replace("serve_forever(0.05)", "serve_forever(60)"))
    peer = listener.accept()
    peer.greet()
    pid = app.process.pid
    waits = wait_until(lambda: _waits_in(pid))
    for sent, state in ((signal.SIGSTOP, "T"), (signal.SIGCONT, "S")):
        os.kill(pid, sent)
        wait_until(lambda state=state: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == state)
    assert _waits_in(pid) != waits, "which is what this test is about"

    peer.ask(BEFORE)

    assert app.line() == "before main"


def _waits_in(pid: int) -> int:
    """The number of the system call in which a main thread waits; 0: in none of those."""
    number = Path(f"/proc/{pid}/task/{pid}/syscall").read_text().split()[0]
    return int(number) if number.isdigit() and int(number) in WAITING[os.uname().machine] | {219, 128} else 0


def test_an_sqlite_connection_of_the_module_can_be_closed(listener: Listener, start: Start):
    """It belongs to the thread that has made it: on another one this hook would fail."""
    app = start(
        HOOKS + "import sqlite3\ndatabase = sqlite3.connect(':memory:')\n"
        "snapext.register_before_snapshot(database.close)" + SERVE
    )
    peer = listener.accept()
    peer.greet()
    app.line()

    assert peer.ask(BEFORE).ok


def test_the_links_thread_can_be_asked_for(listener: Listener, start: Start):
    """SNAPEXT_HOOK_THREAD=link: no handler, no signal, all on the thread of ours."""
    app = start(HOOKS + WHERE + SERVE, SNAPEXT_HOOK_THREAD="link")
    peer = listener.accept()
    peer.greet()
    app.line()
    assert peer.ask(BEFORE).ok
    assert peer.ask(AFTER).ok

    assert [app.line(), app.line()] == ["before snapext-link", "after snapext-link"]


def test_a_main_thread_that_works_is_left_alone(listener: Listener, start: Start):
    """It does not wait for requests: the hooks run at once on the thread of ours."""
    app = start(HOOKS + WHERE + BUSY)
    peer = listener.accept()
    peer.greet()
    before, after = peer.ask(BEFORE), peer.ask(AFTER)

    assert [app.line(), app.line()] == ["before snapext-link", "after snapext-link"]
    assert before.ok
    assert after.ok


LATE = """
from snapext.link import looking, main_thread
main_thread.START_WITHIN_S = 0.4  # more than a busy machine takes for nothing
looking.is_waiting = lambda: True  # it was so when we looked
looking.waiting_module = lambda frame: "socketserver"
looking.is_beneath_a_server = lambda frame: True
"""
IN_C = """
import ctypes
say('ready')
ctypes.CDLL(None).read(0, ctypes.create_string_buffer(1), 1)
print(ran)
"""


def wait_until_in_c(app: App) -> None:
    """Our handler has SA_RESTART: the call of C goes on after a signal, and Python hears nothing of it."""

    def reads() -> bool:
        words = Path(f"/proc/{app.process.pid}/syscall").read_text().split()
        return words[0] in ("0", "63") and words[1] == "0x0"

    wait_until(reads)


def test_a_main_thread_that_does_not_begin_in_time_is_passed_over(listener: Listener, start: Start):
    """It is in a call of C that no handler interrupts: each hook runs once, on ours, and only the first one waits."""
    app = start(
        HOOKS + WHERE + LATE + IN_C,
    )
    peer = listener.accept()
    peer.greet()
    wait_until_in_c(app)
    before = peer.ask(BEFORE)
    began = time.monotonic()
    after = peer.ask(AFTER)
    took_s = time.monotonic() - began

    assert [app.line(), app.line()] == ["before snapext-link", "after snapext-link"]
    assert 400 <= before.hooks[0].duration_ms < 3_000
    assert sum(hook.duration_ms for hook in after.hooks) < 400
    assert after.ok
    assert took_s < 2
    out, err = app.end()
    assert out == "['before', 'after']\n"
    assert "run in the thread snapext-link: the main thread did not begin within 100 ms" in err


def test_without_before_snapshot_hooks_the_restore_does_not_wait_either(listener: Listener, start: Start):
    """Whether the main thread can be reached is found out before the snapshot."""
    app = start(
        HOOKS.replace("@snapext.register_before_snapshot\n", "") + LATE + IN_C,
    )
    peer = listener.accept()
    peer.greet()
    wait_until_in_c(app)
    assert peer.ask(BEFORE).ok
    (hook,) = peer.ask(AFTER).hooks

    assert hook.duration_ms < 400
    assert app.end()[0] == "['after']\n"


def test_a_failure_in_the_main_thread_is_that_of_the_hook(listener: Listener, start: Start):
    """With its stack, which begins at the hook; the server serves on."""
    app = start(
        HOOKS + "def fails(): raise ValueError(threading.current_thread().name)\n"
        "snapext.register_before_snapshot(fails)" + SERVE
    )
    peer = listener.accept()
    peer.greet()
    app.line()
    error = peer.ask(BEFORE).error

    assert error is not None
    assert (error.type, error.message, error.hook) == ("ValueError", "MainThread", "__main__.fails")
    assert error.stack.splitlines()[1].endswith("in fails")
    assert app.process.poll() is None


def test_ctrl_c_during_a_hook_reaches_the_server_after_the_answer(listener: Listener, start: Start):
    """The hook fails, which is answered, and then the main thread has its KeyboardInterrupt."""
    app = start(
        HOOKS
        + "def slow(): say('in'); time.sleep(20)\nsnapext.register_before_snapshot(slow)"
        + SERVE.replace("server.serve_forever", "try: server.serve_forever").rstrip()
        + "\nexcept KeyboardInterrupt: print('stopped')\n"
    )
    peer = listener.accept()
    peer.greet()
    app.line()
    peer.send(BEFORE)
    assert app.line() == "in"
    app.process.send_signal(signal.SIGINT)
    done = peer.next(Done)

    assert done.error is not None
    assert done.error.type == "KeyboardInterrupt"
    assert app.end()[0] == "stopped\n"


def test_a_child_that_such_a_hook_forks_takes_no_part(listener: Listener, start: Start):
    """It is the hook's own affair, whichever thread runs the hook; a child of the server itself is linked."""
    app = start(
        HOOKS + "def forks():\n    child = os.fork()\n    if not child:\n"
        "        snapext.connect(); say(len(os.listdir('/proc/self/task'))); os._exit(0)\n    os.waitpid(child, 0)\n"
        "snapext.register_before_snapshot(forks)" + SERVE
    )
    peer = listener.accept()
    peer.greet()
    app.line()
    assert peer.ask(BEFORE).ok

    assert app.line() == "1"


def test_a_forked_worker_is_reached_in_its_own_main_thread(listener: Listener, start: Start):
    """The handler is inherited, and the main thread is the one that has forked."""
    app = start(HOOKS + WHERE + "parent = os.getpid()\nos.fork()\nmine.opened = True" + SERVE)
    peers = [listener.accept(), listener.accept()]
    hellos = [peer.greet() for peer in peers]
    app.line(), app.line()
    for peer in peers:
        assert peer.ask(BEFORE).ok

    assert [app.line(), app.line()] == ["before main", "before main"]
    for hello in hellos:
        if hello.forked:
            os.kill(hello.pid, signal.SIGKILL)


def test_a_handler_of_the_apps_own_is_respected(listener: Listener, start: Start):
    """The first signal that nobody uses is taken; if the app takes that one later, hooks run on our thread."""
    app = start(
        "import signal\nfirst = signal.SIGRTMIN + 6\nsignal.signal(first, lambda *_: print('theirs', flush=True))"
        + HOOKS
        + WHERE
        + "say(signal.getsignal(first + 1).__module__)\n"
        "signal.signal(first + 1, signal.SIG_IGN)" + SERVE
    )
    peer = listener.accept()
    peer.greet()
    assert app.line() == "snapext.link.handler"
    app.line()
    assert peer.ask(BEFORE).ok

    assert app.line() == "before snapext-link"
