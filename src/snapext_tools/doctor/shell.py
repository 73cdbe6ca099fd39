"""The text of a shell script: its simple commands, what they set, and words with their variables replaced."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_ENDS = frozenset(";&|")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?[-=]([^}]*))?\}|(\w+))")


def commands(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each simple command with the number of its line. A line that a shell could not split is passed over."""
    number = 1
    pending, started = "", 1
    for line in text.replace("\r\n", "\n").split("\n"):
        started = number if not pending else started
        number += 1
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        whole, pending = pending + line, ""
        try:
            lexer = shlex.shlex(whole, posix=True, punctuation_chars=";&|")
            lexer.whitespace_split = True
            words = list(lexer)
        except ValueError:
            continue
        command: list[str] = []
        for word in [*words, ";"]:
            if word and _ENDS.issuperset(word):
                if command:
                    yield started, command
                command = []
            else:
                command.append(word)


def expanded(text: str, known: Mapping[str, str]) -> str | None:
    """The text with its variables replaced; None when one is unknown, or something is computed."""
    unknown = False

    def value(found: re.Match[str]) -> str:
        nonlocal unknown
        name = found[1] or found[3]
        if known.get(name):
            return known[name]
        unknown = unknown or found[2] is None
        return found[2] or ""

    replaced = _VARIABLE.sub(value, text)
    return None if unknown or "$(" in text or "`" in text else replaced


@dataclass(slots=True)
class Shell:
    """What a script has set so far. known: its variables. replaces: what replaces PYTHONPATH, in line replaces_at."""

    known: dict[str, str]
    replaces: str = ""
    replaces_at: int = 0
    hides: str = ""
    venv: bool = False

    @property
    def unlinked(self) -> str:
        """Why no channel of snapext reaches Python; empty when one does."""
        return f"{self.hides}, which hides the user site" if self.replaces and self.hides else ""

    def take(self, words: Sequence[str], number: int) -> list[str]:
        """Take what a command sets, and return the words that are left to start: none of export, unset, activate."""
        rest = list(words)
        if rest[0] == "export":
            assigned, rest = rest[1:], []
        else:
            count = next((at for at, word in enumerate(rest) if not _ASSIGNMENT.fullmatch(word)), len(rest))
            assigned, rest = rest[:count], rest[count:]
        for each in assigned:
            self._assign(each, number)
        if rest[:1] == ["unset"] and "PYTHONPATH" in rest:
            self.replaces, self.replaces_at = "unset PYTHONPATH", number
            return []
        if rest[:1] in (["."], ["source"]) and len(rest) > 1 and rest[1].endswith("bin/activate"):
            self.venv = True
            return []
        return rest

    def _assign(self, text: str, number: int) -> None:
        found = _ASSIGNMENT.fullmatch(text)
        if found is None:
            return  # `export NAME`
        name, value = found[1], found[2]
        if name == "PYTHONPATH" and "PYTHONPATH" not in value:
            self.replaces, self.replaces_at = text, number
        if name in ("PYTHONNOUSERSITE", "PYTHONUSERBASE") and value:
            self.hides = name
        self.known[name] = expanded(value, self.known) or ""
