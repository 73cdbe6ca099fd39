"""The connection as a state machine: lines, limits, order, direction, and what happens after an error."""

import collections

import pytest

from helpers import AFTER, BEFORE, HELLO, WELCOME, Pair, for_each
from snapext.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from snapext.wire.connection import Connection, Side
from snapext.wire.messages import MAX_LINE_BYTES, Done, HookCounts, Hooks, Running

HOOKS = Hooks(HookCounts(1, 1))
HELLO_LINE = Connection(Side.PROCESS).send(HELLO)
UNKNOWN_LINE = b'{"type":"weather","is":"fine"}\n'


def padded(size):
    """An unknown message whose line takes `size` bytes, its newline included."""
    line = b'{"type":"padding","p":""}\n'
    return line[:-3] + b"x" * (size - len(line)) + line[-3:]


def filling(size):
    """A message of ours whose line takes `size` bytes."""
    empty = len(Pair().process.send(Running(1, "")))
    return Running(1, "x" * (size - empty))


NOT_A_MESSAGE = {
    "empty": b"\n",
    "blank": b"  \n",
    "word": b"hello\n",
    "http": b"GET / HTTP/1.1\r\n",
    "binary": b"\x00\x01\xff\xfe\n",
    "not utf-8": b'{"type":"\xff"}\n',
    "bom": b'\xef\xbb\xbf{"type":"weather"}\n',
    "half": b'{"type":"hello"\n',
    "two on a line": b'{"type":"weather"}{"type":"weather"}\n',
    "array": b'[{"type":"weather"}]\n',
    "string": b'"hello"\n',
    "number": b"1\n",
    "null": b"null\n",
    "no type": b'{"kind":"hello"}\n',
    "null type": b'{"type":null}\n',
    "list type": b'{"type":["hello"]}\n',
    "nan": b'{"type":"weather","is":NaN}\n',
    "huge integer": b'{"type":"weather","is":' + b"9" * 10_000 + b"}\n",
    "deep": b'{"type":"weather","is":' + b"[" * 60_000 + b"\n",
    "deep and closed": b'{"type":"weather","is":' + b"[" * 30_000 + b"]" * 30_000 + b"}\n",
}


@for_each("line", NOT_A_MESSAGE.values())
@for_each("greeted", [False, True])
def test_a_line_that_is_no_message_ends_the_connection(line, greeted):
    """Whatever is not one JSON object with a type is refused, before the greeting and after it."""
    reader = Pair(greeted=greeted).extension

    with pytest.raises(RemoteProtocolError):
        list(reader.receive(line))


def test_messages_before_a_malformed_one_are_delivered():
    """Only what comes after the first malformed line is lost."""
    pair = Pair()
    stream = pair.extension.receive(pair.process.send(HOOKS) + b"garbage\n" + pair.process.send(HOOKS))

    assert next(stream) == HOOKS
    with pytest.raises(RemoteProtocolError):
        next(stream)
    with pytest.raises(StopIteration):
        next(stream)


@pytest.mark.parametrize("data", [b"", HELLO_LINE, UNKNOWN_LINE], ids=["nothing", "hello", "unknown"])
def test_after_an_error_a_connection_is_dead_for_good(data):
    """Nothing that comes later, however well formed, is taken from a peer that broke the protocol once."""
    reader = Connection(Side.EXTENSION)
    with pytest.raises(RemoteProtocolError):
        list(reader.receive(b"garbage\n"))

    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="dead"):
            list(reader.receive(data))


def test_a_dead_reader_may_still_speak():
    """What the peer did wrong does not forbid us to say goodbye."""
    pair = Pair()
    with pytest.raises(RemoteProtocolError):
        list(pair.extension.receive(b"garbage\n"))

    assert pair.to_process(BEFORE) == [BEFORE]


@pytest.mark.parametrize("step", [61, 4096, MAX_LINE_BYTES], ids=str)
def test_a_line_of_exactly_the_limit_is_accepted(step):
    """The limit counts the newline, and a line that just fits gets through however it is cut."""
    pair, message = Pair(), filling(MAX_LINE_BYTES)
    line = pair.process.send(message)
    arrived = [m for i in range(0, len(line), step) for m in pair.extension.receive(line[i : i + step])]

    assert (MAX_LINE_BYTES, [message]) == (len(line), arrived)


@pytest.mark.parametrize("step", [4096, MAX_LINE_BYTES, MAX_LINE_BYTES + 1], ids=str)
def test_a_line_of_one_byte_more_is_refused(step):
    """One byte over the limit is too long, even for a type that would be ignored."""
    reader, line = Pair().extension, padded(MAX_LINE_BYTES + 1)

    with pytest.raises(RemoteProtocolError, match="longer"):
        collections.deque((m for i in range(0, len(line), step) for m in reader.receive(line[i : i + step])), maxlen=0)


