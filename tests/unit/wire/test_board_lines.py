"""A line of the board: what a process writes, and what the extension takes from it."""

from __future__ import annotations

import json
import random

import pytest

from helpers import ROOT
from snapext.wire.board import LINE_BYTES, read, written

VECTORS = [json.loads(line) for line in (ROOT / "tests/vectors/board/lines.jsonl").read_text("utf-8").splitlines()]


def test_a_line_names_the_hook_that_the_vector_says() -> None:
    """Of hostile lines too: the name is one that can be shown to a person, or there is none."""
    expected = {vector["about"]: vector["hook"] for vector in VECTORS}
    assert {v["about"]: read(bytes.fromhex(v["hex"]), v["generation"]) for v in VECTORS} == expected


@pytest.mark.parametrize("name", ["app.open_pool", "app.größe", "見" * 300, "n" * 253, "n" * 254, "x" * 5000])
@pytest.mark.parametrize("generation", [0, 1])
def test_what_is_written_is_read(name: str, generation: int) -> None:
    """A name that fits is the same; one that does not fit is cut off, which is shown."""
    line = written(generation, name)
    assert len(line) <= LINE_BYTES
    shown = read(line + b"what was there before", generation)
    assert shown is not None
    assert shown == name or (shown.endswith("…") and name.startswith(shown[:-1]) and len(shown.encode()) > 240)
    assert (shown == name) is (len(name.encode()) <= LINE_BYTES - 3)
    assert read(line, 1 - generation) is None


def test_a_name_that_is_no_unicode_can_be_written() -> None:
    """As a module has that was found under a name in other bytes."""
    assert read(written(1, "app.\udcff"), 1) == "app.?"


def test_no_line_can_do_harm() -> None:
    """Whatever bytes there are, what is taken is printable and short."""
    draw = random.Random(7)
    for _ in range(20_000):
        line = bytearray(
            draw.choice([b"1 app.open_pool\0", b"0 f\0", "1 größe\0".encode(), bytes(8)]).ljust(LINE_BYTES)
        )
        for _ in range(draw.randrange(4)):
            line[draw.randrange(20)] = draw.randrange(256)
        hook = read(bytes(line), 1)
        assert hook is None or (hook.isprintable() and 0 < len(hook.encode()) < LINE_BYTES)
