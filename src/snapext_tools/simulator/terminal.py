"""Lines fit for their reader: no wider than the terminal, and no colours where they disturb."""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
from collections.abc import Mapping
from typing import TextIO

import click

_ESCAPE = re.compile(r"\x1b\[[;?0-9]*[a-zA-Z]")
_RESET = "\x1b[0m"


class Page:
    """One stream. It asks for the terminal's width before each line: windows change.

    Only terminals get colours, and not a dumb one, nor one with NO_COLOR set (no-color.org).
    """

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        self._stream = stream
        self._environ = environ
        self._plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
        with contextlib.suppress(AttributeError, ValueError):  # a stand-in for a stream, or one that is closed
            stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]

    def write(self, line: str, indent: int = 0) -> None:
        """Write a line, or as many as it takes; all but the first are indented.

        The reader may be gone (`| head`); the environment must still shut down in order.
        """
        with contextlib.suppress(OSError):
            for piece in fit(line, self._width(), indent):
                click.echo(piece, file=self._stream, color=False if self._plain else None)

    def write_raw(self, text: str) -> None:
        """Write text for a program, unchanged."""
        with contextlib.suppress(OSError):
            click.echo(text, file=self._stream, color=False)

    def _width(self) -> int | None:
        if not self._stream.isatty():
            return None
        with contextlib.suppress(KeyError, ValueError):
            return int(self._environ["COLUMNS"]) or None
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or None
        except OSError:
            return None


def fit(line: str, width: int | None, indent: int = 0) -> list[str]:
    """Break a line, styled or not, at spaces if possible. Only spaces are dropped."""
    if width is None or width <= 0:
        return [line]
    cells = _cells(line)
    pieces: list[str] = []
    room, begin = width, 0
    while begin < len(cells) or not pieces:
        end = _end(cells, begin, room)
        pad = " " * (width - room)
        pieces.append(pad + _styled(cells[begin:end]))
        begin = end
        while pieces and begin < len(cells) and cells[begin][1] == " ":
            begin += 1
        room = width - min(indent, width // 3)
    return pieces


def _cells(line: str) -> list[tuple[str, str]]:
    """Each character with the escapes in force at it."""
    cells, style, at = [], "", 0
    line = line.replace("\r", "").expandtabs()
    while at < len(line):
        if escape := _ESCAPE.match(line, at):
            style = "" if escape[0] in (_RESET, "\x1b[m") else style + escape[0]
            at = escape.end()
        else:
            cells.append((style, line[at]))
            at += 1
    return cells


def _end(cells: list[tuple[str, str]], begin: int, room: int) -> int:
    """Where the piece that begins at `begin` ends: at the last space in reach, else where the room ends."""
    end, used = begin, 0
    while end < len(cells) and (end == begin or used + _columns(cells[end][1]) <= room):
        used += _columns(cells[end][1])
        end += 1
    if end == len(cells):
        return end
    text = "".join(character for _, character in cells[begin : end + 1])
    space = text.rfind(" ")
    return begin + space if text[: max(space, 0)].strip() else end


def _columns(character: str) -> int:
    if unicodedata.combining(character) or character < " ":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _styled(cells: list[tuple[str, str]]) -> str:
    text, style = "", ""
    for now, character in cells:
        if now != style:
            text += (_RESET if style else "") + now
            style = now
        text += character
    return (text.rstrip(" ") + _RESET) if style else text.rstrip(" ")
