"""The real log, and readers of it that are slow, gone, or never there."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers import LIMIT_S
from snapext_extension import log as log_module
from snapext_extension.log import Log

SMALL = 4 * 4096
"""What the pipes of these tests hold."""


class Pipe:
    """A small pipe; `write` is what the log has, shared with others."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        fcntl.fcntl(self.write, fcntl.F_SETPIPE_SZ, SMALL)
        os.set_blocking(self.read, False)

    def fill(self) -> None:
        """Another process that shares the pipe has filled it, and nothing has read it."""
        os.write(self.write, b"x" * (SMALL - 1) + b"\n")
        assert not select.select([], [self.write], [], 0)[1]

    def drain(self) -> bytes:
        try:
            return os.read(self.read, 1_000_000)
        except BlockingIOError:
            return b""

    def lines(self) -> list[dict[str, Any]]:
        """The content of the pipe, without the part of fill()."""
        return [json.loads(line) for line in self.drain().split(b"\n") if line.strip(b"x")]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.read)
    os.close(pipe.write)


@pytest.fixture
def log(pipe: Pipe) -> Iterator[Log]:
    log = Log("debug", pipe.write)
    yield log
    log.close()


def in_time(function: Callable[[], object]) -> float:
    """Run it in a thread; fail if it blocks. Returns how many ms it took."""
    took: list[float] = []

    def run() -> None:
        began = time.monotonic()
        function()
        took.append((time.monotonic() - began) * 1000)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    assert took, "it blocks"
    return took[0]


# --- a pipe that nobody reads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["debug", "info", "warning"])
def test_a_full_pipe_does_not_hold_us(log: Log, pipe: Pipe, level: str) -> None:
    """Lines that do not fit are lost, and their number is logged when the pipe is read again."""
    pipe.fill()
    took_ms = in_time(lambda: [log.write(level, f"event{number}") for number in range(300)])
    assert took_ms < LIMIT_S * 1000 / 2
    pipe.drain()
    log.write("info", "next")

    lost, following = pipe.lines()
    assert (lost["event"], lost["level"], lost["count"]) == ("log_lines_lost", "warning", 300)
    assert following["event"] == "next"
    log.write("info", "then")
    assert [line["event"] for line in pipe.lines()] == ["then"]


def test_a_pipe_that_may_not_be_opened_again_does_not_hold_us(
    monkeypatch: pytest.MonkeyPatch, log: Log, pipe: Pipe
) -> None:
    """For example, it belongs to another user: then each write first checks for room."""

    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(log_module.os, "open", refuse)
    log.write("info", "first")
    assert pipe.lines()[0]["event"] == "first"
    pipe.fill()
    in_time(lambda: log.write("info", "lost", stack="s" * 40_000))
    pipe.drain()
    in_time(lambda: log.write("info", "cut", stack="s" * 40_000))
    assert pipe.drain().startswith(b'{"time"')
    log.write("info", "next")
    assert [line["event"] for line in pipe.lines()] == ["log_lines_lost", "next"]


def test_the_pipe_is_not_made_non_blocking_for_those_who_share_it(log: Log, pipe: Pipe) -> None:
    """The app writes to the same one, and expects to wait."""
    log.write("info", "event")
    assert os.get_blocking(pipe.write)


def test_an_error_waits_for_a_reader_that_is_slow(monkeypatch: pytest.MonkeyPatch, log: Log, pipe: Pipe) -> None:
    """It is the line that a person looks for: it may come a little later."""
    monkeypatch.setattr(log_module, "ERROR_WAIT_MS", LIMIT_S * 1000)
    pipe.fill()
    writer = threading.Thread(target=lambda: log.write("error", "failed", stack="s" * 40_000))
    writer.start()
    received = b""
    while b'"event":"failed"' not in received or not received.endswith(b"\n"):
        assert select.select([pipe.read], [], [], LIMIT_S)[0]
        received += pipe.drain()
    writer.join(LIMIT_S)

    line = json.loads(received[SMALL:])
    assert (line["event"], len(line["stack"])) == ("failed", 40_000)


def test_errors_wait_for_a_reader_that_never_comes_once(log: Log, pipe: Pipe) -> None:
    """A bounded time, however many there are; when the pipe has been read, the next one waits again."""
    pipe.fill()
    began = time.monotonic()
    in_time(lambda: [log.write("error", "failed") for _ in range(50)])
    assert log_module.ERROR_WAIT_MS / 1000 <= time.monotonic() - began < 50 * log_module.ERROR_WAIT_MS / 1000 / 2
    pipe.drain()
    log.write("error", "failed")
    assert [line["event"] for line in pipe.lines()] == ["log_lines_lost", "failed"]
    pipe.fill()
    assert in_time(lambda: log.write("error", "failed")) >= log_module.ERROR_WAIT_MS


def test_a_line_that_was_cut_is_ended_before_the_next(log: Log, pipe: Pipe) -> None:
    """Only half of a long line had room: the next line starts on its own, and the half counts as lost."""
    log.write("info", "long", stack="s" * 40_000)
    half = pipe.drain()
    log.write("info", "next")
    first, *lines = (half + pipe.drain()).splitlines()

    assert (first, b"\n" in half) == (half, False)
    assert [json.loads(line)["event"] for line in lines] == ["log_lines_lost", "next"]


def test_short_lines_use_the_room_that_there_is(log: Log, pipe: Pipe) -> None:
    """A pipe whose last page has room for one takes it, although poll(2) calls the pipe full."""
    fcntl.fcntl(pipe.write, fcntl.F_SETPIPE_SZ, 4096)
    log.write("info", "first")
    log.write("info", "second")
    assert [line["event"] for line in pipe.lines()] == ["first", "second"]


