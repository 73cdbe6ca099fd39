"""The short way to read and write the lines of a restore says what the general one says, of what it takes."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from helpers import ROOT
from snapext.errors import RemoteProtocolError
from snapext.wire.connection import Connection, Side
from snapext.wire.messages import AfterRestore, BeforeSnapshot, Done, Hello, HookCounts, Message, Welcome
from snapext_extension.peers.lines import beginning_of_line, line_of, read_done, rest_of_line

HELLO = Connection(Side.PROCESS).send(Hello(1, 7, "app", "test", "app", HookCounts(1, 1), 0))
COMMON = (
    b'{"type":"done","id":5,"ok":true,"duration_ms":31.25,"hooks":[{"name":"app.open","duration_ms":30.5}],'
    b'"registered":1}\n'
)
PIECES = [
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"',
        b"\\",
        b"\n",
        b" ",
        b"\0",
        b"\xff",
        b"\xc3",
        b"\xe2\x80\xa8",
        b"-",
        b"+",
    ),
    *(
        b"0",
        b"1e999",
        b"-1",
        b"1.5",
        b"9223372036854775808",
        b"NaN",
        b"Infinity",
        b"true",
        b"false",
        b"null",
        b"\\ud800",
    ),
    *(
        b'"type"',
        b'"id"',
        b'"ok"',
        b'"duration_ms"',
        b'"hooks"',
        b'"name"',
        b'"error"',
        b'"registered"',
        b'"done"',
        b'"running"',
        b"[" * 2000,
    ),
]
VALUES = [
    *(None, True, False, 0, 1, -1, 5.0, 5.5, -0.0, 1e300, 2**63, 2**63 - 1, 10**400, "", "x", [], {}, [[]], [{}]),
    *([{"name": "a", "duration_ms": 1}], [{"name": None, "duration_ms": 1}], [{"name": "a", "duration_ms": True}]),
    *(
        [{"name": "a"}],
        [{"name": "a", "duration_ms": -1, "more": [1]}],
        [{"name": "a", "duration_ms": 1}, 7],
        {"name": "a"},
    ),
]


def general(data: bytes) -> list[Message] | None:
    """What the general reader makes of it; None if it is malformed."""
    reader = Connection(Side.EXTENSION)
    list(reader.receive(HELLO))
    try:
        return list(reader.receive(data))
    except RemoteProtocolError:
        return None


def lines() -> Iterator[bytes]:
    """The vectors, and what can be made of the common line."""
    for path in sorted((ROOT / "tests" / "vectors").glob("*.jsonl")):
        for vector in map(json.loads, path.read_text("utf-8").splitlines()):
            line = bytes.fromhex(vector["hex"]) if "hex" in vector else vector["line"].encode()
            yield line.replace(b"*", b"x" * vector.get("repeat", 1)) + b"\n"
    for cut in range(len(COMMON) + 1):
        yield COMMON[:cut]
        yield COMMON[:cut] + COMMON
    common = json.loads(COMMON)
    for field in [*common, "error", "more"]:
        for value in VALUES:
            yield json.dumps({**common, field: value}, separators=(",", ":")).encode() + b"\n"
        yield json.dumps({f: v for f, v in common.items() if f != field}, separators=(",", ":")).encode() + b"\n"
    yield COMMON.replace(b'"app.open"', b'"' + b"x" * 65_536 + b'"')
    yield COMMON.replace(b'"app.open"', b'"' + b"x" * (65_536 - len(COMMON) + 8) + b'"')
    yield COMMON.replace(b'"app.open"', b'"' + b"x" * (65_536 - len(COMMON) + 9) + b'"')
    draw = random.Random(11)
    for _ in range(5_000):
        line = COMMON
        for _ in range(draw.randrange(1, 4)):
            at = draw.randrange(len(line))
            line = line[:at] + draw.choice(PIECES) + line[at + draw.randrange(6) :]
        yield line


def test_it_takes_the_common_line() -> None:
    """What our client sends, with hooks or without."""
    assert [read_done(COMMON)] == general(COMMON)
    without = b'{"type":"done","id":5,"ok":true,"duration_ms":0.5,"hooks":[]}\n'
    assert read_done(without) == Done(5, True, 0.5)


def test_what_it_takes_the_general_reader_takes_as_the_same_and_nothing_else_is_taken() -> None:
    """Of the vectors, of lines with a field of another kind, and of five thousand with garbage in them."""
    taken = 0
    for line in lines():
        done = read_done(line)
        if done is not None:
            taken += 1
            assert general(line) == [done], line
            assert repr(general(line)) == repr([done]), line
    assert taken > 100


def test_after_restore_is_written_as_the_general_writer_does_it() -> None:
    """Byte for byte, with the moment by the monotonic clock or without; another message is left to it."""
    writer = Connection(Side.EXTENSION)
    writer.send(Welcome(1, "init", 0, None))
    for message in (
        AfterRestore(5, 1, 9000, "0f" * 16, 1767225600.25, 81.5),
        AfterRestore(0, 1, 1, "a", 1e22, None),
        AfterRestore(2**63 - 1, 0, 2, "Z9", 0.1 + 0.2, 1e-7),
    ):
        assert line_of(message) == writer.send(message)
    assert line_of(BeforeSnapshot(1, 0, 5)) is None
    assert [line_of(AfterRestore(5, 1, 9, odd, 1.0)) for odd in ("", 'a"', "größe", "a b", "a\n")] == [None] * 5


def test_after_restore_in_two_parts_says_the_same() -> None:
    """Whatever the clocks show: in the first second after boot, and in the year 2242."""
    reader = Connection(Side.PROCESS)
    list(reader.receive(encoded_welcome()))
    for wall_us, monotonic_us in ((1767225600250001, 81500000), (8589934592000000, 500000), (1, 0), (1000000, 999999)):
        line = rest_of_line(beginning_of_line(5, 9000), "0f" * 16, wall_us, monotonic_us)
        message = AfterRestore(5, 1, 9000, "0f" * 16, wall_us / 1e6, monotonic_us / 1e6)
        assert list(reader.receive(line)) == [message]


def encoded_welcome() -> bytes:
    return Connection(Side.EXTENSION).send(Welcome(1, "init", 0, None))
