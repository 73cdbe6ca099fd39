"""One look at the function's processes, as the kernel shows them: which listen, which rest, which cannot be linked."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

from snapext_extension.boundary.attendance import Sighting
from snapext_extension.boundary.failures import Process
from snapext_extension.data import Data
from snapext_extension.kernel import accepting, channels, processes, sockets, threads, tree, watch

MAX_COMMAND_CHARS = 120
MAX_CHARS = 500
"""A process writes its own command line and PYTHONPATH; neither must fill a message."""

TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


class _Program(Data):
    """What a process executes: it does not change, so it is read once."""

    command: tuple[str, ...]
    is_python: bool
    is_ours: bool
    cause: channels.Cause | None


class Looker:
    """Looks at the processes of the start command. `port` is the app's own.

    start_command: the file that names the start command's process; where it is missing all of our user's count.
    extensions_folder: processes started from there are extensions, and none of the function's.
    """

    def __init__(self, port: int, start_command: str, extensions_folder: str) -> None:
        self._port = port
        self._start_command = start_command
        self._extensions_folder = extensions_folder
        self._programs: dict[tuple[int, int, str], _Program] = {}
        self._slept: dict[int, int] = {}  # how often the main thread of a process had gone to sleep at the last look

    def look(self) -> tuple[Sighting, ...]:
        """The function's processes now. Never raises for a process that ends meanwhile, or may not be read."""
        return tuple(self._sightings())

    def _sightings(self) -> Iterator[Sighting]:
        found = [
            (stat, program, sockets.held_by(stat.pid))
            for stat in tree.function_tree(self._start_command, self._extensions_folder, os.geteuid())
            if not (program := self._program(stat)).is_ours
        ]
        on_port = anywhere = sockets.listening_inodes(self._port)
        if not any(program.is_python and not held.isdisjoint(on_port) for _, program, held in found):
            anywhere = sockets.all_listening_inodes()  # behind a proxy, the app listens elsewhere
        boot_ms = (time.monotonic() - time.clock_gettime(time.CLOCK_BOOTTIME)) * 1000  # by the clock of the reactor
        for stat, program, held in found:
            slept_before = self._slept.get(stat.pid, -1)
            self._slept[stat.pid] = threads.times_slept(stat.pid) if program.is_python else -1
            at_rest = program.is_python and threads.at_rest(stat.pid, slept_before)
            accepts = at_rest and accepting.accepts(stat.pid, held & anywhere)
            yield Sighting(
                Process(stat.pid, stat.name),
                stat.parent_pid,
                holds_port=not held.isdisjoint(on_port),
                listens=not held.isdisjoint(anywhere),
                python=program.is_python,
                at_rest=at_rest,
                # A thread that still runs may be our own, on its way to join.
                accepts=accepts and not threads.another_thread_runs(stat.pid),
                image=watch.image(stat.pid) if program.is_python else None,
                command=shown(program.command),
                cause=program.cause.cause[:MAX_CHARS] if program.cause else "",
                remedy=program.cause.remedy[:MAX_CHARS] if program.cause else "",
                started_ms=boot_ms + stat.start_ticks * TICK_MS,
            )

    def _program(self, stat: processes.Stat) -> _Program:
        executable = processes.executable(stat.pid)
        key = (stat.pid, stat.start_ticks, executable)
        known = self._programs.get(key)
        # The command line is read again: a program may be executed by the same interpreter as the one before it.
        command = processes.command(stat.pid)
        if known is None or known.command != command:
            is_python = processes.is_python(stat.pid)
            cause = None
            if is_python:
                may_read = os.access(f"/proc/{stat.pid}/environ", os.R_OK)
                environ = processes.environment(stat.pid) if may_read else None
                cause = channels.why_unlinked(command, environ, executable, os.path.exists)
                if cause is None and environ is not None:
                    folder = os.path.dirname(self._start_command)  # the socket's own
                    cause = channels.why_not_to_us(command, environ, folder, os.geteuid())
            known = self._programs[key] = _Program(command, is_python, is_our_command(command), cause)
        return known


def is_our_command(command: Sequence[str]) -> bool:
    """Whether a process is `snapext checkpoint` or its like, which takes no part in the boundary."""
    return (
        any(os.path.basename(word) == "snapext" for word in command[:2])
        or (
            list(command[1:2]) == ["-m"]
            and command[2:3] != ()
            and command[2].partition(".")[0] in ("snapext", "snapext_tools")
        )
        or any("snapext.command" in word for word in command[:6])
    )


def _quoted(word: str) -> str:
    """As shlex.quote does it, which needs the regular expressions: 6 ms to import."""
    is_plain = word.isascii() and all(letter.isalnum() or letter in "@%_+=:,./-" for letter in word)
    return word if word and is_plain else "'" + word.replace("'", "'\"'\"'") + "'"


def shown(command: Sequence[str]) -> str:
    """A command line for a person, not at any length."""
    text = " ".join(map(_quoted, command))
    return text if len(text) <= MAX_COMMAND_CHARS else text[: MAX_COMMAND_CHARS - 1] + "…"
