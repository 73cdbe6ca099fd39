"""Put a change onto a text whose layout and comments a writer would not keep: a merge of texts, line by line."""

from __future__ import annotations

import difflib


def onto(text: str, plain: str, changed: str) -> str:
    """`text` with the change from `plain` to `changed`, which a writer wrote of the same text without and with it.

    Lines that the change does not touch stay as they are, byte by byte. Where a line cannot be found again, the result
    is `changed` as the writer wrote it.
    """
    if plain == text:
        return changed
    ours, theirs, wanted = text.splitlines(), plain.splitlines(), changed.splitlines()
    at = _lines_of(ours, theirs)
    result: list[str] = []
    copied = 0
    changes = difflib.SequenceMatcher(None, theirs, wanted, autojunk=False).get_opcodes()
    for operation, start, end, first, last in changes:
        if operation == "equal":
            continue
        here = [at.get(number) for number in range(start, end)]
        before = at.get(start - 1, -1) if start else -1
        if None in here or (start and before == -1):
            return changed
        from_line = here[0] if here and here[0] is not None else before + 1
        until = here[-1] + 1 if here and here[-1] is not None else from_line
        if from_line < copied:
            return changed
        result += ours[copied:from_line]
        near = from_line if here else before
        pair = start if here else start - 1
        shift = _indent(ours[near]) - _indent(theirs[pair]) if 0 <= near < len(ours) and pair >= 0 else 0
        result += [_shifted(line, shift) for line in wanted[first:last]]
        copied = until
    result += ours[copied:]
    return _joined(result, text)


def above_comments(text: str, changed: str) -> str:
    """`changed`, a change of `text`, with what is new above the comments that belong to the line behind it."""
    ours, wanted = text.splitlines(), changed.splitlines()
    result: list[str] = []
    for operation, start, _, first, last in difflib.SequenceMatcher(None, ours, wanted, autojunk=False).get_opcodes():
        new, kept = wanted[first:last], list[str]()
        if operation == "replace":  # a line that changes is somewhere between those that are new
            changes = [number for number, line in enumerate(new) if _key(line) == _key(ours[start])]
            new, kept = (new[: changes[0]], new[changes[0] :]) if changes else (new, [])
        follows = kept[0] if kept else ours[start] if operation == "insert" and start < len(ours) else ""
        comments = _comments_of(follows, result) if new and follows and _indent(new[0]) == _indent(follows) else 0
        above = result[len(result) - comments :]
        del result[len(result) - comments :]
        result += new
        if comments and not _indent(follows) and ours[start - comments - 1 : start - comments] == [""]:
            result.append("")  # sections that are set apart stay so
        result += above + kept
    return _joined(result, text)


def _comments_of(line: str, before: list[str]) -> int:
    """How many lines right before it are comments with its indent."""
    comments = 0
    while comments < len(before) and before[-1 - comments].startswith(" " * _indent(line) + "#"):
        comments += 1
    return comments


def _key(line: str) -> str:
    return line.partition(":")[0]


def _joined(lines: list[str], text: str) -> str:
    end_of_line = "\r\n" if "\r\n" in text else "\n"
    return end_of_line.join(lines) + (end_of_line if text.endswith("\n") else "")


def _lines_of(ours: list[str], theirs: list[str]) -> dict[int, int]:
    """For each line of theirs the number of ours, where they differ in nothing but indents and spaces."""
    left, right = [[" ".join(line.split()) for line in lines] for lines in (theirs, ours)]
    found: dict[int, int] = {}
    for block in difflib.SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks():
        found |= {block.a + n: block.b + n for n in range(block.size)}
    return found


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _shifted(line: str, by: int) -> str:
    return " " * max(0, _indent(line) + by) + line.lstrip(" ") if line.strip() else line
