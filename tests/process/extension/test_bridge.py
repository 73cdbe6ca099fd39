"""The real bridge against hostile peers, and good peers beside them."""

import contextlib
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from helpers import BEFORE, HELLO, LIMIT_S, WELCOME, App, Loop, MemoryLog, clean_environ, wait_until
from snapext.wire.connection import Connection, Side
from snapext.wire.messages import (
    AfterRestore,
    BeforeSnapshot,
    Checkpoint,
    Described,
    Done,
    HookCounts,
    Hooks,
    HookTiming,
    Running,
    StatusRequest,
    Welcome,
)
from snapext_extension.peers import bridge as bridge_module
from snapext_extension.peers import listening
from snapext_extension.peers.bridge import Bridge
from snapext_extension.peers.listening import BridgeError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class Recorder:
    """Records the bridge's events, and welcomes every peer."""

    def __init__(self):
        self.joined_pids, self.messages, self.gone, self.turned_away = {}, [], [], []
        self.bridge = None

    def joined(self, key, pid, hello):
        self.joined_pids[key] = pid
        self.bridge.send(key, WELCOME)

    def crowded(self, limit):
        self.turned_away.append(limit)

    def said(self, key, message):
        self.messages.append(message)

    def done(self, key, done):
        self.messages.append(done)

    def left(self, key, pid):
        self.gone.append(key)


class Process:
    """The process's end of one connection."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LIMIT_S)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self.connection = Connection(Side.PROCESS)

    def send(self, *messages):
        for message in messages:
            self.socket.sendall(self.connection.send(message))

    def next(self):
        while True:
            data = self.socket.recv(65536)
            assert data, "hung up"
            if messages := list(self.connection.receive(data)):
                return messages[0]

    def join(self):
        self.send(HELLO)
        assert isinstance(self.next(), Welcome)
        return self

    def is_hung_up(self):
        with contextlib.suppress(ConnectionResetError):
            while self.socket.recv(65536):
                pass
        return True


@pytest.fixture
def loop():
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def log():
    return MemoryLog()


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bridge" / "bridge.sock"


@pytest.fixture
def serve(loop, log, recorder, path):
    """Make a bridge; it is closed with the test."""
    made = []

    def serve(at=path):
        made.append(loop.call(lambda: Bridge(str(at), os.geteuid(), loop.reactor, log, recorder)))
        recorder.bridge = made[-1]
        return made[-1]

    yield serve
    for bridge in made:
        loop.call(bridge.close)


@pytest.fixture
def connect(path):
    """Connect to the bridge; connections are closed with the test."""
    made = []

    def connect(count=None):
        new = [Process(path) for _ in range(count or 1)]
        made.extend(new)
        return new if count else new[0]

    yield connect
    for process in made:
        process.socket.close()


@pytest.fixture
def is_served(recorder, connect):
    """Whether a good process can join and be heard."""

    def is_served():
        process = connect().join()
        marker = Running(len(recorder.messages) + 1, "still here")
        process.send(marker)
        wait_until(lambda: marker in recorder.messages)
        process.socket.close()
        return True

    return is_served


# --- where it listens ------------------------------------------------------------------------------------------------


def test_the_place_is_for_its_owner_alone(serve, path):
    """The directory is 0700 and the socket 0600, whatever the umask, and the umask stays as it was."""
    before = os.umask(0)
    try:
        serve()
        assert os.umask(0) == 0
    finally:
        os.umask(before)

    assert (stat.S_IMODE(path.parent.stat().st_mode), stat.S_IMODE(path.stat().st_mode)) == (0o700, 0o600)


@pytest.mark.parametrize("how", ["symlink", "group", "others", "file", "foreign"])
def test_a_directory_that_is_not_safely_ours_is_refused(serve, path, tmp_path, how):
    """No other user can have made, or can enter, the socket's directory; a refusal gives its reason in one line."""
    if how == "symlink":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        path.parent.symlink_to(tmp_path / "elsewhere")
    elif how == "file":
        path.parent.touch()
    else:
        path.parent.mkdir(mode=0o700)
        path.parent.chmod({"group": 0o710, "others": 0o701}.get(how, 0o700))
        if how == "foreign":
            if os.geteuid():
                pytest.skip("needs root")
            os.chown(path.parent, 65534, 65534)

    with pytest.raises(BridgeError) as refused:
        serve()
    assert str(path.parent) in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert not path.exists()


