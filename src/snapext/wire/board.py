"""The board: a file in memory with a line for each process, on which it writes the hook that is about to run.

It says what `running` says, without a message that somebody has to read: the extension looks at a line only when its
process is late or has died, or a command asks. Bytes alone; docs/protocol.md has the rules for other languages.
"""

from __future__ import annotations

LINE_BYTES = 256
"""The line number N begins at the byte N * LINE_BYTES, and ends with the first NUL in it."""
_CUT_OFF = "…".encode()
EMPTY = b"\0"
"""What to write when the last hook of a phase has ended: else one that loses its connection then names a wrong one."""


def written(generation: int, hook: str) -> bytes:
    """The bytes to write at the beginning of a line: what is there behind their NUL does not count.

    A name that is too long is cut off. generation: the one that the phase leads to, 0 before the snapshot.
    """
    line = f"{generation} {hook}".encode("utf-8", "replace")
    if len(line) >= LINE_BYTES:
        line = line[: LINE_BYTES - 1 - len(_CUT_OFF)].decode("utf-8", "ignore").encode() + _CUT_OFF
    return line + b"\0"


def read(line: bytes, generation: int) -> str | None:
    """The hook that a line names for this generation, or None.

    Every process of the user can write every line, also while we read it: only what a person can read is taken.
    """
    content, end, _ = line[:LINE_BYTES].partition(b"\0")
    number, space, name = content.partition(b" ")
    if not (end and space and name) or number != b"%d" % generation:
        return None
    try:
        hook = name.decode()
    except UnicodeDecodeError:
        return None
    return hook if hook.isprintable() else None
