"""The middleware in a process whose extension is there: the test holds the extension's end of the socket."""

from __future__ import annotations

import json
import time

from clients import HOOKS, Start
from helpers import AFTER, BEFORE, WELCOME, App, Listener, Peer
from snapext.wire.messages import Describe, Described, Done, Hooks, Restored, Result

ASGI = """
import asyncio
from snapext.clock.reader import Reader
from snapext.middleware import guard
shift = 0.0
guard.Reader = lambda: Reader(lambda: time.time() + shift)
from snapext.asgi import SnapStartMiddleware

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": repr(ran).encode()})
app = SnapStartMiddleware(app)

async def ask(path="/", method="GET"):
    scope = {"type": "http", "method": method, "path": path, "headers": [], "client": ("127.0.0.1", 1),
             "query_string": b"", "http_version": "1.1"}
    answer = []
    async def send(message):
        answer.append(message.get("status") or message["body"].decode())
    await app(scope, None, send)
    return answer

async def asked(count, **request):
    answers = await asyncio.gather(*(ask(**request) for _ in range(count)))
    return [list(one) for one in sorted({tuple(answer) for answer in answers})]

async def line():
    return await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
"""
RESTORED = """
async def main():
    global shift
    await ask()
    say("ready")
    await line()
    shift = 30.0
    say("restored")
    say(json.dumps(await asked(50)))
    await line()
    say(json.dumps(await asked(2)))
import json
import time
asyncio.run(main())
"""


def take_to_snapshot(app: App, listener: Listener) -> Peer:
    """The extension takes the process through the first phase."""
    assert app.line() == "ready"
    peer = listener.accept()
    peer.greet(WELCOME)
    assert peer.ask(BEFORE).ok
    app.go()
    assert app.line() == "restored"
    return peer


def test_requests_wait_until_the_extension_has_told_the_process(listener: Listener, start: Start):
    """The clock shows the restore, the extension says it a moment later: the hooks run once, then all pass."""
    app = start(HOOKS + ASGI + RESTORED)
    peer = take_to_snapshot(app, listener)
    assert peer.ask(AFTER).ok

    assert json.loads(app.line()) == [[200, "['before', 'after']"]]
    app.go()
    assert json.loads(app.line()) == [[200, "['before', 'after']"]]


EARLY = """
async def main():
    global shift
    await ask()
    say("ready")
    await line()
    say(json.dumps(await ask("/restored", "POST")))
    await line()
    say(json.dumps(await ask("/restored", "POST")))
    say(json.dumps(await ask()))
import json
import time
asyncio.run(main())
"""


def test_a_restore_that_is_said_before_the_snapshot_is_the_apps(listener: Listener, start: Start):
    """By code in the function: it runs nothing, and takes nothing from the adapter's own POST; the process serves."""
    app = start(HOOKS + ASGI + EARLY, AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH="/restored")
    assert app.line() == "ready"
    peer = listener.accept()
    peer.greet(WELCOME)
    peer.send(Describe(1))
    peer.next(Described)
    app.go()
    assert json.loads(app.line()) == [200, "[]"]

    assert peer.ask(BEFORE).ok
    app.go()
    adapter = listener.accept()  # the middleware, on behalf of it
    adapter.greet()
    adapter.next(Restored)
    adapter.send(Result(True))
    assert json.loads(app.line()) == [200, ""]
    assert json.loads(app.line()) == [200, "['before']"]


OLDER = """
async def main():
    await ask()
    say("ready")
    await line()
    say(json.dumps(await ask("/restored", "POST")))
    await line()
    say(json.dumps(await ask()))
import json
asyncio.run(main())
"""


def test_an_older_extension_is_not_told_of_the_restore_and_not_waited_for(listener: Listener, start: Start):
    """It would ignore the word. It waits for the adapter's next check, which comes when the POST is answered."""
    app = start(HOOKS + ASGI + OLDER, AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH="/restored")
    assert app.line() == "ready"
    peer = listener.accept()
    peer.greet(WELCOME.replace(commands=None))
    assert peer.ask(BEFORE).ok
    app.go()
    assert json.loads(app.line()) == [200, ""]

    assert peer.ask(AFTER).ok
    app.go()
    assert json.loads(app.line()) == [200, "['before', 'after']"]
    assert "the layer has the hooks run when the web adapter checks. Use the same version of both" in app.end()[1]