def test_a_stale_socket_is_replaced(serve, path, is_served):
    """The socket of a crashed extension is no obstacle."""
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    serve()

    assert is_served()


@pytest.mark.parametrize("queue_full", [False, True])
def test_a_live_socket_is_refused_and_left_alone(serve, path, queue_full):
    """Two extensions cannot share a path, even where the other is too busy to accept; the message says how."""
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as other, contextlib.ExitStack() as stack:
        other.bind(str(path))
        other.listen(0)
        if queue_full:
            for _ in range(1 + 1):  # a queue of none takes one
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect_ex(str(path))
        with pytest.raises(BridgeError, match="SNAPEXT_SOCKET"):
            serve()
        assert path.is_socket()


@pytest.mark.parametrize("what", ["file", "symlink", "directory", "foreign socket"])
def test_anything_else_in_the_way_is_refused_and_left_alone(serve, path, tmp_path, what):
    """Only a socket of ours is ever removed."""
    path.parent.mkdir(mode=0o700)
    if what == "file":
        path.write_text("precious")
    elif what == "symlink":
        path.symlink_to(tmp_path / "target")
    elif what == "directory":
        path.mkdir()
    else:
        if os.geteuid():
            pytest.skip("needs root")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        os.chown(path, 65534, 65534)
    before = os.lstat(path)

    with pytest.raises(BridgeError, match="in the way"):
        serve()
    assert before.st_ino == os.lstat(path).st_ino


def test_a_socket_that_is_replaced_as_we_look_is_left_alone(serve, path, monkeypatch):
    """It is not the dead one."""
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead, socket.socket(socket.AF_UNIX) as new:
        dead.bind(str(path))
        look = listening.why_refuse_socket

        def replaced(status, uid):
            path.rename(path.with_name("moved"))
            new.bind(str(path))
            return look(status, uid)

        monkeypatch.setattr(listening, "why_refuse_socket", replaced)
        with pytest.raises(BridgeError):
            serve()
        assert path.is_socket()


def test_closing_takes_the_socket_away_but_not_anothers(loop, log, recorder, path):
    """It does not remove a socket that another process put in its place."""
    for replaced in (False, True):
        bridge = loop.call(lambda: Bridge(str(path), os.geteuid(), loop.reactor, log, recorder))
        with contextlib.ExitStack() as stack:
            if replaced:
                path.rename(path.with_name("moved"))
                stack.enter_context(socket.socket(socket.AF_UNIX)).bind(str(path))
            loop.call(bridge.close)

        assert replaced == path.exists()


# --- who comes in ----------------------------------------------------------------------------------------------------


@as_root
def test_another_users_process_is_refused(serve, log, recorder, loop, is_served):
    """A process of another user is hung up on before it can say a word, even if it could reach the socket."""
    folder = Path(tempfile.mkdtemp())
    path = folder / "bridge.sock"
    bridge = loop.call(lambda: Bridge(str(path), 0, loop.reactor, log, recorder))
    folder.chmod(0o755)  # as if the directory's guard had failed
    path.chmod(0o666)
    code = f"""
        import os, socket
        os.setuid(65534)
        peer = socket.socket(socket.AF_UNIX); peer.connect({str(path)!r})
        try:
            peer.sendall({Connection(Side.PROCESS).send(HELLO)!r}); print(peer.recv(100))
        except OSError as error:
            print(b"")
    """
    try:
        with App(code, clean_environ()) as other:
            assert other.end() == ("b''\n", "")
    finally:
        loop.call(bridge.close)
        folder.rmdir()

    assert log.reasons("connection_refused") == ["user 65534 is not 0"]
    assert recorder.joined_pids == {}


