"""Every message there and back, and every way in which one can be malformed."""

import json

import pytest

from helpers import AFTER, BEFORE, HELLO, WELCOME, Pair, for_each
from snapext.errors import RemoteProtocolError
from snapext.wire.connection import Connection, Side
from snapext.wire.messages import (
    FROM_EXTENSION,
    FROM_PROCESS,
    Checkpoint,
    Describe,
    Described,
    Done,
    HookCounts,
    HookFailure,
    Hooks,
    HookTiming,
    Restored,
    Result,
    Running,
    Shutdown,
    StatusRequest,
    Welcome,
    to_wire,
)

OPTIONAL = ("client", "name", "forked", "signalled")
FAILURE = HookFailure("ValueError", "no ünits 🦀 \ud800", 'File "app.py"\n  line 1\x00', None)
FROM_APP = [
    HELLO,
    HELLO.replace(forked=True, generation=1, name="wörker 🦀"),
    Hooks(HookCounts(2_000, 0)),
    Running(7, "app.<locals>.hook"),
    Done(7, True, 1.25, (HookTiming("app.first", 0.0), HookTiming("app.second", 1.25))),
    Done(8, False, 0.5, (), FAILURE),
    Done(8, True, 0.5, registered=2),
    Done(9, False, 0.5, (), FAILURE.replace(hook="app.hook")),
    Described(3, ("app.<locals>.höok",), ()),
]
FROM_COMMAND = [HELLO.replace(role="control"), Checkpoint(), Restored(), StatusRequest()]
FROM_US = [
    WELCOME,
    Welcome(1, "ready", 1, "ab" * 16),
    BEFORE,
    AFTER,
    Describe(3),
    Result(True, None, 0, {"phase": "ready", "processes": [{"pid": 1}]}),
    Result(False, "a hook failed", 65, None),
    Shutdown("spindown", 2_000),
]
GREETINGS = ("hello", "welcome")
WIRE_CASES = [(Side.EXTENSION, m) for m in FROM_APP] + [(Side.PROCESS, m) for m in FROM_US]


def reader_for(side, message):
    """A connection of `side` that may receive `message` next."""
    pair = Pair(greeted=message.type not in GREETINGS)
    return pair.extension if side is Side.EXTENSION else pair.process


def line_of(message):
    return json.dumps(to_wire(message)).encode() + b"\n"


def receive(side, message, wire):
    return list(reader_for(side, message).receive(wire))


@for_each("message", FROM_APP)
def test_what_a_process_says_arrives_as_it_was_said(message):
    """Each message of a process is the same after the trip to the extension."""
    pair = Pair(greeted=message.type not in GREETINGS)

    assert [message] == pair.to_extension(message)


@for_each("message", FROM_US)
def test_what_the_extension_says_arrives_as_it_was_said(message):
    """Each message of the extension is the same after the trip to a process."""
    pair = Pair(greeted=False)
    pair.to_extension(HELLO)
    if message.type not in GREETINGS:
        pair.to_process(WELCOME)

    assert [message] == pair.to_process(message)


def test_the_cases_cover_every_message():
    """No message of the protocol is left out of these tests."""
    assert {*FROM_PROCESS, *FROM_EXTENSION} == {m.type for m in (*FROM_APP, *FROM_COMMAND, *FROM_US)}


@pytest.mark.parametrize(("role", "messages"), [("app", FROM_COMMAND[1:]), ("control", FROM_APP[2:])])
def test_a_process_says_only_what_belongs_to_its_role(role, messages):
    """A command cannot answer for a process, and a process cannot ask for the boundary, on the same connection."""
    for message in messages:
        pair = Pair(greeted=False)
        pair.to_extension(HELLO.replace(role=role))
        with pytest.raises(RemoteProtocolError, match=f"{message.type} is not theirs to send"):
            list(pair.extension.receive(line_of(message)))


@pytest.mark.parametrize("message", FROM_COMMAND)
def test_what_a_command_says_arrives_as_it_was_said(message):
    """The same for commands, whose role is control."""
    pair = Pair(greeted=False)
    if message.type != "hello":
        pair.to_extension(FROM_COMMAND[0])

    assert [message] == pair.to_extension(message)


@for_each("side, message", WIRE_CASES)
def test_a_line_may_arrive_byte_by_byte(side, message):
    """A message comes out at its newline and not before, however finely its line is cut."""
    reader, line = reader_for(side, message), line_of(message)
    arrived = [list(reader.receive(line[i : i + 1])) for i in range(len(line))]

    assert [[]] * (len(line) - 1) + [[message]] == arrived


@for_each("side, message", WIRE_CASES)
def test_what_follows_a_line_waits_for_its_own_newline(side, message):
    """Trailing bytes neither harm the line before them nor are they lost."""
    reader = reader_for(side, message)

    assert [message] == list(reader.receive(line_of(message) + b'{"type":'))
    assert list(reader.receive(b'"news from the future"}\n')) == []


@for_each("side, message", WIRE_CASES)
def test_unknown_fields_are_ignored(side, message):
    """A peer that is newer than we are may add fields at any level."""
    wire = {**to_wire(message), "colour": {"deep": [None, -1, True]}}
    if "hooks" in wire and isinstance(wire["hooks"], dict):
        wire["hooks"] = {**wire["hooks"], "after_invoke": -3}

    assert [message] == receive(side, message, json.dumps(wire).encode() + b"\n")