class AlwaysReady:
    """A poll(2) whose answer is outdated when we write: another process was quicker."""

    def register(self, *_: object) -> None: ...

    def poll(self, _timeout_ms: float) -> list[tuple[int, int]]:
        return [(1, select.POLLOUT)]


@pytest.mark.parametrize("level", ["info", "error"])
def test_room_that_another_process_takes_does_not_hold_us(
    monkeypatch: pytest.MonkeyPatch, log: Log, pipe: Pipe, level: str
) -> None:
    """Between the look and the write the app may fill the pipe."""
    pipe.fill()
    monkeypatch.setattr(log_module.select, "poll", AlwaysReady)
    in_time(lambda: log.write(level, "event"))
    assert pipe.lines() == []


def test_a_long_line_is_whole_where_there_is_room(tmp_path: Path) -> None:
    """It is written in several pieces, which follow one another."""
    with (tmp_path / "log").open("w+b") as file:
        file.write(b"before\n")
        file.flush()
        log = Log("info", file.fileno())
        log.write("info", "long", stack="s" * 100_000)
        log.write("info", "next")
        log.close()
        lines = (tmp_path / "log").read_bytes().splitlines()

    assert lines[0] == b"before"
    assert [json.loads(line)["event"] for line in lines[1:]] == ["long", "next"]


def test_a_socket_that_nobody_reads_does_not_hold_us() -> None:
    """Standard output may be one."""
    near, far = socket.socketpair()
    with near, far:
        log = Log("info", near.fileno())
        in_time(lambda: [log.write("info", "event", stack="s" * 5_000) for _ in range(300)])
        far.setblocking(False)
        received = b""
        while b"log_lines_lost" not in received:
            try:
                received += far.recv(1_000_000)
            except BlockingIOError:
                log.write("info", "next")
        assert near.getblocking()
        log.close()


@pytest.mark.parametrize("how", ["closed", "no reader"])
def test_a_log_that_nobody_can_read_is_no_error(how: str) -> None:
    """The boundary matters more."""
    read, write = os.pipe()
    os.close(read)
    if how == "closed":
        os.close(write)
    log = Log("info", write)
    in_time(lambda: [log.write(level, "event") for level in log_module.LEVELS])
    log.close()
    if how != "closed":
        os.close(write)


def test_the_log_needs_no_descriptor(log: Log, pipe: Pipe) -> None:
    """Even then the line is written: it may be the one that says so."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        log.write("info", "event")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert pipe.lines()[0]["event"] == "event"


# --- what is in a line -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["\udcff\udc00.py", "\0\x1b[31m\n", "\U0001f600", os.fsdecode(b"\xff"), b"\xff", {1, 2}, ValueError("x")]
)
def test_no_value_raises(log: Log, pipe: Pipe, value: object) -> None:
    """Names come from elsewhere, and need not be text in any encoding: a line is one line, and JSON."""
    log.write("info", "joined", name=value)
    (line,) = pipe.lines()
    assert line["name"] == (value if isinstance(value, str) else str(value))


def test_what_is_below_the_level_is_not_written(pipe: Pipe) -> None:
    """Nor is it counted."""
    log = Log("warning", pipe.write)
    for level in log_module.LEVELS:
        log.write(level, level)
    log.close()
    assert [line["event"] for line in pipe.lines()] == ["warning", "error"]


# --- repetitions -----------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def written(file: Path) -> Iterator[Log]:
    """A log in a file, which holds all."""
    with file.open("wb") as opened:
        yield Log("debug", opened.fileno())


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_warning_that_is_repeated_is_bounded(written: Log, file: Path) -> None:
    """Ten, the 100th, and then the 1000th; each says how many there were in between, and the end says the rest."""
    for pid in range(1234):
        written.write("warning", "connection_refused", pid=pid, reason="more than 900 connections")
    written.close()
    *lines, last = read(file)

    assert [line["pid"] for line in lines] == [*range(10), 99, 999]
    assert [line.get("left_out") for line in lines] == [None] * 10 + [89, 899]
    assert (last["event"], last["events"]) == ("log_lines_left_out", {"connection_refused": 234})


def test_warnings_about_different_things_are_all_written(written: Log, file: Path) -> None:
    """Twelve settings that are unknown are twelve lines, each said by its message or its reason."""
    for field in ("message", "reason"):
        for number in range(12):
            written.write("warning", field, **{field: f"X{number} is not a setting of snapext"})
    written.close()
    assert len(read(file)) == 24


def test_warnings_whose_text_a_peer_chooses_are_bounded(written: Log, file: Path) -> None:
    """There are ten, the 100th and the 1000th."""
    for number in range(1500):
        written.write("warning", "acknowledgement_refused", reason=f"{number} is no pid")
    written.close()
    assert [line.get("left_out") for line in read(file)] == [None] * 10 + [89, 899, None]


def test_warnings_that_all_differ_are_bounded(written: Log, file: Path) -> None:
    """Of one event only a hundred are logged, and the 1000th; the log keeps none in memory."""
    for number in range(1500):
        written.write("warning", "not_linked", reason=f"process {number} is not linked")
    written.write("warning", "another", reason="none of this")
    assert len(written._counts) < 120
    written.close()
    lines = read(file)

    assert len(lines) == 100 + 1 + 1 + 1
    assert lines[100]["left_out"] == 899
    assert lines[-2]["event"] == "another"
    assert lines[-1]["events"] == {"not_linked": 500}


@pytest.mark.parametrize("level", ["debug", "info", "error"])
def test_the_story_and_the_errors_are_not_bounded(written: Log, file: Path, level: str) -> None:
    """What happened is told whole."""
    for _ in range(200):
        written.write(level, "joined", reason="the same")
    written.close()
    assert len(read(file)) == 200
