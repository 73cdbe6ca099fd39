"""The client's line of the board: what it writes there, what it refuses, and what it says instead."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from clients import HOOKS, READ, READY, REPORT, WAIT, Start
from helpers import AFTER, BEFORE, HELLO, LIMIT_S, SRC, WELCOME, Listener, Peer, clean_environ, wait_until
from snapext.hooks import libcrypto
from snapext.wire.messages import Describe, Described, Done, Hello, Running

ADD_SEALS, SHRINK, GROW, SEAL, WRITE = 1033, 2, 4, 1, 8
LINE, LINES = 3, 20
RESTORE = AFTER.replace(restored_monotonic=81.5)
OURS = "snapext: generators"


def made(size: int = LINES * 256, seals: int = SHRINK | GROW | SEAL) -> int:
    descriptor = os.memfd_create("board", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, ADD_SEALS, seals)
    return descriptor


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = made()
    yield descriptor
    os.close(descriptor)


def written(memory: int, line: int = LINE) -> bytes:
    """What a line holds; when its phase has ended, what it held then behind the NUL that empties it."""
    content = os.pread(memory, 256, line * 256)
    first = content[:1] if content.startswith(b"\0 ") else b""
    return first + content[len(first) :].partition(b"\0")[0]


def elsewhere(memory: int) -> bytes:
    """What is in all other lines."""
    lines = os.pread(memory, LINES * 256, 0)
    return (lines[: LINE * 256] + lines[(LINE + 1) * 256 :]).strip(b"\0")


def welcome(peer: Peer, *descriptors: int, line: int | None = LINE) -> Hello:
    hello = peer.next(Hello)
    socket.send_fds(peer.socket, [peer.connection.send(WELCOME.replace(line=line))], descriptors)
    return hello


def open_files(pid: int) -> list[str]:
    """Its pipes, sockets and memfds; of a process that may be in the middle of opening and closing others."""
    names = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            names.append(os.readlink(link))
    return sorted(name for name in names if not re.match(r"/(?!memfd)|anon", name))


def said(peer: Peer) -> list[str]:
    return [message.hook for message in peer.heard if isinstance(message, Running)]


SHOWN = """
def shown(): say(open("/proc/self/maps").read().count("memfd:board"))
snapext.register_after_restore(shown)
"""


def test_each_hook_is_written_before_it_runs(listener: Listener, start: Start, memory: int):
    """On our own line alone, in both phases; nothing else is said. One page of the file stays, and no descriptor."""
    app = start(HOOKS + SHOWN + REPORT)
    peer = listener.accept()
    assert welcome(peer, memory).board
    assert peer.ask(BEFORE).ok
    at_snapshot = written(memory)
    done = peer.ask(RESTORE)

    assert [hook.name for hook in done.hooks] == ["__main__.after", "__main__.shown"]
    assert (at_snapshot, written(memory)) == (b"\0 " + OURS.encode(), b"\0 __main__.shown")
    assert (elsewhere(memory), said(peer), app.line()) == (b"", [], "1")
    assert [name.partition(":")[0] for name in open_files(app.process.pid)] == ["pipe", "pipe", "pipe", "socket"]
    assert app.end() == ("['before', 'after']\n", "")


def test_the_name_outlives_the_process(listener: Listener, start: Start, memory: int):
    """Of a hook that ends it, and of our own look at the generators, which is no hook's fault."""
    killing = "def kill(*_): os.kill(os.getpid(), 9)\n"
    for code, name in (
        (killing + "snapext.register_before_snapshot(kill)\n", b"0 __main__.kill"),
        (killing + "from snapext.hooks import reseed\nreseed.prepare = kill\n", b"0 " + OURS.encode()),
    ):
        app = start(HOOKS + code + WAIT)
        peer = listener.accept()
        welcome(peer, memory)
        peer.send(BEFORE)
        assert peer.is_hung_up()
        app.process.wait()
        assert written(memory) == name


def test_an_extension_of_the_first_release_is_told_by_messages(listener: Listener, start: Start):
    """It does not know the board: its words, as they are, and what it hears."""
    app = start(HOOKS + REPORT)
    peer = listener.accept()
    hello = peer.next(Hello)
    peer.connection.send(WELCOME)
    for text in (
        '{"type":"welcome","protocol":1,"phase":"init","generation":0,"environment_id":null}',
        '{"type":"before_snapshot","id":1,"generation":0,"timeout_ms":9000}',
        '{"type":"after_restore","id":2,"generation":1,"timeout_ms":900,"environment_id":"0f","restored_at":1.5}',
    ):
        peer.socket.sendall(text.encode() + b"\n")
    assert [peer.next(Done).ok, peer.next(Done).ok] == [True, True]

    assert hello.replace(board=False, pid=0, client="", name="") == HELLO.replace(
        pid=0, client="", name="", hooks=hello.hooks
    )
    assert said(peer) == ["__main__.before", OURS, OURS, "__main__.after"]
    assert app.end() == ("['before', 'after']\n", "")


