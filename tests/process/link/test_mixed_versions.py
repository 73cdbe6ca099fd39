"""The layer and the package may have different versions: the newest of each beside an older one, as recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from clients import HOOKS, REPORT, Start
from helpers import LIMIT_S, Listener
from lives import Simulate
from recorded import lacks, said


class OlderExtension:
    """An older extension's end of one connection: it says what was recorded, and reads plain lines."""

    def __init__(self, listener: Listener) -> None:
        self._socket = listener.accept().socket
        self._lines = self._socket.makefile("rb")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def say(self, message: dict[str, Any]) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def hear(self, older: dict[str, Any]) -> dict[str, Any]:
        """The next message of that type: it has what the older one had."""
        for line in self._lines:
            message: dict[str, Any] = json.loads(line)
            if message["type"] == older["type"]:
                assert lacks(message, older, older["type"]) == []
                return message
        raise AssertionError(f"hung up before {older['type']}")


def test_the_newest_client_and_command_take_an_older_extension(listener: Listener, start: Start, path: Path) -> None:
    """Both phases run, each message has what an older reader needs, and `snapext status` shows an older answer."""
    app = start(HOOKS + REPORT)
    older = OlderExtension(listener)
    hello, *answers = said("process", "app")
    welcome, before, after, describe = said("extension", "app")
    older.hear(hello)
    older.say(welcome)
    for question, running, done in ((before, answers[0], answers[1]), (after, answers[2], answers[3])):
        older.say(question)
        older.hear(running)  # without a board the hook is named before it runs
        answer = older.hear(done)
        assert (answer["id"], answer["ok"]) == (question["id"], True)
    older.say(describe)
    assert older.hear(answers[4])["after_restore"] == ["__main__.after"]

    command = subprocess.Popen(
        [sys.executable, "-m", "snapext", "status"],
        env={**os.environ, "SNAPEXT_SOCKET": str(path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    asked = OlderExtension(listener)
    hello, question = said("process", "command")
    welcome, result = said("extension", "command")
    asked.hear(hello)
    asked.say(welcome)
    asked.hear(question)
    asked.say(result)
    asked.close()
    out, err = command.communicate(timeout=LIMIT_S)
    assert (command.returncode, err) == (0, "")
    assert "state        ready (mode gate)" in out
    assert app.end()[0] == "['before', 'after']\n"
    older.close()


def test_the_newest_extension_takes_an_older_client_and_command(simulate: Simulate) -> None:
    """A whole life: both phases run, and each message has what an older reader needs."""
    life = simulate(
        [sys.executable, "older_client.py"], "--request", "/", "--request", "/status", "--expect-hooks", "2"
    )
    assert life.status == 0, life.stderr
    assert life.answers() == [{"ran": ["before_snapshot", "after_restore"], "missing": []}] * 2
