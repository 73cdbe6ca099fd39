"""The vectors in tests/vectors, for implementations of the protocol in other languages, hold for this one."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from helpers import ROOT
from snapext.errors import RemoteProtocolError
from snapext.wire.connection import Connection, Side
from snapext.wire.messages import FROM_EXTENSION, FROM_PROCESS, Message, to_wire

VECTORS: dict[str, dict[str, Any]] = {
    f"{path.name}:{number}": json.loads(line)
    for path in sorted((ROOT / "tests" / "vectors").glob("*.jsonl"))
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
}
OUTCOMES = ("message", "ignored", "error")
LONG = 4_096
"""Longer lines are not cut byte by byte: that would take a second each."""


def bytes_of(vector: dict[str, Any]) -> bytes:
    if "hex" in vector:
        return bytes.fromhex(vector["hex"]) + b"\n"
    line: str = vector["line"]
    if "repeat" in vector:
        line = line.replace("*", "x" * vector["repeat"])
    return line.encode() + b"\n"


def on_the_wire(message: Message) -> Any:
    return json.loads(json.dumps(to_wire(message)))


def reader_for(vector: dict[str, Any]) -> Connection:
    return Connection(Side.PROCESS if vector["from"] == "extension" else Side.EXTENSION)


def before(vector: dict[str, Any]) -> bytes:
    return "".join(line + "\n" for line in vector.get("after", [])).encode()


def receive(reader: Connection, data: bytes, step: int) -> list[Message]:
    return [message for i in range(0, len(data), step) for message in reader.receive(data[i : i + step])]


def outcome(vector: dict[str, Any], *, cut: bool) -> dict[str, Any]:
    """What comes of the line, in a vector's own words."""
    reader, line = reader_for(vector), bytes_of(vector)
    data = before(vector) + line
    step = len(data) if not cut else 1 if len(line) < LONG else 61
    try:
        said = [on_the_wire(message) for message in receive(reader, data, step)]
    except RemoteProtocolError:
        return {"error": True}
    earlier = sum(json.loads(line)["type"] in {**FROM_PROCESS, **FROM_EXTENSION} for line in vector.get("after", []))
    match said[earlier:]:
        case []:
            return {"ignored": True}
        case [message]:
            return {"message": message}
    return {"messages": said}


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
def test_our_reader_does_what_the_vector_says(cut: bool) -> None:
    """Each line is taken, ignored or refused as its vector says, however it is cut."""
    expected = {name: {key: vector[key] for key in OUTCOMES if key in vector} for name, vector in VECTORS.items()}
    assert {name: outcome(vector, cut=cut) for name, vector in VECTORS.items()} == expected


def test_a_vector_says_one_thing() -> None:
    """One line, one sender, one outcome, and what it is about."""
    for name, vector in VECTORS.items():
        assert vector["about"], name
        assert vector["from"] in ("process", "control", "extension"), name
        assert len({"line", "hex"} & set(vector)) == 1, name
        assert len(set(OUTCOMES) & set(vector)) == 1, name
        assert set(vector) <= {"about", "from", "after", "line", "hex", "repeat", *OUTCOMES}, name


def test_it_is_the_line_of_a_vector_that_is_wrong() -> None:
    """The lines before it are taken, unless it is about what follows garbage."""
    refused = {}
    for name, vector in VECTORS.items():
        if "garbage" not in vector.get("after", []):
            try:
                receive(reader_for(vector), before(vector), LONG)
            except RemoteProtocolError as error:
                refused[name] = str(error)
    assert refused == {}


def test_the_vectors_leave_no_message_and_no_field_out() -> None:
    """Every type is there, and for every field that it must have one that lacks it."""
    said = [vector["message"] for vector in VECTORS.values() if "message" in vector]
    assert {message["type"] for message in said} == {*FROM_PROCESS, *FROM_EXTENSION}
    optional = {
        *(("hello", name) for name in ("client", "name", "forked", "signalled", "importing", "board", "passed")),
        *(("welcome", name) for name in ("line", "commands")),
        *(("hooks", name) for name in ("importing", "passed")),
        ("before_snapshot", "serving"),
        ("after_restore", "restored_monotonic"),
        *(("done", name) for name in ("hooks", "registered")),
    }
    assert optional <= {(m["type"], name) for m in said for name in m}
    fields = {(m["type"], name) for m in said for name in m if name != "type"} - optional
    about = {vector["about"] for vector in VECTORS.values() if "error" in vector}
    assert {f"{kind} without {name}" for kind, name in fields} <= about


def test_the_transcripts_of_the_document_are_true() -> None:
    """In docs/protocol.md each side may say what it says there, and the other understands it as it is written."""
    document = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    transcripts = re.findall(r"^```text\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    assert [transcript.partition(" ")[0] for transcript in transcripts] == ["process", "control"]
    for transcript in transcripts:
        process, extension = Connection(Side.PROCESS), Connection(Side.EXTENSION)
        for line in transcript.splitlines():
            who, _, text = line.partition(" ")
            sender, reader = (extension, process) if who == "extension" else (process, extension)
            (message,) = reader.receive(text.strip().encode() + b"\n")
            assert json.loads(text).items() <= json.loads(sender.send(message)).items()
