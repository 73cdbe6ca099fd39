"""The real transport and real processes: no other process is signalled, and none that the signal would kill."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers import App, Loop, MemoryLog, clean_environ, wait_until
from snapext_extension.kernel import processes
from snapext_extension.kernel.processes import Stat
from snapext_extension.peers import signals
from snapext_extension.peers.signals import SignalError, SignalTransport, candidates

NUMBER = int(signal.SIGRTMIN) + 4
CATCHES = f"""
    import signal, sys
    caught = []
    signal.signal({NUMBER}, lambda *_: caught.append(1))
    print("up", flush=True)
    sys.stdin.readline()
    print(len(caught))
"""
Start = Callable[[str], App]


class Ears:
    """Records the transport's events."""

    def __init__(self) -> None:
        self.said: list[tuple[tuple[int, ...], str | None]] = []
        self.since: list[int | None] = []
        self.ended: list[int] = []

    def acknowledged(self, pids: tuple[int, ...], error: str | None, since_ticks: int | None) -> None:
        self.said.append((pids, error))
        self.since.append(since_ticks)

    def signalled_ended(self, pid: int) -> None:
        self.ended.append(pid)


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def transport(loop: Loop, ears: Ears, log: MemoryLog, tmp_path: Path) -> Iterator[SignalTransport]:
    transport = loop.call(lambda: SignalTransport(str(tmp_path / "done"), os.geteuid(), loop.reactor, log, ears))
    yield transport
    loop.call(transport.close)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program that says `up` in its first line; it is ended with the test."""
    with contextlib.ExitStack() as stack:

        def start(code: str) -> App:
            app = stack.enter_context(App(code, clean_environ()))
            assert app.line() == "up"
            return app

        yield start


def look(app: App) -> Stat:
    found = processes.stat(app.process.pid)
    assert found is not None
    return found


def send(loop: Loop, transport: SignalTransport, *who: Stat) -> list[int]:
    return [process.pid for process in loop.call(lambda: transport.send(who, NUMBER))]


# --- who is signalled ------------------------------------------------------------------------------------------------


def test_who_catches_the_signal_is_sent_it(loop: Loop, transport: SignalTransport, start: Start) -> None:
    """Once for each time."""
    app = start(CATCHES)
    assert send(loop, transport, look(app)) == [app.process.pid]
    assert app.end() == ("1\n", "")


def test_a_pid_that_was_given_to_another_is_not_signalled(loop: Loop, transport: SignalTransport, start: Start) -> None:
    """The new process would even catch the signal: only its start time differs."""
    app = start(CATCHES)
    seen = look(app)
    assert send(loop, transport, seen.replace(start_ticks=seen.start_ticks - 1)) == []
    assert app.end() == ("0\n", "")


def test_a_process_that_has_ended_is_no_error(loop: Loop, transport: SignalTransport, ears: Ears, start: Start) -> None:
    """It was there when we looked."""
    app, other = start(CATCHES), start(CATCHES)
    seen = look(app)
    app.end()
    assert send(loop, transport, seen, look(other)) == [other.process.pid]
    assert ears.ended == []


@pytest.mark.parametrize(
    "how", ["pass", f"signal.signal({NUMBER}, signal.SIG_IGN)", f"signal.pthread_sigmask(signal.SIG_BLOCK, [{NUMBER}])"]
)
def test_who_does_not_catch_it_is_left_alone(loop: Loop, transport: SignalTransport, start: Start, how: str) -> None:
    """Whether it would be ended by it, ignores it or blocks it."""
    app = start(f"import signal, sys; {how}; print('up', flush=True); sys.stdin.readline()")
    assert send(loop, transport, look(app)) == []
    with open(f"/proc/{app.process.pid}/status") as status:
        pending = [line.split()[1] for line in status if line.startswith(("SigPnd", "ShdPnd"))]
    assert {int(mask, 16) for mask in pending} == {0}
    app.end()


def test_the_end_of_one_that_was_signalled_is_heard_once(
    loop: Loop, transport: SignalTransport, ears: Ears, start: Start
) -> None:
    """Also when it was signalled twice."""
    app = start(CATCHES)
    for _ in range(2):
        assert send(loop, transport, look(app)) == [app.process.pid]
    app.process.kill()
    assert wait_until(lambda: ears.ended) == [app.process.pid]


# --- who is a candidate ----------------------------------------------------------------------------------------------


def test_the_candidates_are_the_start_command_and_its_descendants(start: Start, tmp_path: Path) -> None:
    """Except processes that are left alone, wait for a checkpoint, or are not below it."""
    parent = start(
        """
        import subprocess, sys
        child = subprocess.Popen(["sleep", "60"])
        print("up", flush=True); print(child.pid, flush=True)
        sys.stdin.readline(); child.kill(); child.wait()
        """
    )
    other, child = start(CATCHES), int(parent.line())
    file = tmp_path / "start-command"
    file.write_bytes(Path(f"/proc/{parent.process.pid}/stat").read_bytes())

    def found(left_alone: set[int], exempt: set[int]) -> tuple[list[int], list[int]]:
        seen = candidates(str(file), left_alone, exempt, NUMBER)
        return [process.pid for process in seen.told], [process.pid for process in seen.waiting]

    assert found(set(), set()) == ([parent.process.pid, child], [])
    assert found({child}, set()) == ([parent.process.pid], [])
    assert found(set(), {child}) == ([parent.process.pid], [child])
    assert found(set(), {parent.process.pid}) == ([parent.process.pid, child], [])  # Python runs handlers as it waits
    assert other.process.pid not in found(set(), set())[0]
    parent.end()
    assert found(set(), set()) == ([], [])


def test_a_young_fork_of_one_that_catches_the_signal_is_left_for_another_look(
    monkeypatch: pytest.MonkeyPatch, start: Start, tmp_path: Path
) -> None:
    """It has its parent's handlers until it executes something else."""
    parent = start(
        f"""
        import os, signal, sys
        signal.signal({NUMBER}, lambda *_: None)
        print("up", flush=True); sys.stdin.readline()
        child = os.fork()
        if child == 0:
            signal.pause()
        print(child, flush=True); sys.stdin.readline(); os.kill(child, 9)
        """
    )
    file = tmp_path / "start-command"
    file.write_bytes(Path(f"/proc/{parent.process.pid}/stat").read_bytes())
    parent.go()
    child = int(parent.line())
    with monkeypatch.context() as patched:
        patched.setattr(signals, "FLEETING_TICKS", 10_000)  # on a busy machine we look later
        seen = candidates(str(file), (), (), NUMBER)
    assert child in [process.pid for process in seen.fleeting]
    wait_until(lambda: child in [process.pid for process in candidates(str(file), (), (), NUMBER).told])
    parent.end()


