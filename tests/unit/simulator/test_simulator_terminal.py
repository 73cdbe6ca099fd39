"""Lines on a page: no wider than it, coloured where wanted, and complete."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import Iterator
from typing import TextIO

import click
import pytest

from helpers import for_each
from snapext_tools.simulator.terminal import Page, fit

TEXT = "after_restore    0.798 s    17849 waitress-serve ✓ tracing.after_first   0.0 ms    0.0 % of 10 s"


def words(text: str) -> list[str]:
    return text.split()


@for_each("width", [1, 2, 7, 20, 40, 79, 80, 200])
@for_each("indent", [0, 4, 28])
@for_each("text", [TEXT, "x" * 300, "", " ", "a\tb\tc", "   indented " * 20, "日本語テキスト" * 9])
def test_no_piece_is_wider_than_the_terminal_and_no_character_is_lost(text: str, indent: int, width: int) -> None:
    """Whatever the text: only spaces may go, where a line is broken."""
    pieces = fit(text, width, indent)

    widest = max(2 if width == 1 and "日" in text else width, width)  # a wide character needs two columns anyway
    assert all(columns(piece) <= widest for piece in pieces)
    assert "".join(words("".join(pieces))) == "".join(words(text))


def columns(text: str) -> int:
    return sum(2 if character in "日本語テキスト" else 1 for character in text)


def test_a_line_is_broken_at_a_space_and_goes_on_below_its_text() -> None:
    """A word stays whole where it can."""
    assert fit("init     0.1 s  one two three", 22, 16) == ["init     0.1 s  one", "       two three"]
    assert fit("aaa bbb", 3) == ["aaa", "bbb"]
    assert fit("aaa bbb", 7) == ["aaa bbb"]


@pytest.mark.parametrize("width", [3, 10, 25, None])
def test_a_style_goes_on_in_the_next_line_and_ends_with_each(width: int | None) -> None:
    """No colour runs into what a terminal shows beside or below."""
    line = f"{click.style('init', fg='cyan', bold=True)}  {click.style('a warning of some length', fg='yellow')} end"
    pieces = fit(line, width, 2)

    assert "".join(words(click.unstyle("".join(pieces)))) == "initawarningofsomelengthend"
    for piece in pieces:
        opened = re.findall(r"\x1b\[[0-9;]*m", piece)
        assert not opened or opened[-1] == "\x1b[0m"
        assert width is None or len(click.unstyle(piece)) <= width


@pytest.fixture
def terminal() -> Iterator[tuple[TextIO, int]]:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        yield stream, ours
    os.close(ours)


def set_width(stream: TextIO, width: int) -> None:
    fcntl.ioctl(stream.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))


def shown(page: Page, ours: int, line: str) -> list[str]:
    page.write(line)
    page.write("end")
    data = b""
    while not data.endswith(b"end\r\n"):
        data += os.read(ours, 65536)
    return data.decode().removesuffix("end\r\n").splitlines()


def test_a_terminals_width_is_asked_for_at_each_line(terminal: tuple[TextIO, int]) -> None:
    """Windows change during a life."""
    stream, ours = terminal
    page = Page(stream, {})
    for width in (20, 30):
        set_width(stream, width)
        lines = shown(page, ours, "a " * 40)
        assert max(map(len, lines)) in (width, width - 1)
        assert len(lines) > 1


@pytest.mark.parametrize(
    ("environ", "width"), [({"COLUMNS": "10"}, 10), ({"COLUMNS": "wide"}, 20), ({"COLUMNS": "0"}, None), ({}, 20)]
)
def test_columns_overrules_the_terminal(
    terminal: tuple[TextIO, int], environ: dict[str, str], width: int | None
) -> None:
    """As for every program; 0 turns it off."""
    stream, ours = terminal
    set_width(stream, 20)
    lines = shown(Page(stream, environ), ours, "x" * 40)

    assert [len(line) for line in lines] == ([40] if width is None else [width] * (40 // width))


def test_a_terminal_of_unknown_width_gets_whole_lines(terminal: tuple[TextIO, int]) -> None:
    """A pseudo terminal without a size, for example in CI."""
    stream, ours = terminal
    set_width(stream, 0)

    assert shown(Page(stream, {}), ours, "x" * 500) == ["x" * 500]


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [
        ({}, True),
        ({"NO_COLOR": ""}, True),
        ({"TERM": "xterm"}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": "0"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours_are_for_a_terminal_that_wants_them(
    terminal: tuple[TextIO, int], environ: dict[str, str], coloured: bool
) -> None:
    """NO_COLOR counts when it is not empty (no-color.org)."""
    stream, ours = terminal
    set_width(stream, 80)
    lines = shown(Page(stream, environ), ours, click.style("red", fg="red"))

    assert lines == (["\x1b[31mred\x1b[0m"] if coloured else ["red"])


def test_what_is_no_terminal_gets_whole_lines_without_colours() -> None:
    """Nothing is lost in a file or a pipe."""
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w") as stream:
        Page(stream, {"COLUMNS": "10"}).write(click.style("x" * 300, fg="red"), 28)
    with os.fdopen(read_end) as stream:
        assert stream.read() == "x" * 300 + "\n"


def test_a_stream_that_cannot_write_a_character_gets_its_number() -> None:
    """An ASCII locale must not end a simulation."""
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w", encoding="ascii") as stream:
        Page(stream, {}).write("✓ done")
    with os.fdopen(read_end) as stream:
        assert stream.read() == "\\u2713 done\n"


def test_a_reader_that_has_gone_is_no_error() -> None:
    """The environment must still shut down in order."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with contextlib.suppress(OSError), os.fdopen(write_end, "w") as stream:
        Page(stream, {}).write("nobody reads this")
        is_past = True
    assert is_past