def test_beside_an_older_extension_that_is_told_nothing_the_process_runs_its_own(listener: Listener, start: Start):
    """It has not begun the boundary, and never will: no check points at it."""
    app = start(HOOKS + ASGI + OLDER, AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH="/restored")
    assert app.line() == "ready"
    peer = listener.accept()
    peer.greet(WELCOME.replace(commands=None))
    peer.send(Describe(1))
    peer.next(Described)
    app.go()
    assert json.loads(app.line()) == [200, ""]
    app.go()
    assert json.loads(app.line()) == [200, "['after']"]
    assert "this process runs its own. Use the same version of both" in app.end()[1]


PASSING = """
async def main():
    await ask()
    say("ready")
    for _ in range(3):
        await line()
        say(json.dumps(await ask()))
    await line()
import json
import time
asyncio.run(main())
"""


def test_a_request_that_passes_between_the_hooks_of_the_two_phases_is_told(listener: Listener, start: Start):
    """The process knows of no restore yet; that it may have served stale state stays no secret of its own."""
    app = start(HOOKS + ASGI + PASSING)
    assert app.line() == "ready"
    peer = listener.accept()
    hello = peer.greet(WELCOME)
    told = hello if hello.passed is not None else peer.next(Hooks)
    assert told.passed == 0
    app.go()
    app.line()
    assert peer.ask(BEFORE).ok
    for passed in (1, 2):
        app.go()
        assert json.loads(app.line()) == [200, "['before']"]
        assert peer.next(Hooks).passed == passed
    assert peer.ask(AFTER).ok


def test_an_extension_that_is_gone_is_not_waited_for(listener: Listener, start: Start):
    """It ended after the snapshot: the process runs its hooks itself, once."""
    app = start(HOOKS + ASGI + RESTORED)
    peer = take_to_snapshot(app, listener)
    listener.server.close()
    peer.socket.close()

    began = time.monotonic()
    assert json.loads(app.line()) == [[200, "['before', 'after']"]]
    assert time.monotonic() - began < 9, "it has waited as long as the hooks may take"


def test_an_extension_that_never_says_it_is_no_reason_to_serve(listener: Listener, start: Start):
    """When the time of the hooks is over every request gets 503, with a text that names the extension's log."""
    app = start(HOOKS + ASGI + RESTORED, SNAPEXT_AFTER_RESTORE_TIMEOUT_MS="1")
    take_to_snapshot(app, listener)

    ((status, body),) = json.loads(app.line())
    assert status == 503
    assert "its after-restore hooks have not run (NotTold)" in body


def test_hooks_that_fail_by_the_extensions_order_are_an_answer_of_503(listener: Listener, start: Start):
    """The extension reports it; until the platform ends the environment nothing is served."""
    failing = HOOKS + "\n@snapext.register_after_restore\ndef fails(): raise OSError('no')\n"
    app = start(failing + ASGI + RESTORED)
    peer = take_to_snapshot(app, listener)
    assert not peer.ask(AFTER).ok

    ((status, body),) = json.loads(app.line())
    assert status == 503
    assert "its after-restore hook __main__.fails failed (OSError)" in body


def test_a_late_extension_does_not_run_hooks_again(listener: Listener, start: Start):
    """It answers in the middle of hooks that the process runs by itself: that answer is theirs."""
    held = HOOKS + "\n@snapext.register_after_restore\ndef holds(): say('holds'); sys.stdin.readline(); ran.append(1)\n"
    app = start(held + ASGI + RESTORED.replace("    await line()\n    shift", "    shift", 1))
    assert [app.line() for _ in range(3)] == ["ready", "restored", "holds"]
    peer = listener.accept()
    peer.greet(WELCOME)
    peer.send(AFTER)
    app.go()
    done = peer.next(Done)

    assert done.ok
    assert [timing.name for timing in done.hooks] == ["__main__.after", "__main__.holds"]
    assert json.loads(app.line()) == [[200, "['after', 1]"]]


SLOW = """
async def main():
    global shift
    await ask()
    shift = 30.0
    say(json.dumps(await asked(3)))
    await line()
    while (answers := await asked(3))[0][0] == 503:  # the hook has said that it ends, and its thread goes on
        await asyncio.sleep(0)
    say(json.dumps(answers))
import json
import time
asyncio.run(main())
"""