def test_the_pid_is_the_kernels_word(serve, recorder, connect):
    """A process cannot pass itself off as another."""
    serve()
    connect().join()

    assert [os.getpid()] == [*recorder.joined_pids.values()]
    assert os.getpid() != HELLO.pid


GARBAGE = {
    "garbage": b"garbage\n",
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "binary": bytes(range(256)) + b"\n",
    "no hello": b'{"type":"hooks","hooks":{"before_snapshot":0,"after_restore":0}}\n',
    "an order": b'{"type":"before_snapshot","id":1,"generation":0,"timeout_ms":1}\n',
    "huge number": b'{"type":"hello","pid":' + b"9" * 5_000 + b"}\n",
    "deep": b"[" * 60_000 + b"\n",
    "endless": b"x" * 100_000,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("joined", [False, True], ids=["at once", "after hello"])
def test_nonsense_ends_that_one_connection(serve, log, recorder, connect, is_served, garbage, joined):
    """A peer that breaks the protocol loses its connection with a logged reason, and no other peer notices."""
    serve()
    bystander, bad = connect().join(), connect()
    if joined:
        bad.join()
        garbage = garbage.replace(b'"hooks",', b'"hello",')
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        bad.socket.sendall(garbage)

    assert bad.is_hung_up()
    assert len(log.reasons("connection_closed")) == 1
    wait_until(lambda: int(joined) == len(recorder.gone))
    assert is_served()
    bystander.send(Running(77, "bystander"))
    wait_until(lambda: Running(77, "bystander") in recorder.messages)


FOREIGN_WORDS = [
    ("control", Done(1, True, 0.0)),
    ("control", Running(1, "hook")),
    ("control", Hooks(HookCounts(1, 1))),
    ("control", Described(1, (), ())),
    ("app", Checkpoint()),
    ("app", StatusRequest()),
    ("root", Running(1, "hook")),
]


@pytest.mark.parametrize(
    ("role", "message"), FOREIGN_WORDS, ids=[f"{role} {said.type}" for role, said in FOREIGN_WORDS]
)
def test_a_role_has_its_own_words(serve, log, recorder, connect, is_served, role, message):
    """A command cannot answer for a process, nor a process ask for a checkpoint: a peer that tries is cut off."""
    serve()
    bad = connect()
    with contextlib.suppress(BrokenPipeError):
        bad.send(HELLO.replace(role=role), message)

    assert bad.is_hung_up()
    assert len(log.reasons("connection_closed")) == 1
    assert recorder.messages == []
    assert is_served()


def test_a_command_may_ask(serve, recorder, connect):
    """For the status, and for the checkpoint."""
    serve()
    command = connect()
    command.send(HELLO.replace(role="control"), StatusRequest(), Checkpoint())

    assert [StatusRequest(), Checkpoint()] == wait_until(lambda: len(recorder.messages) == 2 and recorder.messages)


def test_what_was_said_before_the_nonsense_counts(serve, recorder, connect):
    """In one packet: hello, a message, garbage, another message."""
    serve()
    bad = connect()
    good = [bad.connection.send(message) for message in (HELLO, Running(1, "said"), Running(2, "not heard"))]
    bad.socket.sendall(good[0] + good[1] + b"garbage\n" + good[2])

    assert bad.is_hung_up()
    assert [Running(1, "said")] == recorder.messages


def test_a_message_may_come_in_pieces(serve, recorder, connect):
    """One byte at a time is slow but no offence."""
    serve()
    process = connect()
    for byte in process.connection.send(HELLO) + process.connection.send(Hooks(HookCounts(3, 4))):
        process.socket.sendall(bytes([byte]))

    assert Hooks(HookCounts(3, 4)) == wait_until(lambda: recorder.messages)[0]


@pytest.mark.parametrize("how", ["nothing", "half a hello", "small talk"])
def test_whoever_does_not_say_hello_in_time_is_hung_up_on(monkeypatch, loop, serve, log, connect, is_served, how):
    """A connection without a hello is closed after a while; one that sent it may stay silent."""
    serve()
    quiet = connect().join()
    said = {"nothing": b"", "half a hello": b'{"type":"hello"', "small talk": b'{"type":"hi"}\n'}[how]
    with monkeypatch.context() as hurried:  # for this one alone: on a busy machine the others need longer
        hurried.setattr(bridge_module, "HELLO_TIMEOUT_MS", 50)
        silent = connect()
        with contextlib.suppress(BrokenPipeError):
            silent.socket.sendall(said)
        assert silent.is_hung_up()

    assert loop.reactor._timers == {}
    assert log.reasons("connection_closed") == ["it did not say hello in time"]
    quiet.send(Running(1, "after a while"))
    assert is_served()


def test_a_flood_of_connections_is_bounded_and_ends(monkeypatch, serve, log, recorder, connect, is_served):
    """Beyond the limit new connections are closed at once; when the flood has gone, everyone is served again.

    The listener hears of each, while the log has no more than ten lines of it.
    """
    monkeypatch.setattr(bridge_module, "MAX_CONNECTIONS", 8)
    monkeypatch.setattr(bridge_module, "HELLO_TIMEOUT_MS", 1_000)  # all of them are there before the first is late
    serve()
    good = connect().join()
    flood = connect(40)
    for process in flood:
        assert process.is_hung_up()

    assert 33 <= len(recorder.turned_away) <= 40
    assert log.reasons("connection_refused") == ["more than 8 connections"] * 10
    assert is_served()
    good.send(Running(1, "throughout"))


LIMITS = """
import os, resource, sys
from helpers import Loop, MemoryLog
from snapext_extension.peers.bridge import Bridge
loop = Loop()
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
for descriptors in (1024, 4096, 200, 100):
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
    bridge = loop.call(lambda: Bridge(sys.argv[1], os.geteuid(), loop.reactor, MemoryLog(), None))
    print(bridge._limit)
    loop.call(bridge.close)
loop.close()
"""


def test_the_limit_leaves_descriptors_for_the_platform(path):
    """A process on Lambda may have 1,024 descriptors, elsewhere fewer; connections alone must never take them all.

    In a process of its own: this one may have used up the fewest already.
    """
    environ = clean_environ(PYTHONPATH=":".join(filter(None, sys.path)))
    child = subprocess.run([sys.executable, "-c", LIMITS, path], env=environ, capture_output=True, text=True)
    assert (child.stdout.split(), child.stderr) == (["900", "900", "76", "16"], "")


def test_a_flood_of_messages_does_not_starve_the_others(serve, recorder, connect, is_served):
    """While one process talks without end, another can join and be heard."""
    serve()
    loud, enough = connect().join(), threading.Event()
    line = b'{"type":"small talk"}\n' * 2_000

    def talk():
        while not enough.is_set():
            loud.socket.sendall(line)

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        assert all(is_served() for _ in range(5))
        assert talker.is_alive()
    finally:
        enough.set()
        talker.join(LIMIT_S)


def test_a_peer_that_never_reads_is_dropped(loop, serve, log, recorder, connect, is_served):
    """Unread messages for a peer are limited; then its connection is closed and it is reported as gone."""
    bridge = serve()
    deaf, good = connect().join(), connect().join()
    key, other = recorder.joined_pids

    def tell():
        bridge.send(key, BEFORE)
        return recorder.gone

    for _ in range(20_000):
        if loop.call(tell):
            break
    assert [key] == recorder.gone
    assert log.reasons("connection_closed") == ["it does not read what the extension sends"]
    loop.call(lambda: bridge.send(key, BEFORE))  # no longer there, which is no error
    loop.call(lambda: bridge.send(other, BEFORE))
    assert good.next() == BEFORE
    assert is_served()
    assert deaf.socket.recv(10)


def test_all_are_told_in_one_line_each_in_its_turn(loop, serve, log, recorder, connect):
    """A slow one gets it behind what it has not read, whole; a peer that is gone costs no other one anything."""
    bridge = serve()
    slow, gone, good = connect().join(), connect().join(), connect().join()
    keys = [*recorder.joined_pids]
    orders = [BeforeSnapshot(number, 0, 1) for number in range(900)]
    told = AfterRestore(7, 1, 9000, "0f" * 16, 1.5, 2.5)

    def tell():
        for order in orders:
            bridge.send(keys[0], order)
        gone.socket.close()
        bridge.send_all([*keys, 999], told)

    loop.call(tell)
    assert good.next() == told
    received = []
    while len(received) <= len(orders):
        received += slow.connection.receive(slow.socket.recv(1_000_000))
    assert received == [*orders, told]
    wait_until(lambda: recorder.gone)
    assert [keys[1]] == recorder.gone
    assert log.reasons("connection_closed") == []


def test_an_answer_is_taken_the_same_whole_cut_or_with_another_message(serve, recorder, connect):
    """The short way takes one whole line, and what it leaves the general reader takes."""
    serve()
    process = connect().join()
    answers = [Done(number, True, 0.5, (HookTiming("app.open", 0.25),)) for number in range(4)]
    lines = [process.connection.send(answer) for answer in answers]
    for data in (lines[0], lines[1][:9], lines[1][9:] + lines[2][:30], lines[2][30:], lines[3]):
        process.socket.sendall(data)
    wait_until(lambda: len(recorder.messages) == len(answers))

    assert answers == recorder.messages


def test_a_command_cannot_answer_for_a_process_by_the_short_way_either(serve, log, connect, recorder):
    """It is hung up on, as for any other message that its role may not send."""
    serve()
    command = connect()
    command.send(HELLO.replace(role="control"))
    assert isinstance(command.next(), Welcome)
    command.send(Done(1, True, 0.5))
    assert command.is_hung_up()
    assert recorder.messages == []
    assert log.reasons("connection_closed") == ["done is not theirs to send"]


def test_a_slow_reader_gets_everything_in_order(loop, serve, recorder, connect):
    """A message that does not fit into the socket at once is sent later, whole."""
    bridge = serve()
    slow = connect().join()
    (key,) = recorder.joined_pids
    orders = [BeforeSnapshot(number, 0, 1) for number in range(4_000)]
    loop.call(lambda: [bridge.send(key, order) for order in orders] and None)
    received = []
    while len(received) < len(orders):
        received += slow.connection.receive(slow.socket.recv(1_000_000))

    assert orders == received


@pytest.mark.parametrize("abruptly", [False, True])
def test_a_process_that_goes_is_reported_once(serve, log, recorder, connect, abruptly):
    """Whether it closes in order or with unread data, it has left, and only one that had joined."""
    serve()
    process, never_joined = connect().join(), connect()
    if abruptly:
        recorder.bridge.send(next(iter(recorder.joined_pids)), BEFORE)
    never_joined.socket.close()
    process.socket.close()
    wait_until(lambda: recorder.gone)

    assert [*recorder.joined_pids] == recorder.gone


def test_a_child_that_inherits_a_connection_does_not_keep_it_open_for_us(serve, recorder, connect):
    """Only connections count: a connection that a child holds open has not left."""
    serve()
    process = connect().join()
    os.set_inheritable(process.socket.fileno(), True)
    code = "import sys; sys.stdin.readline()"
    with App(code, clean_environ()) as unrelated:
        process.socket.close()
        assert wait_until(lambda: recorder.gone)
        unrelated.end()


def test_closing_hangs_up_on_everyone(loop, log, recorder, path):
    """When the extension ends, no process is left waiting."""
    bridge = loop.call(lambda: Bridge(str(path), os.geteuid(), loop.reactor, log, recorder))
    recorder.bridge = bridge
    joined, silent = Process(path).join(), Process(path)
    loop.call(bridge.close)

    for process in (joined, silent):
        assert process.is_hung_up()
        process.socket.close()
    with pytest.raises(FileNotFoundError):
        Process(path)
