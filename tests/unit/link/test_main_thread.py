"""Where a hook is called: each look at the main thread, and what follows from it."""

import asyncio
import itertools
import sys

from helpers import for_each
from snapext.link.looking import HELD, HERE, LINK, LOOP, SERVERS, SIGNAL, Look, decide, loop_beneath
from snapext.link.main_thread import _Job

FLAGS = ("in_main", "patched", "loop", "late", "held", "handler", "blocked", "waits")
SETTINGS = ("auto", "main", "link")
MODULES = ("gunicorn.workers.sync", "myapp.queue", "")


def expected(setting, server, *, in_main, patched, loop, late, held, handler, blocked, waits):
    """The rule, said once more in another way."""
    if in_main:
        return HERE
    if setting == "link" or patched or late:
        return LINK
    if loop:
        return LOOP if setting == "main" else LINK
    if held:
        return HELD
    return SIGNAL if handler and waits and not blocked and server in SERVERS else LINK


@for_each("setting", SETTINGS)
@for_each("server", MODULES)
def test_every_look_has_one_answer(setting, server):
    """All combinations: the main thread is signalled only where nothing at all speaks against it."""
    for values in itertools.product((False, True), repeat=len(FLAGS)):
        flags = dict(zip(FLAGS, values, strict=True))

        assert decide(Look(setting, server=server, **flags))[0] == expected(setting, server, **flags), flags


def test_by_default_the_main_thread_is_reached():
    """What a Look says unless told otherwise is what lets a server's main thread run a hook."""
    assert decide(Look()) == (SIGNAL, "socketserver waits for requests there")


@for_each(
    "look, words",
    [
        (Look("link"), "SNAPEXT_HOOK_THREAD=link"),
        (Look(patched=True), "gevent"),
        (Look(late=True), "100 ms"),
        (Look(loop=True), "SNAPEXT_HOOK_THREAD=main"),
        (Look(handler=False), "handler"),
        (Look(blocked=True), "blocks"),
        (Look(waits=False), "does not wait for requests"),
        (Look(server="myapp.queue"), "myapp.queue"),
        (Look(server=""), "not Python"),
    ],
)
def test_the_reason_is_said(look, words):
    """Each refusal names its own cause."""
    way, why = decide(look)

    assert way == LINK
    assert words in why


def job(made):
    return _Job(lambda: made.append("made"), in_hook=lambda _: None, answered=lambda: None)


def test_what_was_taken_back_is_not_made_by_the_main_thread():
    """A signal that arrives late finds the claim taken."""
    made = []
    late = job(made)

    assert late.wait(1) == -1
    late.run_if_not_claimed()
    assert made == []


class LoopInC(asyncio.SelectorEventLoop):
    """As uvloop's: where it runs there is no frame of asyncio's own loop yet."""

    def run_until_complete(self, future):
        found = loop_beneath(sys._getframe())
        super().run_until_complete(future)
        return found


async def look_beneath():
    return loop_beneath(sys._getframe())


@for_each("kind", [asyncio.SelectorEventLoop, LoopInC])
def test_the_loop_that_a_thread_runs_is_found(kind):
    """While it runs, a hook is not the main thread's, which need not be looked at again after the restore."""
    made = []
    with asyncio.Runner(loop_factory=lambda: made.append(kind()) or made[0]) as runner:
        assert runner.run(look_beneath()) is made[0]


def test_a_loop_in_a_server_does_not_count():
    """A request that runs one ends, and the server waits again; without a loop there is none."""
    within_a_server = eval("lambda run, it: run(it)", {"__name__": "socketserver"})

    assert within_a_server(asyncio.run, look_beneath()) is None
    assert loop_beneath(sys._getframe()) is None


def test_what_has_begun_is_not_taken_back():
    """The other thread waits for the end of it, whatever the time."""
    made = []
    begun = job(made)
    begun.run_if_not_claimed()
    begun.run_if_not_claimed()
    begun.decline()

    assert not begun.take_back()
    assert begun.wait(1) >= 0
    assert (made, begun.declined) == (["made"], False)


def test_what_is_declined_is_known_at_once():
    """The main thread has gone on to something else: the time is not used up."""
    declined = job([])
    declined.decline()
    declined.decline()

    assert declined.wait(10) == 10
    assert declined.declined
