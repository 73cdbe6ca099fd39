"""Which kind of web adapter runs beside us, read off its binary."""

from __future__ import annotations

import os
from dataclasses import dataclass

ADAPTER_FILE = "lambda-adapter"
"""The adapter registers under this name, so its file must be called that."""

RESTORE_NEXT_MARK = b"/runtime/restore/next"
CHECK_BEFORE_CHECKPOINT_MARK = b"before-checkpoint"
"""The later releases name the readiness check before that POST so, in the message for when it takes too long."""

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Adapter:
    """What an adapter does around the snapshot."""

    asks_restore_next: bool
    checks_before_checkpoint: bool


def inspect(folder: str) -> Adapter | None:
    """Look at the adapter in the extensions' folder; None when there is none, or it cannot be read."""
    try:
        found = _marks_in(os.path.join(folder, ADAPTER_FILE), (RESTORE_NEXT_MARK, CHECK_BEFORE_CHECKPOINT_MARK))
    except OSError:
        return None
    return Adapter(RESTORE_NEXT_MARK in found, CHECK_BEFORE_CHECKPOINT_MARK in found)


def checks_before_snapshot(adapter: Adapter | None, *, posts_before_checkpoint: bool) -> int:
    """How many readiness checks come before restore/next: the first one, and another before that POST in some."""
    return 2 if posts_before_checkpoint and adapter is not None and adapter.checks_before_checkpoint else 1


def _marks_in(path: str, marks: tuple[bytes, ...]) -> set[bytes]:
    found: set[bytes] = set()
    overlap = max(map(len, marks)) - 1
    tail = b""
    with open(path, "rb") as file:
        while len(found) < len(marks) and (chunk := file.read(_CHUNK_BYTES)):
            window = tail + chunk
            found.update(mark for mark in marks if mark in window)
            tail = window[-overlap:]
    return found
