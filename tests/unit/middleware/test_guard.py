"""Which requests pass at once, and which are looked at: by the readings of a clock that the test moves."""

import asyncio
import threading
import time

import pytest

from snapext.asgi import SnapStartMiddleware
from snapext.clock.reader import Reader
from snapext.guest import primitives
from snapext.link import linking
from snapext.link.link import Link
from snapext.middleware import guard
from snapext.middleware.guard import Guard
from snapext.wsgi import SnapStartMiddleware as WsgiMiddleware

SNAP_START = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}


class Clocks:
    """Both clocks, and how often they were read."""

    def __init__(self):
        self.offset_s, self.steady_s, self.reads = 1_790_000_000.0, 50.0, 0

    def reader(self):
        return Reader(self.wall, self.steady)

    def wall(self):
        self.reads += 1
        return self.steady_s + self.offset_s

    def steady(self):
        self.reads += 1
        self.steady_s += 1e-6
        return self.steady_s


@pytest.fixture
def clocks():
    return Clocks()


@pytest.fixture
def own(clocks, monkeypatch):
    """The guard that middlewares find, on these clocks."""
    own = Guard(SNAP_START, clocks.reader())
    monkeypatch.setattr(guard, "_guard", own)
    return own


def test_with_mode_off_everything_passes_whatever_the_clocks_say(clocks):
    """No hook runs, so no request waits for one. The adapter's two POSTs still have their routes."""
    path = {"AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH": "/after"}
    own = Guard({**SNAP_START, **path, "SNAPEXT_MODE": "off"}, clocks.reader())
    clocks.offset_s += 40

    assert own.may_pass()
    assert own.routes.paths == {"/after": "after_restore"}
    assert not Guard({**path, "SNAPEXT_MODE": "off"}, clocks.reader()).routes.paths


def test_until_the_restore_a_request_costs_two_readings(own, clocks):
    """The first request is looked at; after that, nothing but the clocks."""
    assert own.may_pass()
    clocks.reads = 0
    assert all(own.may_pass() for _ in range(100))
    assert clocks.reads == 200


def test_steps_pass_and_a_restore_does_not(own, clocks):
    """A step is looked at once, and is then what the clocks say."""
    for step_s in (0.1, 0.7, -0.7, -30.0, 1.2):
        clocks.offset_s += step_s
        assert own.may_pass()
        clocks.reads = 0
        assert own.may_pass()
        assert clocks.reads == 2
    clocks.offset_s += 2.0
    assert not own.may_pass()


def test_the_first_request_may_be_the_first_after_the_restore(own, clocks):
    """A readiness check by TCP sends none before the snapshot: what counts is when the middleware was made."""
    clocks.offset_s += 30
    assert not own.may_pass()


def test_who_waits_is_told_apart_from_who_runs_it(own, clocks):
    """One of any number, and from then on nothing passes until it is over, whatever the clock says."""
    assert own.may_pass()
    clocks.offset_s += 30
    assert not own.may_pass()
    restoring, mine = own.claim()
    assert mine
    assert own.claim() == (restoring, False)
    clocks.offset_s -= 30
    assert not own.may_pass()
    own.forked()
    assert own.claim()[1]  # a child has none of its parent's threads: it runs them itself


def test_a_child_owes_its_hooks_before_the_clock_is_set(own):
    """The web adapter posts before that, and something forks while the hooks run: the child serves nothing stale."""
    assert own.may_pass()
    own.claim(told=True)
    own.forked()
    assert not own.may_pass()
    own.remember()  # it is too late for the other POST
    assert own.is_restoring()
    assert not own.may_pass()
    assert own.claim()[1]


def test_two_threads_that_make_the_first_middleware_share_one_guard(monkeypatch):
    """A fork resets one: with another the child would wait for its parent's threads."""
    made, second_came, found = [], threading.Event(), []
    second = threading.Thread(target=lambda: found.append(guard.current()))

    def make(environ):
        made.append(Guard(environ))
        if len(made) > 1:
            second_came.set()
        else:
            second.start()
            assert second_came.wait(10)
        return made[-1]

    def waits(time_s):
        second_came.set()
        time.sleep(time_s)

    monkeypatch.setattr(primitives, "sleep", waits)  # what a thread does that finds the lock taken
    monkeypatch.setattr(guard, "Guard", make)
    monkeypatch.setattr(guard, "_guard", None)
    monkeypatch.setattr(Link, "has_middleware", False)
    monkeypatch.setattr(linking, "join", lambda: None)
    found.append(guard.current())
    second.join(10)
    assert len(found) == 2
    assert found[0] is found[1] is made[0]
    assert len(made) == 1


def test_a_restore_that_is_said_during_a_look_closes_the_guard(own, clocks):
    """The look of another thread, which saw no jump, opens nothing again."""
    wall = clocks.wall

    def said_meanwhile():
        own.claim(told=True)
        return wall()

    own._reader.wall = said_meanwhile
    assert not own.may_pass()
    assert not own.may_pass()


def test_what_runs_hooks_is_there_before_the_snapshot_without_an_extension(own, monkeypatch):
    """An extension has it made in the phase before the snapshot; else the first request after the restore would."""
    prepared = []
    monkeypatch.setattr(Link, "prepare", lambda link: prepared.append(link))
    for connected in (True, False):
        monkeypatch.setattr(Link, "is_connected", lambda _, connected=connected: connected)
        own._seen_any = False
        own._high = guard.NOTHING
        assert own.may_pass()
        assert own.may_pass()
        assert len(prepared) == (not connected)


def test_what_passes_between_the_two_phases_is_counted(own, clocks, monkeypatch):
    """Not before the snapshot, nor what is held; a child begins anew."""
    link = Link(takes_part=False)
    monkeypatch.setattr(linking, "_link", link)
    assert own.may_pass()
    assert link.view.passed is None  # no middleware was made for this one
    link.view.passed = 0
    link.view.phase = "before_snapshot"
    assert own.may_pass()
    assert link.view.passed == 0
    link.view.phase = "snapshot"
    assert own.may_pass()
    assert own.may_pass()
    assert link.view.passed == 2
    assert link.view.child().passed == 0
    clocks.offset_s += 30
    assert not own.may_pass()
    assert link.view.passed == 2


def test_outside_of_snap_start_no_clock_is_read_for_a_request(clocks):
    """Nothing is held, and there are no routes."""
    for kind in (None, "on-demand"):
        environ = {} if kind is None else {"AWS_LAMBDA_INITIALIZATION_TYPE": kind}
        own = Guard({**environ, "AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH": "/x"}, clocks.reader())
        clocks.reads, clocks.offset_s = 0, clocks.offset_s + 100
        assert own.may_pass()
        assert (clocks.reads, own.routes.paths) == (0, {})


@pytest.mark.parametrize("kind", ["http", "websocket", "lifespan", "something new"])
def test_what_passes_is_handed_on_untouched(own, kind):
    """The same objects, not copies or wrappers of them: a stream, a websocket and the lifespan are the app's own."""
    handed = []

    async def app(*given):
        handed.extend(given)

    given = ({"type": kind, "method": "GET", "path": "/"}, object(), object())
    asyncio.run(SnapStartMiddleware(app)(*given))
    assert all(one is other for one, other in zip(handed, given, strict=True))


def test_what_passes_is_handed_on_untouched_under_wsgi(own):
    """The iterable too: a server may look for what it is (`wsgi.file_wrapper`)."""
    environ, answer = {"REQUEST_METHOD": "GET"}, object()
    assert WsgiMiddleware(lambda *given: (given, answer))(environ, len) == ((environ, len), answer)
