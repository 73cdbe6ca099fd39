"""Environment variables as a source: a file of KEY=VALUE lines, or the variables of this process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from snapext_tools.doctor.settings import VARIABLES, Function, Opaque, Place, Setting, SourceError

# Quoted values may span several lines, as private keys do.
_ENTRY = re.compile(
    r"""[ \t]*
    (?: (?:export[ \t]+)? (?P<name>[A-Za-z_][\w.-]*) [ \t]*=[ \t]*
        (?: '(?P<single>[^']*)' | "(?P<double>(?:\\.|[^"\\])*)" | (?P<plain>(?!['"])[^\n]*?) )
    )?
    [ \t]* (?:(?<!\S)\#[^\n]*)? (?:\n|\Z)""",
    re.VERBOSE | re.DOTALL,
)
_EXPANSION = re.compile(r"\$(?:\w|\{|\()")


def read_env_file(path: Path) -> Function:
    """Read KEY=VALUE lines. Comments, quotes and `export` are understood; $NAME is not expanded.

    Raises:
        SourceError: the file cannot be read, or contains anything else.
    """
    return parse_env(read_text(path), str(path))


def parse_env(text: str, name: str) -> Function:
    """Parse such lines as `read_env_file` does. Raises SourceError, which names the source as `name`."""
    variables: dict[str, Setting] = {}
    places: dict[tuple[str, ...], Place] = {}
    at = 0
    while at < len(text):
        line = text.count("\n", 0, at) + 1
        entry = _ENTRY.match(text, at)
        if entry is None:  # the message does not quote the line: it may be a secret
            raise SourceError(f"{name}:{line} is not a line of the form KEY=VALUE")
        at = entry.end()
        if variable := entry["name"]:
            variables[variable] = _value(entry)
            places[(*VARIABLES, variable)] = Place(name, "", line)
    if not variables:
        raise SourceError(f"{name} has no line of the form KEY=VALUE")
    return Function(name, "the env file", variables, Place(name), places=places)


def read_environ(environ: Mapping[str, str]) -> Function:
    """The variables of a process, as they are."""
    name = "the process environment"
    places: dict[tuple[str, ...], Place] = {(*VARIABLES, key): Place(name) for key in environ}
    return Function(name, name, dict(environ), Place(name), places=places)


def read_text(path: Path) -> str:
    """Read a text file. Raises SourceError when it cannot be read or is not text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"cannot read {path}: it is not text in UTF-8") from error
    if "\0" in text:
        raise SourceError(f"cannot read {path}: it is not text")
    return text


def _value(entry: re.Match[str]) -> Setting:
    if entry["single"] is not None:
        return entry["single"]
    text = entry["plain"]
    if text is None:
        text = re.sub(r"\\(.)", lambda escape: {"n": "\n", "t": "\t"}.get(escape[1], escape[1]), entry["double"])
    return Opaque(text, text) if _EXPANSION.search(text) else text
