"""The extension's log: one JSON object a line on standard output, which Lambda and the simulator both collect."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import time

from snapext.wire.json_text import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LEVELS = ("debug", "info", "warning", "error")
HOLD_MS = 1_000
"""How long something may wait for `release`."""
ERROR_WAIT_MS = 200
"""How long a line of level `error` waits until somebody reads a full pipe. No other line waits."""
FROM_PEERS = frozenset(
    (
        *("connection_refused", "connection_closed", "readiness_connection_closed"),
        *("acknowledgement_refused", "acknowledged_unasked"),
    )
)
"""Warnings with a text that a peer chooses: no two need be the same."""
SAME_LINES = 10
SAME_EVENTS = 100
_CHUNK_BYTES = select.PIPE_BUF  # this much a pipe takes whole, or not at all (pipe(7))


class Log:
    """Writes the events of at least `level`. The boundary never waits for the reader of the log.

    A line that cannot be written is lost. As soon as there is room, the log says how many were (`log_lines_lost`).

    Warnings can come without end, so they are bounded in each life: of those with the same event and the same reason
    (or message) the first 10 are written, of one event the first 100, or the first 10 if peers cause it (FROM_PEERS);
    then the 100th, the 1000th and so on. Each says how many were `left_out` before it, and close() says how many were
    after it. Errors and the story (`info`) are not bounded.
    """

    def __init__(self, level: str = "info", fd: int = 1) -> None:
        self._threshold = LEVELS.index(level)
        self._pipe = _Pipe(fd)
        self._counts: dict[tuple[str, str], int] = {}
        self._left_out: dict[str, int] = {}
        self.when_held: Callable[[], object] = lambda: None
        """Called when something waits for `release`."""

    def write(self, level: str, event: str, **fields: Any) -> None:
        if LEVELS.index(level) < self._threshold:
            return
        if level == "warning":
            if self._is_repetition(event, fields):
                self._left_out[event] = self._left_out.get(event, 0) + 1
                return
            if event in self._left_out:
                fields["left_out"] = self._left_out.pop(event)
        self._write(level, event, fields)

    def release(self) -> None:
        """Write what waits for the clock to be set: nothing here, see metrics.py."""

    def close(self) -> None:
        """Say what was left out, and close what the log has opened. It can write on all the same."""
        if self._left_out:
            self._write("warning", "log_lines_left_out", {"events": self._left_out})
            self._left_out = {}
        self._pipe.close()

    def _is_repetition(self, event: str, fields: dict[str, Any]) -> bool:
        """Count a line. Is it to be left out?"""
        of_event = self._counts[event, ""] = self._counts.get((event, ""), 0) + 1
        if of_event > (SAME_LINES if event in FROM_PEERS else SAME_EVENTS):
            return not _is_power_of_ten(of_event)  # texts are not kept: they may be without end
        about = (event, f"={fields.get('reason', fields.get('message'))}")
        of_text = self._counts[about] = self._counts.get(about, 0) + 1
        return of_text > SAME_LINES and not _is_power_of_ten(of_text)

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        pipe, wait_ms = self._pipe, ERROR_WAIT_MS if level == "error" else 0
        if pipe.lost:
            lost = {"count": pipe.lost, "message": "nobody read the log in time"}
            if pipe.take(_line("warning", "log_lines_lost", lost), wait_ms, count=False):
                pipe.lost = 0
        pipe.take(_line(level, event, fields), wait_ms)


def _line(level: str, event: str, fields: dict[str, Any]) -> bytes:
    record = {"time": time.time(), "level": level, "source": "snapext", "event": event, **fields}
    # ASCII alone: what no encoding knows (a file name in other bytes, as Python reads it) is written as an escape.
    try:
        return encode(record).encode() + b"\n"
    except TypeError:  # a value of another kind: better in its own words than not at all
        import json

        return json.dumps(record, separators=(",", ":"), default=str).encode() + b"\n"


def _is_power_of_ten(number: int) -> bool:
    return str(number).strip("0") == "1"


class _Pipe:
    """Writes lines to a descriptor that others write to as well, and that may be full. `lost`: lines that had no room.

    Such a descriptor must stay blocking: the flag counts for every process that shares it, the app among them.
    """

    def __init__(self, fd: int) -> None:
        self.lost = 0
        self._shared = fd
        self._own: int | None = None
        self._free: int | None = None  # where a write waits for nobody
        self._is_opened = False
        self._is_cut = False
        self._is_stuck = False

    def take(self, line: bytes, wait_ms: float, *, count: bool = True) -> bool:
        """Write a whole line; False if it cannot be written in `wait_ms`."""
        rest = b"\n" + line if self._is_cut else line
        deadline: float | None = None
        if not self._is_opened:
            self._open()
        try:
            while rest:
                written = 0
                if self._free is not None:
                    try:  # noqa: SIM105 - contextlib.suppress would be three calls of Python
                        written = os.write(self._free, rest[:_CHUNK_BYTES])
                    except BlockingIOError:
                        pass  # the pipe is full: wait for room below
                if not written:
                    if deadline is None:  # one wait without success is enough
                        deadline = time.monotonic() + (0 if self._is_stuck else wait_ms / 1000)
                    written = self._wait_and_write(rest[:_CHUNK_BYTES], deadline)
                if not written:
                    break
                self._is_cut = rest[written - 1 : written] != b"\n"
                rest = rest[written:]
        except OSError:
            pass  # the log has no reader any more; the boundary matters more
        self._is_stuck = bool(rest) and (self._is_stuck or wait_ms > 0)
        if rest and count:
            self.lost += 1
        return not rest

    def close(self) -> None:
        if self._own is not None:
            os.close(self._own)
        self._own, self._free, self._is_opened = None, None, False

    def _wait_and_write(self, chunk: bytes, deadline: float) -> int:
        """Returns how many bytes were written; 0 if there was no room in time."""
        fd = self._shared if self._free is None else self._free
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            with contextlib.suppress(BlockingIOError):
                return os.write(fd, chunk)
            if time.monotonic() >= deadline:
                break  # somebody else was quicker
        return 0

    def _open(self) -> None:
        """A pipe is opened once more: the flags of that descriptor are ours alone. A file has room.

        Where that is not allowed, we look for room before each write; then a write blocks only if somebody else fills
        the pipe between the two. With a descriptor of our own we write first: a pipe may have room for a short line
        where poll(2) sees none.
        """
        self._is_opened = True
        with contextlib.suppress(OSError):
            mode = os.fstat(self._shared).st_mode
            if stat.S_ISFIFO(mode):
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
                self._own = self._free = os.open(f"/proc/self/fd/{self._shared}", flags)
            elif stat.S_ISREG(mode):
                self._free = self._shared
