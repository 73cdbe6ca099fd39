"""The thread in which hooks run, on each kind of server under the local Lambda."""

from __future__ import annotations

import pytest

from lives import Life, Simulate

HOOKS = ["before", "after", "runs_a_loop", "waits_for_the_app"]
GUNICORN = "gunicorn -b 127.0.0.1:{port}"
IN_MAIN = {
    "gunicorn sync": f"{GUNICORN} -w 2 threads:wsgi",
    "gthread": f"{GUNICORN} -w 1 -k gthread --threads 2 threads:wsgi",
    "wsgiref": "python threads.py",
    "waitress": "waitress-serve --listen 127.0.0.1:{port} threads:wsgi",
}
ASYNCIO = {
    "uvicorn": "uvicorn --port {port} threads:asgi",
    "uvicorn worker": f"{GUNICORN} -w 1 -k uvicorn_worker.UvicornWorker threads:asgi",
    "hypercorn": "hypercorn -b 127.0.0.1:{port} threads:asgi",
}


def threads(life: Life) -> set[tuple[str, bool]]:
    """In which threads hooks ran, and whether what the main thread has opened was reached; each ran once, in order."""
    assert life.status == 0, life.stderr
    # tracing.py has hooks of its own, which come before those of the app
    for pid in life.pids:
        own = [hook for hook in life.hooks_of(pid) if hook in HOOKS]
        assert own == HOOKS
    return {(line["thread"], line["mine"]) for line in life.trace if "thread" in line}


@pytest.mark.parametrize("command", IN_MAIN.values(), ids=IN_MAIN)
def test_a_server_that_waits_in_its_main_thread_runs_hooks_there(simulate: Simulate, command: str) -> None:
    """As in the managed runtime, also a hook that runs a loop of its own."""
    assert threads(simulate(command)) == {("MainThread", True)}


@pytest.mark.parametrize("command", [IN_MAIN["gunicorn sync"], IN_MAIN["wsgiref"]], ids=["gunicorn", "wsgiref"])
def test_the_links_thread_can_be_asked_for_on_any_server(simulate: Simulate, command: str) -> None:
    """SNAPEXT_HOOK_THREAD=link."""
    assert threads(simulate(command, SNAPEXT_HOOK_THREAD="link")) == {("snapext-link", False)}


@pytest.mark.parametrize("command", ASYNCIO.values(), ids=ASYNCIO)
def test_a_hook_that_waits_for_the_apps_loop_does_not_wait_for_ever(simulate: Simulate, command: str) -> None:
    """On asyncio servers hooks stay on the thread of ours, where such a hook and one with asyncio.run() both work."""
    assert threads(simulate(command)) == {("snapext-link", False)}


def test_the_loops_own_thread_can_be_asked_for(simulate: Simulate) -> None:
    """SNAPEXT_HOOK_THREAD=main: the loop is hidden from a hook, so that asyncio.run() works there as well."""
    assert threads(simulate(ASYNCIO["uvicorn"], SNAPEXT_HOOK_THREAD="main")) == {("MainThread", True)}
