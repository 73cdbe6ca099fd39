"""Shell completion in real shells, set up with the documentation's own lines."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers import LIMIT_S, ROOT, clean_environ, need
from lives import BIN

INTERACTIVE = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}
# What a user's own ~/.zshrc does before.
BEFORE = {"bash": "", "zsh": "autoload -Uz compinit && compinit -u -D; "}


def environ(home: Path) -> dict[str, str]:
    path = f"{BIN}:{os.environ['PATH']}"
    return clean_environ(PATH=path, HOME=str(home), TERM="dumb", SNAPEXT_SOCKET=f"{home}/none/bridge.sock")


def run(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environ(home),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        stdin=subprocess.DEVNULL,
    )


class Terminal:
    """A shell that believes that a person types."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        self.shown = b""
        self._process = subprocess.Popen(
            command, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def wait_for(self, text: str) -> None:
        """Wait until the text is shown after whatever was waited for before."""
        deadline = time.monotonic() + LIMIT_S
        while text.encode() not in self.shown:
            assert time.monotonic() < deadline, f"{text!r} is not shown: {self.shown!r}"
            if select.select([self._ours], [], [], 0.1)[0]:
                self.shown += os.read(self._ours, 65536)
        self.shown = self.shown.partition(text.encode())[2]

    def close(self) -> None:
        self._process.kill()
        self._process.wait(LIMIT_S)
        os.close(self._ours)


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[Callable[[str], Terminal]]:
    with contextlib.ExitStack() as stack:

        def open_terminal(shell: str) -> Terminal:
            need(shell)
            terminal = Terminal(INTERACTIVE[shell], environ(tmp_path))
            stack.callback(terminal.close)
            line = f'eval "$(_SNAPEXT_COMPLETE={shell}_source snapext)"'
            terminal.type(f"{BEFORE[shell]}{line} && echo set''up\r")
            terminal.wait_for("setup")
            return terminal

        yield open_terminal


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_command_is_completed_and_can_be_run(open_terminal: Callable[[str], Terminal], shell: str) -> None:
    """`snapext sta`, tab, return: the status, which says that there is no extension."""
    terminal = open_terminal(shell)
    terminal.type("snapext st\t")
    terminal.wait_for("atus")
    terminal.type("\r")
    terminal.wait_for("no extension listens at")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_what_a_command_takes_is_completed(open_terminal: Callable[[str], Terminal], shell: str) -> None:
    """Options and phases."""
    terminal = open_terminal(shell)
    terminal.type("echo snapext; snapext signal bef\t")
    terminal.wait_for("ore-snapshot")
    terminal.type("--wa\t")
    terminal.wait_for("it")
    terminal.type("\r")
    terminal.wait_for("choose the processes")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("snapext st", {"status"}),
        ("snapext s", {"signal", "simulate", "status"}),
        ("snapext signal ", {"before-snapshot", "after-restore"}),
        ("snapext status --", {"--json", "--watch", "--help"}),
        ("snapext done --f", {"--failed"}),
    ],
)
def test_fish_offers_the_same(tmp_path: Path, typed: str, offered: set[str]) -> None:
    """With what each command is for."""
    need("fish")
    script = f"_SNAPEXT_COMPLETE=fish_source snapext | source; complete -C '{typed}'"
    done = run(tmp_path, "fish", "--no-config", "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    assert {line.partition("\t")[0] for line in done.stdout.splitlines()} == offered


def test_every_command_is_offered(tmp_path: Path) -> None:
    """The help has all of them too."""
    script = 'eval "$(_SNAPEXT_COMPLETE=bash_source snapext)"; COMP_WORDS=(snapext ""); COMP_CWORD=1; '
    script += "$(complete -p snapext | sed 's/.*-F \\([^ ]*\\).*/\\1/') snapext; printf '%s\\n' \"${COMPREPLY[@]}\""
    done = subprocess.run(
        ["bash", "-c", script], env=environ(tmp_path), capture_output=True, text=True, timeout=LIMIT_S
    )
    commands = ["attach", "checkpoint", "doctor", "done", "layer", "signal", "simulate", "status"]
    assert sorted(done.stdout.split()) == commands
    shown = subprocess.run(
        ["snapext", "--help"], env=environ(tmp_path), capture_output=True, text=True, timeout=LIMIT_S
    )
    assert re.findall(r"^  ([a-z]+) ", shown.stdout.partition("Commands:")[2], re.MULTILINE) == commands


def test_the_page_of_commands_and_the_help_have_these_lines(tmp_path: Path) -> None:
    """The tests type the lines of the documentation."""
    shown = subprocess.run(
        ["snapext", "--help"], env=environ(tmp_path), capture_output=True, text=True, timeout=LIMIT_S
    )
    for text in (shown.stdout, (ROOT / "docs" / "commands.md").read_text()):
        assert 'eval "$(_SNAPEXT_COMPLETE=bash_source snapext)"' in text
        assert "zsh_source" in text
        assert "_SNAPEXT_COMPLETE=fish_source snapext | source" in text