def test_a_line_without_end_is_refused_at_the_limit():
    """We do not wait for a newline that would come too late."""
    reader = Pair().extension
    assert list(reader.receive(b"x" * (MAX_LINE_BYTES - 1))) == []

    with pytest.raises(RemoteProtocolError, match="longer"):
        list(reader.receive(b"x"))


def test_a_long_line_behind_a_good_one_does_not_hide_it():
    """The good message is delivered before the flood behind it is refused."""
    pair = Pair()
    stream = pair.extension.receive(pair.process.send(HOOKS) + b"x" * MAX_LINE_BYTES)

    assert next(stream) == HOOKS
    with pytest.raises(RemoteProtocolError, match="longer"):
        next(stream)


def test_unknown_types_are_ignored_at_any_time():
    """A newer peer may say more than we understand, even before its greeting."""
    reader = Connection(Side.EXTENSION)

    assert list(reader.receive(UNKNOWN_LINE + HELLO_LINE + UNKNOWN_LINE)) == [HELLO]


@pytest.mark.parametrize("message", [HELLO, HOOKS, Running(1, "h"), Done(1, True, 0.0)], ids=lambda m: m.type)
def test_a_process_must_not_hear_what_processes_say(message):
    """A message in the wrong direction ends the connection of a process."""
    pair = Pair(greeted=message is not HELLO)

    with pytest.raises(RemoteProtocolError, match="not theirs"):
        list(pair.process.receive(pair.process.send(message)))


@pytest.mark.parametrize("message", [BEFORE, AFTER], ids=lambda m: m.type)
def test_the_extension_must_not_be_told_what_it_tells(message):
    """No process can pass itself off as the extension and trigger a hook."""
    pair = Pair()

    with pytest.raises(RemoteProtocolError, match="not theirs"):
        list(pair.extension.receive(pair.extension.send(message)))


def test_the_greeting_comes_first():
    """A peer that speaks before the greeting is cut off."""
    with pytest.raises(RemoteProtocolError, match="greeting"):
        list(Connection(Side.EXTENSION).receive(Pair().process.send(HOOKS)))
    with pytest.raises(RemoteProtocolError, match="greeting"):
        list(Connection(Side.PROCESS).receive(Pair().extension.send(BEFORE)))


def test_a_second_greeting_is_refused():
    """A process says hello once on a connection, and is welcomed once."""
    with pytest.raises(RemoteProtocolError, match="greeting"):
        list(Connection(Side.EXTENSION).receive(HELLO_LINE + HELLO_LINE))
    welcome = Connection(Side.EXTENSION).send(WELCOME)
    with pytest.raises(RemoteProtocolError, match="greeting"):
        list(Connection(Side.PROCESS).receive(welcome * 2))


@for_each(
    "side, greeted, message",
    [
        (Side.PROCESS, True, BEFORE),
        (Side.PROCESS, False, WELCOME),
        (Side.EXTENSION, True, HOOKS),
        (Side.PROCESS, False, HOOKS),
        (Side.EXTENSION, False, BEFORE),
        (Side.PROCESS, True, HELLO),
        (Side.EXTENSION, True, WELCOME),
        (Side.PROCESS, True, filling(MAX_LINE_BYTES + 1)),
        (Side.PROCESS, True, Running(1, "🦀" * 5_500)),
    ],
)
def test_our_own_mistakes_are_local_errors(side, greeted, message):
    """We cannot send what is not ours, out of order or too long, and the error says that the mistake is ours."""
    pair = Pair(greeted=greeted)
    ours = pair.process if side is Side.PROCESS else pair.extension

    with pytest.raises(LocalProtocolError):
        ours.send(message)


def test_a_message_refused_by_us_changes_nothing():
    """After a local error the connection goes on as if nothing had been said."""
    pair = Pair(greeted=False)
    with pytest.raises(LocalProtocolError):
        pair.process.send(HOOKS)

    assert pair.to_extension(HELLO) == [HELLO]
    with pytest.raises(LocalProtocolError):
        pair.process.send(filling(MAX_LINE_BYTES + 1))
    assert pair.to_extension(HOOKS) == [HOOKS]


def test_both_errors_are_protocol_errors():
    """Code that does not care whose mistake it was can catch one class."""
    assert issubclass(LocalProtocolError, ProtocolError)
    assert issubclass(RemoteProtocolError, ProtocolError)


def test_a_connection_is_between_lines_when_all_that_came_was_whole():
    """Only then may a reader take a short way around it: after both greetings, and not in the middle of a line."""
    extension = Connection(Side.EXTENSION)
    assert not extension.is_between_lines
    list(extension.receive(Connection(Side.PROCESS).send(HELLO)))
    assert not extension.is_between_lines
    extension.send(WELCOME)
    assert extension.is_between_lines
    list(extension.receive(b'{"type"'))
    assert not extension.is_between_lines
    list(extension.receive(b':"weather"}\n'))
    assert extension.is_between_lines
    with pytest.raises(RemoteProtocolError):
        list(extension.receive(b"hello\n"))
    assert not extension.is_between_lines
