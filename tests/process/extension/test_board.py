"""The board between real processes: who has which line, what we take from it, and lives whose culprit it names."""

from __future__ import annotations

import array
import contextlib
import fcntl
import mmap
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import HELLO, LIMIT_S, WELCOME, Loop, MemoryLog
from lives import Simulate
from snapext.wire.board import LINE_BYTES, written
from snapext.wire.connection import Connection, Side
from snapext.wire.messages import Hello, Message, Welcome
from snapext_extension.peers.board import Board
from snapext_extension.peers.bridge import Bridge


class Ends:
    """The processes that have ended, as the kernel would say."""

    def __init__(self) -> None:
        self.pids: set[int] = set()

    def __call__(self, pid: int) -> bool:
        return pid in self.pids


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def board(ends: Ends) -> Iterator[Board]:
    board = Board(3, ends)
    yield board
    board.close()


def mapped(board: Board) -> mmap.mmap:
    assert board.descriptor is not None
    return mmap.mmap(board.descriptor, 0)


def write(board: Board, line: int | None, content: bytes) -> None:
    assert line is not None
    with mapped(board) as lines:
        lines[line * LINE_BYTES : line * LINE_BYTES + len(content)] = content


def test_nobody_can_change_the_size_of_the_board_nor_seal_it_for_the_others(board: Board) -> None:
    """A process that maps it is never killed by a line that is gone (SIGBUS)."""
    board.claim(1, 7, None)
    assert board.descriptor is not None
    for size in (0, 10 * LINE_BYTES):
        with pytest.raises(PermissionError):
            os.ftruncate(board.descriptor, size)
    with pytest.raises(PermissionError):
        fcntl.fcntl(board.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    assert os.fstat(board.descriptor).st_size == 3 * LINE_BYTES
    assert os.fstat(board.descriptor).st_blocks == 0  # no page before a process writes
    assert os.get_inheritable(board.descriptor) is False


def test_a_process_has_one_line_however_often_it_connects(board: Board) -> None:
    """Also while its earlier connection is open: the hook that runs does not change its line."""
    assert [board.claim(key, 7, "image") for key in (1, 2)] == [0, 0]
    write(board, 0, written(0, "app.close_pool"))
    board.hung_up(1, ended=False)
    board.hung_up(2, ended=False)
    assert board.claim(3, 7, "image") == 0
    assert board.hook(7, 0) == "app.close_pool"
    assert board.hook(7, 1) is None
    assert board.hook(8, 0) is None


def test_a_line_is_given_out_anew_when_its_owner_has_ended_and_empty(board: Board) -> None:
    """Neither before, nor with the name of a hook that the next owner has not begun."""
    lines = [board.claim(key, 100 + key, None) for key in range(3)]
    assert sorted(line for line in lines if line is not None) == [0, 1, 2]
    write(board, lines[1], written(1, "app.open_pool"))
    board.hung_up(1, ended=False)
    assert board.claim(9, 109, None) is None
    assert board.hook(101, 1) == "app.open_pool"
    board.ended(101)
    assert board.claim(9, 109, None) == lines[1]
    assert board.hook(101, 1) is None
    assert board.hook(109, 1) is None


def test_a_line_of_a_process_that_left_and_ended_unseen_is_found_when_it_is_needed(board: Board, ends: Ends) -> None:
    """Its end is watched by nobody, as it owed nothing; a process with a connection is not asked about."""
    lines = [board.claim(key, 100 + key, None) for key in range(3)]
    board.hung_up(2, ended=False)
    assert board.claim(9, 109, None) is None
    ends.pids |= {100, 102}
    assert board.claim(9, 109, None) == lines[2]
    assert board.claim(10, 110, None) is None


def test_a_connection_that_ends_with_its_process_frees_the_line_with_the_last_one(board: Board) -> None:
    """The ends of two connections come one by one."""
    board.claim(1, 7, None)
    board.claim(2, 7, None)
    write(board, 0, written(1, "app.open_pool"))
    board.hung_up(1, ended=True)
    assert board.hook(7, 1) == "app.open_pool"
    board.hung_up(2, ended=True)
    assert board.hook(7, 1) is None
    board.hung_up(2, ended=True)
    board.ended(7)  # told once more, which is no error


def test_another_program_in_the_same_process_does_not_have_the_hook_of_the_one_before(board: Board) -> None:
    """It was executed by the process, or got its number."""
    board.claim(1, 7, "image")
    write(board, 0, written(0, "app.close_pool"))
    assert board.claim(2, 7, "another") is not None
    assert board.hook(7, 0) is None


def test_what_a_process_does_to_the_file_does_not_reach_us(board: Board) -> None:
    """Holes and garbage are no names."""
    line = board.claim(1, 7, None)
    write(board, line, b"\xff" * LINE_BYTES)
    assert board.hook(7, 1) is None
    write(board, line, bytes(LINE_BYTES))
    assert board.hook(7, 1) is None


def test_without_a_descriptor_there_is_no_board_and_no_harm() -> None:
    """The process is welcome without a line."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    held: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
        with contextlib.suppress(OSError):
            for _ in range(used + 20):
                held.append(os.open("/dev/null", os.O_RDONLY))
        board = Board(3, Ends())
        line = board.claim(1, 7, None)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in held:
            os.close(fd)
    assert (line, board.descriptor) == (None, None)
    assert board.hook(7, 0) is None
    board.hung_up(1, ended=True)
    board.close()


# --- the welcome -----------------------------------------------------------------------------------------------------


class Giver:
    """Gives each process that asks for it a line, and welcomes all."""

    def __init__(self, loop: Loop, path: Path) -> None:
        self.board = Board(3, Ends())
        self.bridge = loop.call(lambda: Bridge(str(path), os.geteuid(), loop.reactor, MemoryLog(), self))

    def joined(self, key: int, pid: int, hello: Hello) -> None:
        line = self.board.claim(key, pid, None) if hello.board else None
        if line is not None and self.board.descriptor is not None:
            self.bridge.give_line(key, line, self.board.descriptor)
        self.bridge.send(key, WELCOME)

    def said(self, key: int, message: Message) -> None: ...
    def left(self, key: int, pid: int) -> None: ...
    def crowded(self, limit: int) -> None: ...


@pytest.fixture
def giver(tmp_path: Path) -> Iterator[Giver]:
    loop = Loop()
    giver = Giver(loop, tmp_path / "bridge" / "bridge.sock")
    yield giver
    loop.call(giver.bridge.close)
    loop.close()
    giver.board.close()


def welcomed(path: Path, hello: Hello) -> tuple[Welcome, list[int]]:
    """Say hello. Returns the answer, and the descriptors that came with its first byte."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(LIMIT_S)
        peer.connect(str(path))
        connection = Connection(Side.PROCESS)
        peer.sendall(connection.send(hello))
        first, rights, _, _ = peer.recvmsg(1, socket.CMSG_SPACE(8))
        (welcome,) = connection.receive(first + peer.recv(4096))
    assert isinstance(welcome, Welcome)
    return welcome, [fd for _, _, data in rights for fd in array.array("i", data)]


def test_the_board_comes_with_the_first_byte_of_the_welcome(giver: Giver, tmp_path: Path) -> None:
    """What the process writes to its line, the extension reads."""
    welcome, (fd,) = welcomed(tmp_path / "bridge" / "bridge.sock", HELLO.replace(board=True))
    assert welcome == WELCOME.replace(line=0)
    with mmap.mmap(fd, 0) as lines:
        os.close(fd)
        content = written(0, "app.close_pool")
        lines[0 : len(content)] = content
    assert giver.board.hook(os.getpid(), 0) == "app.close_pool"


def test_a_client_that_does_not_ask_for_the_board_is_sent_none(giver: Giver, tmp_path: Path) -> None:
    """A descriptor that it does not expect would stay open in it, or be lost."""
    assert welcomed(tmp_path / "bridge" / "bridge.sock", HELLO) == (WELCOME, [])


# --- whole lives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("generation", "then", "hook", "kind"),
    [
        (0, "die", "raw.close_pool", "ProcessEnded"),
        (1, "die", "raw.open_pool", "ProcessEnded"),
        (1, "hang", "raw.open_pool", "TimeoutError"),
        (1, "scribble", None, "ProcessEnded"),
    ],
)
def test_the_hook_of_a_process_that_is_killed_or_hangs_is_named(
    simulate: Simulate, generation: int, then: str, hook: str | None, kind: str
) -> None:
    """It has sent no message: its line outlives it. One that cannot be read names nothing."""
    life = simulate(
        ["python", "beside.py", f"python raw_board.py {generation} {then}"],
        SNAPEXT_SETTLE_MS="200",
        SNAPEXT_AFTER_RESTORE_TIMEOUT_MS="1500" if then == "hang" else "9000",
    )
    assert life.status == 1
    (error,) = life.document["errors"]
    assert (error["type"], error["hook"]) == (kind, hook)
    assert error["phase"] == ("after_restore" if generation else "before_snapshot")
    assert "(raw)" in error["message"]
    assert life.events("invoke") == []