def pipe() -> int:
    reader, writer = os.pipe()
    os.close(writer)
    return reader


ODD = {
    "no descriptor": list,
    "not sealed": lambda: [made(seals=0)],
    "may shrink": lambda: [made(seals=GROW)],
    "too short": lambda: [made(size=(LINE + 1) * 256 - 1)],
    "not to be written": lambda: [made(seals=SHRINK | WRITE)],
    "a pipe": lambda: [pipe()],
    "a folder": lambda: [os.open("/tmp", os.O_RDONLY)],
    "no line": lambda: [made()],
}


def test_what_is_odd_is_not_used_and_running_says_it(listener: Listener, start: Start):
    """Whatever comes instead of a board, its descriptors are closed, and the hooks run and are named all the same."""
    for about, make in ODD.items():
        descriptors = make()
        app = start(HOOKS + REPORT)
        peer = listener.accept()
        welcome(peer, *descriptors, line=None if about == "no line" else LINE)
        peer.ask(BEFORE)
        peer.ask(RESTORE)
        kept = [name for name in open_files(app.process.pid) if "memfd" in name]
        pipes = sum(name.startswith("pipe") for name in open_files(app.process.pid))

        assert said(peer) == ["__main__.before", OURS, OURS, "__main__.after"], about
        assert (kept, pipes) == ([], 3), about
        assert app.end() == ("['before', 'after']\n", ""), about
        for descriptor in descriptors:
            os.close(descriptor)


def test_descriptors_that_come_unasked_are_closed(listener: Listener, start: Start, memory: int):
    """More than one with the welcome, more than there is room for, and some with a later message."""
    app = start(HOOKS + REPORT)
    peer = listener.accept()
    welcome(peer, memory, *[memory] * 20)
    socket.send_fds(peer.socket, [peer.connection.send(Describe(1))], [memory] * 3)
    peer.next(Described)
    kept = [name for name in open_files(app.process.pid) if "memfd" in name]
    peer.ask(BEFORE)

    assert (kept, said(peer), written(memory)) == ([], [], b"\0 " + OURS.encode())
    app.end()


def test_a_fork_writes_nothing_before_it_has_a_line_of_its_own(listener: Listener, start: Start, memory: int):
    """A worker inherits its parent's line, and writes on its own."""
    worker = "if (child := os.fork()) == 0: time.sleep(60)\nsay(child)\nsys.stdin.readline(); os.kill(child, 9)"
    app = start(HOOKS + worker)
    peers = [listener.accept(), listener.accept()]
    hellos = [welcome(peer, memory, line=line) for line, peer in enumerate(peers, LINE)]
    assert all(hello.board for hello in hellos)
    assert peers[1].ask(BEFORE).ok
    assert (written(memory, LINE), written(memory, LINE + 1)) == (b"", b"\0 " + OURS.encode())
    assert peers[0].ask(BEFORE).ok
    assert written(memory, LINE) == b"\0 " + OURS.encode()
    app.end()


def test_a_child_of_a_hook_that_goes_on_writes_nothing(listener: Listener, start: Start, memory: int, tmp_path: Path):
    """It returns into our phase, and runs what comes next there: that would look as if its parent ran it."""
    code = """
@snapext.register_after_restore
def forks():
    if os.fork(): os.wait()
@snapext.register_after_restore
def ends_the_child():
    if os.getpid() == first: return
    say("child")
    while os.path.exists(os.environ["FILE"]): time.sleep(0.002)
    os._exit(0)
first = os.getpid()
"""
    file = tmp_path / "file"
    file.touch()
    app = start(HOOKS + code + WAIT, FILE=str(file))
    peer = listener.accept()
    welcome(peer, memory)
    peer.ask(BEFORE)
    peer.send(RESTORE)
    assert app.line() == "child"
    assert written(memory) == b"1 __main__.forks"
    file.unlink()
    done = peer.next(Done)

    assert [hook.name for hook in done.hooks] == ["__main__.after", "__main__.forks", "__main__.ends_the_child"]
    assert written(memory) == b"\0 __main__.ends_the_child"
    app.end()


