"""Which kind of web adapter runs beside us, read off its binary, and which of us asks for restore/next."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator

from snapext.errors import ConfigError
from snapext_extension.adapter_config import ENV_LWA_READINESS_PORT
from snapext_extension.config import ENV_MODE, ENV_RESTORE_CALLER
from snapext_extension.data import Data
from snapext_extension.observing import ADAPTER_FILE

RESTORE_NEXT_MARK = b"/runtime/restore/next"
SNAPSTART_MARK = b"AWS_LWA_SNAPSTART"
"""How the names of its settings for SnapStart begin: the releases that have them check the app after the restore."""
CHECK_BEFORE_CHECKPOINT_MARK = b"before-checkpoint"
"""The later releases name the readiness check before that POST so, in the message for when it takes too long."""

EXTENSION = "extension"
ADAPTER = "adapter"

_CHUNK_BYTES = 1 << 20


class Kind(enum.Enum):
    """What an adapter does around the restore.

    The second kind is a release before 1.1 that was built with a later runtime library, which asks by itself.
    """

    NEVER_ASKS = "never asks for restore/next"
    ASKS_WITHOUT_CHECK = "asks for restore/next, and makes no readiness check after the restore"
    ASKS_AND_CHECKS = "asks for restore/next, and makes a readiness check after the restore"


class Behaviour(Data):
    """What an adapter does around the snapshot."""

    kind: Kind
    checks_before_checkpoint: bool


class UnusableAdapterError(ConfigError):
    """A web adapter that snapext cannot hold after the restore. The text is one line, and says what to use instead."""

    def __init__(self, message: str) -> None:
        super().__init__(ADAPTER_FILE, "", message)
        self.args = (message,)


class Decision(Data):
    """Who asks for restore/next, `extension` or `adapter`; with an error init has to fail instead."""

    caller: str
    error: ConfigError | None = None
    warnings: tuple[str, ...] = ()


def inspect(folder: str) -> Behaviour | None:
    """Look at the adapter in the extensions' folder; None when there is none, or it cannot be read."""
    marks = (RESTORE_NEXT_MARK, SNAPSTART_MARK, CHECK_BEFORE_CHECKPOINT_MARK)
    try:
        found = _marks_in(os.path.join(folder, ADAPTER_FILE), marks)
    except OSError:
        return None
    kind = Kind.NEVER_ASKS
    if RESTORE_NEXT_MARK in found:
        kind = Kind.ASKS_AND_CHECKS if SNAPSTART_MARK in found else Kind.ASKS_WITHOUT_CHECK
    return Behaviour(kind, CHECK_BEFORE_CHECKPOINT_MARK in found)


def decide(adapter: Behaviour | None, mode: str, restore_caller: str | None, *, snap_start: bool) -> Decision:
    """Who asks for restore/next, by what the adapter does and what is set.

    mode, restore_caller: as in Config. Only a gate can leave it to the adapter; after a checkpoint we ask ourselves.
    Without SnapStart nobody asks and nothing is refused: a warning says what would be.
    """
    kind = None if adapter is None else adapter.kind
    adapters_own = ADAPTER if _asks(kind) else EXTENSION
    caller = (restore_caller or adapters_own) if mode == "gate" else EXTENSION
    error = _refusal(kind, mode, restore_caller)
    if not snap_start:
        return Decision(caller, None, (f"under SnapStart initialisation would fail: {error}",) if error else ())
    return Decision(caller, error, () if error else tuple(_contradictions(kind, mode, restore_caller)))


def checks_before_snapshot(adapter: Behaviour | None, *, posts_before_checkpoint: bool) -> int:
    """How many readiness checks come before restore/next: the first one, and another before that POST in some."""
    return 2 if posts_before_checkpoint and adapter is not None and adapter.checks_before_checkpoint else 1


def _asks(kind: Kind | None) -> bool:
    return kind in (Kind.ASKS_WITHOUT_CHECK, Kind.ASKS_AND_CHECKS)


def _refusal(kind: Kind | None, mode: str, restore_caller: str | None) -> ConfigError | None:
    if restore_caller == ADAPTER and kind is Kind.NEVER_ASKS:
        accepted = f"the web adapter ({ADAPTER_FILE}) never asks for restore/next; unset it, and snapext asks"
        return ConfigError(ENV_RESTORE_CALLER, restore_caller, accepted)
    if mode == "gate" and kind is Kind.ASKS_WITHOUT_CHECK:
        return UnusableAdapterError(
            f"the web adapter ({ADAPTER_FILE}) asks for restore/next by itself and makes no readiness check after the "
            "restore: requests would be served before the after-restore hooks. It was built from a version before 1.1 "
            "with a later runtime library: use 0.9.1 or 1.0.x as released, or 1.1.0 and later"
        )
    return None


def _contradictions(kind: Kind | None, mode: str, restore_caller: str | None) -> Iterator[str]:
    """Settings and an adapter that contradict each other."""
    if restore_caller == ADAPTER and mode != "gate":
        yield (
            f"{ENV_RESTORE_CALLER}=adapter has no effect: after a checkpoint snapext itself asks for restore/next; "
            f"unset it, or let {ENV_LWA_READINESS_PORT} point at snapext"
        )
    elif restore_caller == ADAPTER and kind is None:
        yield (
            f"{ENV_RESTORE_CALLER}=adapter, and no web adapter ({ADAPTER_FILE}) can be read beside snapext: if nothing "
            "asks for restore/next, no after-restore hook runs; unset it, and snapext asks"
        )
    elif restore_caller is None and kind is None and mode == "gate":
        yield (
            f"{ENV_LWA_READINESS_PORT} points at snapext, and no web adapter ({ADAPTER_FILE}) can be read beside it: "
            "snapext asks for restore/next, and nothing may wait for it; without a web adapter set "
            f"{ENV_MODE}=explicit and run `snapext checkpoint`"
        )
    if mode == "explicit" and kind is not None:
        yield (
            f"{ENV_MODE}=explicit, and there is a web adapter ({ADAPTER_FILE}), which does not wait for `snapext "
            f"checkpoint`: remove the adapter; or unset {ENV_MODE} and let {ENV_LWA_READINESS_PORT} point at snapext"
        )
    elif restore_caller == EXTENSION and _asks(kind):
        yield (
            f"{ENV_RESTORE_CALLER}=extension, and the web adapter ({ADAPTER_FILE}) asks for restore/next by itself: "
            "the second caller is refused (403); unset it, and the adapter asks"
        )


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