def test_a_start_command_whose_pid_was_given_to_another_has_no_candidates(start: Start, tmp_path: Path) -> None:
    """Its descendants are not ours."""
    app = start(CATCHES)
    words = Path(f"/proc/{app.process.pid}/stat").read_bytes().rpartition(b")")
    fields = words[2].split()
    fields[19] = str(int(fields[19]) - 1).encode()
    file = tmp_path / "start-command"
    file.write_bytes(words[0] + b") " + b" ".join(fields) + b"\n")
    assert candidates(str(file), (), (), NUMBER).told == []


@pytest.mark.parametrize("content", [None, b"", b"7\n", b"7 (bash) S 1\n", b"\xff" * 100, b"x (bash) S " + b"1 " * 30])
def test_a_start_command_that_nobody_knows_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    """It names the setting that would leave it there."""
    file = tmp_path / "start-command"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SignalError, match="AWS_LAMBDA_EXEC_WRAPPER") as refused:
        candidates(str(file), (), (), NUMBER)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


# --- what they say ---------------------------------------------------------------------------------------------------


def test_the_pipe_is_for_its_owner_alone_and_taken_away(loop: Loop, ears: Ears, log: MemoryLog, tmp_path: Path) -> None:
    """One of an extension that was killed is replaced."""
    path = tmp_path / "done"
    os.mkfifo(path, 0o666)
    transport = loop.call(lambda: SignalTransport(str(path), os.geteuid(), loop.reactor, log, ears))
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loop.call(transport.close)
    assert not path.exists()