def test_the_descriptor_never_takes_a_standard_one(listener: Listener, start: Start, memory: int):
    """An app that has closed 0, 1 and 2 finds them free, and its output does not reach the board."""
    app = start(
        """
import os
out = os.dup(1)
for number in (0, 1, 2): os.close(number)
import snapext, time
def free(): return [number for number in (0, 1, 2) if not os.path.exists(f"/proc/self/fd/{number}")]
snapext.register_after_restore(lambda: os.write(out, (str(free()) + "\\n").encode()))
time.sleep(60)
"""
    )
    peer = listener.accept()
    welcome(peer, memory)
    peer.ask(BEFORE)
    peer.ask(RESTORE)

    assert app.line() == "[0, 1, 2]"
    assert written(memory) == b"\0 __main__.<lambda>"


def test_without_a_free_descriptor_the_link_does_without_the_board(listener: Listener, start: Start, memory: int):
    """It must not cost the connection, which is there already."""
    code = """
import resource
from snapext.link import linking
while not linking.current().is_connected(): time.sleep(0.002)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
files = []
try:
    while True: files.append(os.open("/dev/null", 0))
except OSError: pass
os.write(1, b"full\\n")
while not linking.current().view.was_tried: time.sleep(0.002)
for file in files: os.close(file)
"""
    app = start(HOOKS + code + "say('free')" + READ + "print(ran)")
    peer = listener.accept()
    assert app.line() == "full"
    welcome(peer, memory)
    assert app.line() == "free"

    assert (peer.ask(BEFORE).ok, peer.ask(RESTORE).ok) == (True, True)
    assert said(peer) == ["__main__.before", OURS, OURS, "__main__.after"]
    assert app.end() == ("['before', 'after']\n", "")


def test_a_fork_cuts_no_import_of_ours_in_half(listener: Listener, start: Start, memory: int):
    """In the child the import's lock would be held for good: our thread imports where a fork waits for it."""
    audit = """
import sys, _thread
from snapext.guest import primitives
from snapext.link import linking
imports = {True: set(), False: set()}
def watch(event, given):
    if event == "import" and _thread.get_ident() == linking.current()._thread:
        imports[primitives.importing.is_mine()].add(given[0])
sys.addaudithook(watch)
"""
    more = """
@snapext.register_before_snapshot
def fails(): raise OSError
@snapext.register_after_restore
async def waits(): await sys.modules["asyncio"].sleep(0)
"""
    report = "print({'fcntl', 'asyncio', 'traceback'} - imports[True], imports[False])"
    app = start(audit + HOOKS + more + WAIT + report)
    peer = listener.accept()
    welcome(peer, memory)
    peer.send(Describe(1))
    peer.next(Described)
    assert not peer.ask(BEFORE).ok
    assert peer.ask(RESTORE).ok

    assert app.end() == ("set() set()\n", "")


def test_a_hook_that_closes_our_socket_keeps_what_it_opens_then(listener: Listener, start: Start, memory: int):
    """Another file has its number by then: we do not read that, but connect again and answer there."""
    code = """
import socket
@snapext.register_after_restore
def closes_all():
    global own, other
    os.closerange(3, 100)
    own, other = socket.socketpair()
    other.sendall(b"the app's own")
"""
    app = start(HOOKS + code + WAIT + "print(own.recv(100, socket.MSG_DONTWAIT), ran)")
    peer = listener.accept()
    welcome(peer, memory)
    peer.ask(BEFORE)
    peer.send(RESTORE)
    assert peer.is_hung_up()
    again = listener.accept()
    welcome(again, memory)
    done = again.ask(RESTORE.replace(id=7))

    assert (done.ok, done.id) == (True, 7)
    assert [hook.name for hook in done.hooks] == ["__main__.after", "__main__.closes_all"]
    assert app.end() == ("b\"the app's own\" ['before', 'after']\n", "")


def test_no_standard_descriptor_stays_taken_where_no_more_can_be_had():
    """What the app opens next goes where it always has."""
    code = """
import os, resource
from snapext.guest import descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True: os.open("/dev/null", 0)
except OSError: os.close(0)
try: descriptors.occupy_standard()
except OSError: print(os.open("/dev/null", 0))
"""
    environ = clean_environ(PYTHONPATH=str(SRC))
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=LIMIT_S)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_on_the_next_connection_the_next_line_counts(listener: Listener, start: Start, memory: int):
    """Of another extension perhaps: another board, or none at all. The same one has its page still."""
    app = start(HOOKS + REPORT)
    for _ in range(3):
        peer = listener.accept()
        welcome(peer, memory)
        assert peer.ask(BEFORE).ok
        maps = Path(f"/proc/{app.process.pid}/maps").read_text().count("memfd:board")
        peer.socket.close()
    other = made()
    peer = listener.accept()
    welcome(peer, other, line=LINE + 1)
    assert peer.ask(RESTORE).ok

    assert maps == 1
    assert (written(memory), written(other, LINE + 1)) == (b"\0 " + OURS.encode(), b"\0 __main__.after")
    assert app.end() == ("['before', 'after']\n", "")
    os.close(other)


