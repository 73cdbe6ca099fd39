"""`make demo`'s program: what a newcomer sees first."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

from helpers import LIMIT_S, ROOT, clean_environ
from snapext_tools.cli import COMMANDS


def test_the_demo_shows_the_problem_then_its_end_and_the_next_step() -> None:
    """Every worker has the old token and the closed connection without snapext, and neither with it."""
    demo = [sys.executable, str(ROOT / "examples" / "demo" / "demo.py"), "--workers", "2"]
    done = subprocess.run(
        demo, env=clean_environ(), capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    without, _, attached = done.stdout.partition("\nWith snapext\n")
    assert set(re.findall(r"GET /  200 token \w+ (.*?) {3}GET /db  (.*)", without)) == {
        ("from before the snapshot", "500 connection closed by the database")
    }
    assert set(re.findall(r"GET /  200 token \w+ (.*?) {3}GET /db  (.*)", attached)) == {("new", "200 fine")}
    assert re.findall(r"✓ (.*)", attached) == [
        *("app.close_connection in 2 workers", "app.reconnect in 2 workers", "app.renew_token in 2 workers")
    ]
    assert "OK: 2 processes, 6 hooks run" in attached
    _, _, after = attached.partition("\nNext")
    assert set(re.findall(r"(?<=\s)snapext (\w+) ", after)) == {"simulate", "doctor", "attach"} <= set(COMMANDS)


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The demo's program, imported; its modules have common names."""
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "demo"))
    yield import_module("demo")
    for name in ("demo", "database"):
        sys.modules.pop(name, None)


@pytest.fixture
def database(demo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The demo's, which ends with the test: its thread may wait for a connection then, or be about to."""
    accept, ended = demo.Database.accept, threading.Event()

    def until_closed(self: Any) -> None:
        with contextlib.suppress(OSError):
            accept(self)
        ended.set()

    monkeypatch.setattr(demo.Database, "accept", until_closed)
    database = demo.Database()
    yield database
    database.server.shutdown(socket.SHUT_RDWR)
    assert ended.wait(LIMIT_S)
    database.server.close()


def test_a_machine_on_which_the_demo_hears_late_of_the_snapshot_shows_the_same(database: Any) -> None:
    """A clone has asked by then, on an old connection, and has opened a new one: one is closed, one is answered."""
    database.begin()
    with connected(database.port) as old:
        assert ask(old, "connections") == "1\n"
        old.sendall(b"how are you?\n")
        with connected(database.port) as new:
            new.sendall(b"how are you?\n")
            database.close_idle()
            database.thaw()
            assert old.makefile().readline() == ""
            assert new.makefile().readline() == "fine\n"


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)


def ask(connection: socket.socket, question: str) -> str:
    connection.sendall(f"{question}\n".encode())
    return connection.makefile().readline()


def test_a_demo_that_fails_says_last_what_it_expected_and_saw(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing real makes it fail. The life that it shows ends with the simulator's verdict, which may be right."""

    class Life(demo.Life):  # type: ignore[misc, name-defined]
        def __init__(self, *_: object) -> None:
            self.old_tokens, self.lines, self.events, self.ok = {"a"}, ["NOT JUDGED\n"], [], True
            self.answers = [
                ("/", 200, {"worker": 1, "token": "a"}),
                *[("/db", status, {"worker": 1, "said": "so"}) for status in (200, 500, 500)],
            ]

    monkeypatch.setattr(demo, "Life", Life)
    monkeypatch.setattr(sys, "argv", ["demo.py"])
    with pytest.raises(SystemExit) as end:
        demo.main()
    assert "The whole life:\n\nNOT JUDGED\n" in capsys.readouterr().err
    assert end.value.code == (
        "The demo FAILED in the life without snapext: expected only a token from before the snapshot, and 500 at /db; "
        "seen: 1 times 200 at /db, 2 times 500 at /db, 1 times a token from before the snapshot."
    )