def test_hooks_that_outlast_their_budget_hold_requests_no_longer(path, start: Start):
    """They get 503 and a line names the variable; when the hooks have run after all, requests pass."""
    held = HOOKS + "\n@snapext.register_after_restore\ndef holds(): sys.stdin.readline(); say('ended')\n"
    app = start(held + ASGI + SLOW, SNAPEXT_AFTER_RESTORE_TIMEOUT_MS="1")

    ((status, body),) = json.loads(app.line())
    assert (status, "its after-restore hooks have not run (TimeoutError)" in body) == (503, True)
    app.go()
    assert app.line() == "ended"
    app.go()
    assert json.loads(app.line()) == [[200, "['after']"]]
    assert "still run after 1 ms (SNAPEXT_AFTER_RESTORE_TIMEOUT_MS)" in app.end()[1]


THREADS = """
import time
from snapext.clock.reader import Reader
from snapext.middleware import guard
shift = 0.0
guard.Reader = lambda: Reader(lambda: time.time() + shift)
from snapext.wsgi import SnapStartMiddleware
app = SnapStartMiddleware(lambda environ, start_response: [repr(ran).encode()])
ask = lambda: b"".join(app({"REQUEST_METHOD": "GET"}, lambda status, headers: None)).decode()
ask()
shift = 30.0
answers = set()
many = [threading.Thread(target=lambda: answers.add(ask())) for _ in range(200)]
for one in many: one.start()
for one in many: one.join()
print(answers, flush=True)
if not (child := os.fork()):
    print(ask(), snapext.is_restored(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


def test_two_hundred_threads_run_the_hooks_once(start: Start):
    """Without any extension; and a child that is forked afterwards is restored as its parent is."""
    slow = HOOKS + "\n@snapext.register_after_restore\ndef slow(): time.sleep(0.1); ran.append('slow')\n"
    out, err = start(slow + THREADS).end()
    assert sorted(out.splitlines()) == ["['after', 'slow'] True", """{"['after', 'slow']"}"""]
    assert "before-snapshot hooks of process" in err


HELD = """
import time
from snapext.link import main_thread
main_thread.START_WITHIN_S = 10  # on a busy machine too the main thread is the one
def says_that_it_is_held():
    while main_thread._wake is None: time.sleep(0.001)
    say("held")
from snapext.clock.reader import Reader
from snapext.middleware import guard
shift = 0.0
guard.Reader = lambda: Reader(lambda: time.time() + shift)
from snapext.wsgi import SnapStartMiddleware
app = SnapStartMiddleware(lambda environ, start_response: [repr(ran).encode()])
ask = lambda: b"".join(app({"REQUEST_METHOD": "GET"}, lambda status, headers: None)).decode()
@snapext.register_after_restore
def where():
    ran.append(threading.current_thread() is threading.main_thread())
ask()
say("ready")
sys.stdin.readline()
shift = 30.0
say("restored")
threading.Thread(target=says_that_it_is_held).start()
say(ask())
"""


def test_a_request_that_is_held_in_the_main_thread_makes_room_for_the_hooks(listener: Listener, start: Start):
    """A server with one thread: they run there at once, where what belongs to the thread is reached."""
    app = start(HOOKS + HELD)
    peer = take_to_snapshot(app, listener)
    assert app.line() == "held"
    assert peer.ask(AFTER).ok
    assert app.line() == "['before', 'after', True]"
    assert app.end() == ("", "")  # nor did anything wait for that thread in vain: a line would say so


FORKS = """
from snapext.wsgi import SnapStartMiddleware
parent, runs, forked = os.getpid(), threading.Event(), threading.Event()
app = SnapStartMiddleware(lambda environ, start_response: [repr(ran).encode()])
def ask(method="GET", path="/"):
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1"}
    return b"".join(app(environ, lambda status, headers: None)).decode()
@snapext.register_after_restore
def holds():
    if os.getpid() == parent:
        runs.set()
        forked.wait()
ask()
posted = threading.Thread(target=lambda: ask("POST", "/restored"))
posted.start()
runs.wait()
if not (child := os.fork()):
    say(ask(), snapext.is_restored())
    os._exit(0)
os.waitpid(child, 0)
forked.set()
posted.join()
say(ask())
"""


def test_a_child_that_is_forked_while_the_posted_hooks_run_runs_its_own(start: Start):
    """The clock has not been set yet: what the child knows of the restore is that its parent was told."""
    out, _ = start(HOOKS + FORKS, AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH="/restored").end()
    assert out.splitlines() == ["['after', 'after'] True", "['after']"]