def test_a_process_that_is_told_by_a_signal_says_it(listener: Listener, start: Start):
    """Its connection lasts for one phase: a page for that would be too much."""
    app = start(HOOKS + "import signal\n" + READY + READ + "print(ran)", SNAPEXT_TRANSPORT="signal")
    app.process.send_signal(int(os.environ.get("SIGNAL", "38")))
    peer = listener.accept()
    hello = peer.greet(WELCOME.replace(phase="before_snapshot"))
    assert peer.ask(BEFORE).ok

    assert (hello.signalled, hello.board) == (True, False)
    assert said(peer) == ["__main__.before", OURS]
    app.end()


def test_the_look_at_the_generators_ends_with_the_phase(monkeypatch: pytest.MonkeyPatch):
    """Files that there was no time for are named; those that are known cost nothing."""
    lines: list[str] = []
    monkeypatch.setattr(libcrypto.notice, "once", lambda _kind, line: lines.append(line))
    monkeypatch.setattr(libcrypto, "_scanned", {})
    libcrypto.look(thorough=True, deadline=0.0)
    (line,) = [line for line in lines if "no time left" in line]
    assert "SNAPEXT_BEFORE_SNAPSHOT_TIMEOUT_MS" in line
    lines.clear()
    libcrypto.look(thorough=True)
    libcrypto.look(thorough=True, deadline=0.0)

    assert not [line for line in lines if "no time left" in line]
    assert wait_until(lambda: libcrypto._scanned)


CLOSES_ALL = """
import socket
sys.stdin.readline()
os.closerange(3, 256)
pairs = [socket.socketpair() for _ in range(20)]  # they get the numbers that were closed
for ours, theirs in pairs:
    ours.sendall(b"mine"), theirs.sendall(b"mine")
say("closed")
sys.stdin.readline()
say(all(end.recv(100, socket.MSG_DONTWAIT) == b"mine" for pair in pairs for end in pair))
sys.stdin.readline()
"""


def test_an_app_that_closes_our_descriptor_while_we_wait_for_the_answer_keeps_its_own(
    listener: Listener, start: Start, memory: int
):
    """What comes then is not read from a file of the app's that has got the number, and the client comes back."""
    app = start(HOOKS + CLOSES_ALL)
    peer = listener.accept()
    peer.next(Hello)
    app.go()
    assert app.line() == "closed"
    with suppress(BrokenPipeError):  # it was not waiting yet, and has noticed
        socket.send_fds(peer.socket, [peer.connection.send(WELCOME.replace(line=LINE))], [memory])
    back = listener.accept()
    welcome(back, memory)
    assert back.ask(BEFORE).ok
    app.go()
    while (line := app.line()) != "True":
        assert line != "False"


CLOSES_IN_BETWEEN = """
import os, socket, threading
from snapext.link import channel
real, pairs, imported = channel.poll, [], threading.Event()
def poll():
    channel.poll = real
    imported.wait(20)  # else a file would be closed that the main thread imports from
    os.closerange(3, 256)
    pairs.extend(socket.socketpair() for _ in range(20))
    return real()
channel.poll = poll
"""


def test_an_app_that_takes_our_number_before_we_wait_does_not_keep_us(listener: Listener, start: Start, memory: int):
    """Nothing would ever come there: the client looks again, and comes back."""
    start(CLOSES_IN_BETWEEN + HOOKS + "imported.set()" + WAIT)
    listener.accept().next(Hello)
    back = listener.accept()
    welcome(back, memory)
    assert back.ask(BEFORE).ok


def test_a_hook_that_has_ended_without_a_link_is_not_named(
    listener: Listener, start: Start, memory: int, tmp_path: Path
):
    """The process is late because nobody has heard its answer, not because of its last hook."""
    code = """
@snapext.register_after_restore
def waits():
    while os.path.exists(os.environ["FILE"]): time.sleep(0.002)
"""
    file = tmp_path / "file"
    file.touch()
    app = start(HOOKS + code + WAIT, FILE=str(file))
    peer = listener.accept()
    welcome(peer, memory)
    peer.ask(BEFORE)
    peer.send(RESTORE)
    wait_until(lambda: written(memory) == b"1 __main__.waits")
    peer.socket.close()
    file.unlink()
    wait_until(lambda: written(memory) == b"\0 __main__.waits")
    app.end()