def test_a_file_that_a_shell_has_left_there_is_refused(loop: Loop, ears: Ears, log: MemoryLog, tmp_path: Path) -> None:
    """`echo $$ >pipe` makes one where there is no pipe; but it may be anybody's. The line says what to do."""
    path = tmp_path / "done"
    path.write_text("precious")
    with pytest.raises(SignalError, match="in the way") as refused:
        loop.call(lambda: SignalTransport(str(path), os.geteuid(), loop.reactor, log, ears))
    assert path.read_text() == "precious"
    assert "\n" not in str(refused.value)
    for part in (str(path), "remove it", "SNAPEXT_SOCKET"):
        assert part in str(refused.value)


def test_closing_takes_the_pipe_away_but_not_anothers(loop: Loop, ears: Ears, log: MemoryLog, tmp_path: Path) -> None:
    """It does not remove a file that another process put in its place."""
    path = tmp_path / "done"
    transport = loop.call(lambda: SignalTransport(str(path), os.geteuid(), loop.reactor, log, ears))
    path.rename(tmp_path / "moved")
    path.write_text("precious")
    loop.call(transport.close)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("what", ["symlink", "directory", "foreign"])
def test_anything_else_in_its_place_is_refused(
    loop: Loop, ears: Ears, log: MemoryLog, tmp_path: Path, what: str
) -> None:
    """And left as it is."""
    path = tmp_path / "done"
    if what == "symlink":
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to(tmp_path / "pipe")
    elif what == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    uid = os.geteuid() + (what == "foreign")
    before = os.lstat(path)
    with pytest.raises(SignalError, match="in the way"):
        loop.call(lambda: SignalTransport(str(path), uid, loop.reactor, log, ears))
    assert os.lstat(path) == before


def test_what_is_said_is_heard_in_order(loop: Loop, transport: SignalTransport, ears: Ears, tmp_path: Path) -> None:
    """From several writers that come and go, in one piece or in several."""
    for said in (b"7\n", b"8,9,10 failed no database\n11", b"\n", b" 12  failed \r\n", b"\n\n13 failed\n"):
        with open(tmp_path / "done", "wb", buffering=0) as pipe:
            pipe.write(said)
    with open(tmp_path / "done", "wb", buffering=0) as pipe:
        pipe.write(b"14 since 4711\n15 since 12 failed no\n16 since\n17 since x\n18since 1\n")
    wait_until(lambda: len(ears.said) == 7)
    unsaid = "its handler says no more"
    assert ears.said == [
        *[((7,), None), ((8, 9, 10), "no database"), ((11,), None), ((12,), unsaid), ((13,), unsaid)],
        *[((14,), None), ((15,), "no")],
    ]
    assert ears.since == [None, None, None, None, None, 4711, 12]


def test_a_line_that_nobody_ends_does_not_take_the_next_answer_with_it(
    loop: Loop, transport: SignalTransport, ears: Ears, tmp_path: Path
) -> None:
    """`snapext done` begins a new line."""
    with open(tmp_path / "done", "wb", buffering=0) as pipe:
        pipe.write(b"x" * 3_000)
        env = clean_environ(SNAPEXT_SOCKET=str(tmp_path / "bridge.sock"))
        tmp_path.chmod(0o700)
        subprocess.run([sys.executable, "-m", "snapext", "done"], env=env, check=True, timeout=30)
    wait_until(lambda: ears.said)
    assert [(said[0][0], said[1]) for said in ears.said] == [(os.getpid(), None)]


JUNK = {
    "binary": bytes(range(256)) * 100 + b"\n",
    "endless": b"x" * 1_000_000 + b"\n",
    "negative": b"-7\n",
    "huge": b"9" * 3_000 + b"\n",
    "many": b"7," * 2_000 + b"\n",
    "words": b"7 done\n7failed\n7, 8\n",
}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_junk_is_refused_and_what_comes_after_it_counts(
    loop: Loop, transport: SignalTransport, ears: Ears, log: MemoryLog, tmp_path: Path, junk: bytes
) -> None:
    """It is logged ten times, then at the 100th and the 1000th; no process counts as done."""
    with open(tmp_path / "done", "wb", buffering=0) as pipe:
        view = memoryview(junk)
        while view:
            view = view[pipe.write(view) :]
        pipe.write(b"4711\n")
    wait_until(lambda: ((4711,), None) in ears.said)
    assert ears.said == [((4711,), None)]
    assert 1 <= len(log.reasons("acknowledgement_refused")) <= 12