REQUIRED = [
    (side, message, field)
    for side, messages in ((Side.EXTENSION, FROM_APP), (Side.PROCESS, FROM_US))
    for message in {m.type: m for m in messages}.values()
    for field in to_wire(message)
    if (message.type, field)
    not in {
        *(("hello", name) for name in OPTIONAL),
        ("done", "hooks"),
        ("done", "type"),
    }
]


@for_each("side, message, field", REQUIRED)
def test_a_missing_field_is_malformed_and_named(side, message, field):
    """A known message without a field that it must have ends the connection, and the reason names the field."""
    wire = {name: value for name, value in to_wire(message).items() if name != field}

    with pytest.raises(RemoteProtocolError, match=field):
        receive(side, message, json.dumps(wire).encode() + b"\n")


WRONG_NUMBERS = ["true", "false", "-1", '"1"', "null", "[]", "{}", "NaN", "Infinity", "-Infinity", "1e400", "9" * 5000]
WRONG_INTEGERS = [*WRONG_NUMBERS, "1.0", "1.5", str(2**63), "9" * 400]
WRONG_FLOATS = [*WRONG_NUMBERS, "-0.001", str(2**63), "9" * 400]
WRONG_STRINGS = ["1", "true", "[]", "{}"]
FIELDS = [
    (Side.EXTENSION, HELLO, ("protocol", "pid", "generation"), WRONG_INTEGERS),
    (Side.EXTENSION, HELLO, ("role", "client", "name"), [*WRONG_STRINGS, "null"]),
    (Side.EXTENSION, HELLO, ("forked",), ["0", "1", "null", '"true"']),
    (Side.EXTENSION, HELLO, ("hooks",), ["[]", "1", "null", "{}", '{"before_snapshot":1}']),
    (Side.EXTENSION, Hooks(HookCounts()), ("hooks",), ['{"before_snapshot":-1,"after_restore":0}', "7"]),
    (Side.EXTENSION, Hooks(HookCounts()), ("hooks",), ['{"before_snapshot":true,"after_restore":0}']),
    (Side.EXTENSION, Running(1, "h"), ("id",), WRONG_INTEGERS),
    (Side.EXTENSION, Running(1, "h"), ("hook",), [*WRONG_STRINGS, "null"]),
    (Side.EXTENSION, FROM_APP[5], ("id",), WRONG_INTEGERS),
    (Side.EXTENSION, FROM_APP[5], ("ok",), ["0", "1", "null", '"yes"']),
    (Side.EXTENSION, FROM_APP[5], ("duration_ms",), WRONG_FLOATS),
    (Side.EXTENSION, FROM_APP[5], ("hooks",), ["{}", "null", "[1]", "[{}]", '[{"name":"h","duration_ms":-1}]']),
    (Side.EXTENSION, FROM_APP[5], ("error",), ["null", "[]", "{}", '"boom"']),
    (Side.PROCESS, WELCOME, ("protocol", "generation"), WRONG_INTEGERS),
    (Side.PROCESS, WELCOME, ("phase",), [*WRONG_STRINGS, "null"]),
    (Side.PROCESS, WELCOME, ("environment_id",), WRONG_STRINGS),
    (Side.PROCESS, BEFORE, ("id", "generation", "timeout_ms"), WRONG_INTEGERS),
    (Side.PROCESS, AFTER, ("id", "generation", "timeout_ms"), WRONG_INTEGERS),
    (Side.PROCESS, AFTER, ("environment_id",), [*WRONG_STRINGS, "null"]),
    (Side.PROCESS, AFTER, ("restored_at",), WRONG_FLOATS),
    (Side.PROCESS, AFTER.replace(restored_monotonic=1.5), ("restored_monotonic",), WRONG_FLOATS),
    (Side.PROCESS, Shutdown("spindown", 1), ("deadline_ms",), WRONG_INTEGERS),
]
MISTYPED = [
    (side, message, field, text) for side, message, fields, texts in FIELDS for field in fields for text in texts
]


@for_each("side, message, field, text", MISTYPED)
def test_a_mistyped_field_is_malformed(side, message, field, text):
    """A field of the wrong type, a bool for a number, a negative, infinite or absurdly large number are refused."""
    others = {name: value for name, value in to_wire(message).items() if name != field}
    line = json.dumps(others)[:-1] + f', "{field}": {text}}}\n'

    with pytest.raises(RemoteProtocolError):
        receive(side, message, line.encode())


def test_the_optional_fields_of_hello_have_defaults():
    """Twenty lines in any language suffice: client, name and forked may be left out."""
    wire = {name: value for name, value in to_wire(HELLO).items() if name not in OPTIONAL}
    (hello,) = Connection(Side.EXTENSION).receive(json.dumps(wire).encode() + b"\n")

    assert (hello.client, hello.name, hello.forked) == ("unknown", "unnamed", False)


@pytest.mark.parametrize("number", [0, 2**63 - 1])
def test_numbers_at_their_bounds_are_accepted(number):
    """Zero is not negative, and every 63-bit number is one that all languages can read."""
    assert [Running(number, "h")] == Pair().to_extension(Running(number, "h"))
