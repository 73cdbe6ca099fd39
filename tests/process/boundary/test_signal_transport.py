"""Python apps that cannot have our thread: SNAPEXT_TRANSPORT=signal, under gevent and in a program of one thread."""

from __future__ import annotations

import pytest

from lives import IN_ORDER, Life, Simulate

GEVENT = "gunicorn -k gevent -w 2 -b 127.0.0.1:{port} gevent_app:app"
GEVENT_ORDER = ["before_snapshot_waits", *IN_ORDER, "after_restore_waits"]
ASYNCIO = {
    "uvicorn": "uvicorn --workers 2 --port {port} signalled_loop:app",
    "gunicorn": "gunicorn -k uvicorn_worker.UvicornWorker -w 2 -b 127.0.0.1:{port} signalled_loop:app",
}
ASYNCIO_ORDER = ["before_snapshot_waits", *IN_ORDER, "after_restore_waits"]
BOTH_GENERATIONS = ["builtin", "builtin-1.1"]
SIGNAL = {"SNAPEXT_TRANSPORT": "signal"}


def check_boundary(life: Life, processes: int, order: list[str]) -> None:
    assert life.status == 0, life.stderr
    assert len(life.pids) == processes
    assert [life.hooks_of(pid) for pid in life.pids] == [order] * processes
    last_hook = max(line["at_ns"] for line in life.trace if line["phase"] != "request")
    assert [line for line in life.requests() if line["at_ns"] < last_hook] == []
    assert "signalled for" not in life.stderr  # the client's own warnings begin so
    for answer in life.answers():
        assert answer["restored"] is True
        assert answer["environment_id"] == life.document["environment_id"]


@pytest.mark.parametrize("adapter", BOTH_GENERATIONS)
def test_gevent_workers_run_each_hook_once_in_order(simulate: Simulate, adapter: str) -> None:
    """In every worker, with hooks that wait in gevent's own way; the app's own handlers are called too."""
    life = simulate(GEVENT, "--adapter", adapter, "--request", "GET /", "--request", "GET /", **SIGNAL)
    check_boundary(life, 2, GEVENT_ORDER)
    for phase in ("before_snapshot", "after_restore"):
        signalled = [event["pid"] for event in life.events("process_signalled") if event["phase"] == phase]
        assert sorted(signalled) == sorted(life.pids)
        assert sorted(event["pid"] for event in life.events(phase)) == sorted(life.pids)
    for answer in life.answers():
        assert answer["patched"] is True
        assert "snapext-link" not in answer["threads"]
        assert answer["caught"] == [4, 5]
        assert answer["blocked"] == []


def test_gevent_workers_on_the_socket_keep_their_signals(simulate: Simulate) -> None:
    """With the default transport our thread is a greenlet: hooks run, and a worker can still be ended."""
    life = simulate(GEVENT, "--workers", "2")
    check_boundary(life, 2, GEVENT_ORDER)
    (answer,) = life.answers()
    assert answer["blocked"] == []
    assert life.events("process_signalled") == []


@pytest.mark.parametrize("adapter", BOTH_GENERATIONS)
@pytest.mark.parametrize("server", ASYNCIO.values(), ids=ASYNCIO)
def test_an_asyncio_server_runs_async_hooks_on_its_loop(simulate: Simulate, server: str, adapter: str) -> None:
    """The handler returns at once, so that the loop goes on; sync and async hooks keep their order."""
    life = simulate(server, "--adapter", adapter, **SIGNAL)
    check_boundary(life, 2, ASYNCIO_ORDER)
    (answer,) = life.answers()
    assert answer["same_loop"] is True


@pytest.mark.parametrize(("when", "phase"), [("before", "before_snapshot"), ("after", "after_restore")])
def test_an_async_hook_that_raises_is_named(simulate: Simulate, when: str, phase: str) -> None:
    """A failure on the loop is the failure of the phase, and the server is not disturbed by it."""
    life = simulate("uvicorn --port {port} signalled_loop:app", HOOK=f"raise:{when}", **SIGNAL)
    assert life.status == 1
    (error,) = life.document["errors"]
    assert (error["phase"], error["type"], error["hook"]) == (phase, "ValueError", "signalled_loop.waits")
    assert "the pool is gone" in error["message"]
    assert error["stack"].count("File ") == 1


@pytest.mark.parametrize("adapter", BOTH_GENERATIONS)
def test_a_program_of_one_thread_runs_its_hooks_in_it(simulate: Simulate, adapter: str) -> None:
    """It has no other, and a handler that was there before is still called."""
    life = simulate("python one_thread.py", "--adapter", adapter, "--freeze", "0.3", **SIGNAL)
    check_boundary(life, 1, IN_ORDER)
    (answer,) = life.answers()
    assert answer["threads"] == ["MainThread"]
    assert answer["caught"] == ["earlier"]


def test_a_preloaded_master_and_its_gevent_workers_are_all_told(simulate: Simulate) -> None:
    """Handlers are inherited by a fork, and each process answers for itself."""
    life = simulate(f"{GEVENT} --preload", **SIGNAL)
    check_boundary(life, 3, GEVENT_ORDER)


def test_one_that_comes_to_the_socket_is_confirmed_whatever_others_can(simulate: Simulate) -> None:
    """SNAPEXT_SIGNAL_ACK=none is for processes that cannot answer; this one can."""
    life = simulate("python one_thread.py", SNAPEXT_SIGNAL_ACK="none", **SIGNAL)
    check_boundary(life, 1, IN_ORDER)
    assert life.events("warning") == []


def test_other_signals_can_be_chosen(simulate: Simulate) -> None:
    """The client and the extension read the same setting."""
    life = simulate("python one_thread.py", SNAPEXT_SIGNALS="USR1,RTMIN+5", **SIGNAL)
    check_boundary(life, 1, IN_ORDER)
    assert [event["signal"] for event in life.events("process_signalled")] == ["USR1", "RTMIN+5"]


def test_no_signals_and_no_thread_cannot_be(simulate: Simulate) -> None:
    """The hooks would be lost without a message: init ends with one line."""
    life = simulate("python one_thread.py", SNAPEXT_SIGNALS="0", **SIGNAL)
    assert life.status == 1
    assert "SNAPEXT_SIGNALS='0' is not accepted" in life.document["errors"][0]["message"]


@pytest.mark.parametrize(("when", "phase"), [("before", "before_snapshot"), ("after", "after_restore")])
def test_a_hook_that_raises_is_named(simulate: Simulate, when: str, phase: str) -> None:
    """As it is on the socket, with its stack."""
    life = simulate("python one_thread.py", HOOK=f"raise:{when}", **SIGNAL)
    assert life.status == 1
    assert life.events("invoke") == []
    (error,) = life.document["errors"]
    assert (error["phase"], error["type"], error["hook"]) == (phase, "ValueError", "__main__.extra_hook")
    assert "the pool is gone" in error["message"]
    assert 'one_thread.py", line' in error["stack"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_child_that_a_hook_forks_is_that_hooks_own_affair(simulate: Simulate, when: str) -> None:
    """It is not told to run the hook that forked it."""
    life = simulate("python one_thread.py", HOOK=f"fork:{when}", **SIGNAL)
    assert life.status == 0, life.stderr
    (child,) = {line["pid"] for line in life.trace if line["phase"] == "forked"}
    assert life.hooks_of(child) == ["forked"]
    (answer,) = life.answers()
    assert life.hooks_of(answer["pid"]) == IN_ORDER
