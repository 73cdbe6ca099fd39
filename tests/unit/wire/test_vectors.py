"""The vectors in tests/vectors, for whoever implements the protocol in another language, hold for this one."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from helpers import ROOT
from snapext.errors import RemoteProtocolError
from snapext.wire.connection import Connection, Role
from snapext.wire.messages import FROM_EXTENSION, FROM_PROCESS, Message, to_wire

VECTORS = [
    (f"{path.stem}:{number}", json.loads(line))
    for path in sorted((ROOT / "tests" / "vectors").glob("*.jsonl"))
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
]
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


def receive(reader: Connection, data: bytes, step: int) -> list[Message]:
    return [message for i in range(0, len(data), step) for message in reader.receive(data[i : i + step])]


@pytest.mark.parametrize("vector", [v for _, v in VECTORS], ids=[name for name, _ in VECTORS])
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut"])
def test_our_reader_does_what_the_vector_says(vector: dict[str, Any], cut: bool) -> None:
    """Each line is taken, ignored or refused as its vector says, however it is cut."""
    reader = Connection(Role.PROCESS if vector["from"] == "extension" else Role.EXTENSION)
    before = "".join(line + "\n" for line in vector.get("after", [])).encode()
    data = bytes_of(vector)
    step = len(data) + len(before) if not cut else 1 if len(data) < LONG else 61
    if "error" in vector:
        with pytest.raises(RemoteProtocolError):
            receive(reader, before + data, step)
        return
    known = [json.loads(line)["type"] for line in vector.get("after", [])]
    said = [on_the_wire(message) for message in receive(reader, before + data, step)]
    earlier = len([kind for kind in known if kind in {**FROM_PROCESS, **FROM_EXTENSION}])
    assert said[earlier:] == ([vector["message"]] if "message" in vector else [])


@pytest.mark.parametrize("vector", [v for _, v in VECTORS], ids=[name for name, _ in VECTORS])
def test_a_vector_says_one_thing(vector: dict[str, Any]) -> None:
    """One line, one sender, one outcome, and what it is about."""
    assert vector["about"]
    assert vector["from"] in ("process", "control", "extension")
    assert len({"line", "hex"} & set(vector)) == 1
    assert len(set(OUTCOMES) & set(vector)) == 1
    assert set(vector) <= {"about", "from", "after", "line", "hex", "repeat", *OUTCOMES}
    if "error" in vector and "garbage" not in vector.get("after", []):  # it is this line that is wrong, not one before
        reader = Connection(Role.PROCESS if vector["from"] == "extension" else Role.EXTENSION)
        receive(reader, "".join(line + "\n" for line in vector.get("after", [])).encode(), LONG)


def test_the_vectors_leave_no_message_and_no_field_out() -> None:
    """Every type is there, and for every field that it must have one that lacks it."""
    said = [vector["message"] for _, vector in VECTORS if "message" in vector]
    assert {message["type"] for message in said} == {*FROM_PROCESS, *FROM_EXTENSION}
    optional = {("hello", "client"), ("hello", "name"), ("hello", "forked"), ("hello", "signalled"), ("done", "hooks")}
    optional.add(("after_restore", "restored_monotonic"))
    fields = {(m["type"], name) for m in said for name in m if name != "type"} - optional
    about = {vector["about"] for _, vector in VECTORS if "error" in vector}
    assert {f"{kind} without {name}" for kind, name in fields} <= about


def test_the_transcripts_of_the_document_are_true() -> None:
    """In docs/protocol.md each side may say what it says there, and the other understands it as it is written."""
    document = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    transcripts = re.findall(r"^```text\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    assert [transcript.partition(" ")[0] for transcript in transcripts] == ["process", "control"]
    for transcript in transcripts:
        process, extension = Connection(Role.PROCESS), Connection(Role.EXTENSION)
        for line in transcript.splitlines():
            who, _, text = line.partition(" ")
            sender, reader = (extension, process) if who == "extension" else (process, extension)
            (message,) = reader.receive(text.strip().encode() + b"\n")
            assert json.loads(text).items() <= json.loads(sender.send(message)).items()
