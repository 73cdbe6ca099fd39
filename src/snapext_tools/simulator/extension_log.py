"""What the log of the extension says, one record after another, as the recorder has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT
from snapext_tools.simulator.recorder import NOTICES, Recorder, Trouble, seen_by_users

Record = Mapping[str, Any]

_EVERY_RECORD = ("time", "level", "source", "event")


def hear(recorder: Recorder, at_ms: float, record: Record) -> None:
    """Record what happened `at_ms` ms after the beginning. Raises KeyError when the record lacks a field.

    An event that has no place here is a warning if its level says so, else nothing.
    """
    if record["event"] in _HEARD:
        _HEARD[record["event"]](recorder, at_ms, record)
    elif record["level"] in ("warning", "error"):
        fields = {key: value for key, value in record.items() if key not in _EVERY_RECORD}
        recorder.add(at_ms, "warning", **{"about": record["event"], **fields})


def _joined(recorder: Recorder, at_ms: float, record: Record) -> None:
    fork_of = record.get("parent_pid") if record.get("forked") else None
    passed = record.get("passed")
    recorder.joined(at_ms, record["pid"], record["name"], record["hooks"], fork_of=fork_of, passed=passed)


def _joined_too_late(recorder: Recorder, at_ms: float, record: Record) -> None:
    recorder.joined_too_late(at_ms, record["pid"], record["name"], lost=record["lost"])


def _left(recorder: Recorder, at_ms: float, record: Record) -> None:
    recorder.left(at_ms, record["pid"], alive=record["alive"])


def _hooks_changed(recorder: Recorder, _at_ms: float, record: Record) -> None:
    recorder.hooks_changed(record["pid"], record["hooks"], record.get("passed"))


def _signalled(recorder: Recorder, at_ms: float, record: Record) -> None:
    recorder.signalled(at_ms, record["pid"], record["name"], record["phase"], record["signal"])


def _ran(recorder: Recorder, at_ms: float, record: Record) -> None:
    keys = ("ok", "duration_ms", "hooks", "failed_hook", "failed_hook_ms", "signal")
    fields = {key: record[key] for key in keys if key in record}
    recorder.ran(at_ms, record["event"], record["pid"], **fields)


def _unconfirmed(recorder: Recorder, at_ms: float, record: Record) -> None:
    recorder.unconfirmed(at_ms, **{key: record[key] for key in ("pid", "name", "phase", "signal")})


def _not_linked(recorder: Recorder, at_ms: float, record: Record) -> None:
    fields = {key: record.get(key) for key in ("pid", "name", "command", "cause", "remedy")}
    recorder.add(at_ms, "not_linked", **fields)


def _waiting(recorder: Recorder, at_ms: float, record: Record) -> None:
    recorder.add(at_ms, "waiting", message=record["message"], waited_ms=record.get("waited_ms"))


def _notice(recorder: Recorder, at_ms: float, record: Record) -> None:
    recorder.add(at_ms, record["event"], **{key: record[key] for key in ("pid", "name", "message")})


def _restored_said(recorder: Recorder, _at_ms: float, _record: Record) -> None:
    recorder.restore_told = True


def _restored(recorder: Recorder, _at_ms: float, record: Record) -> None:
    recorder.environment_id = record["environment_id"]


def _failed(recorder: Recorder, at_ms: float, record: Record) -> None:
    what = (record["phase"], record.get("pid"), record["hook"], record["type"], record["message"], record["stack"])
    is_known = record.get("reported_to") is not None
    seen = seen_by_users(record["phase"], record["error_type"], is_known=is_known)
    recorder.trouble(Trouble(*what, seen, at_ms))


_HEARD: Mapping[str, Callable[[Recorder, float, Record], None]] = {
    "process_joined": _joined,
    "joined_too_late": _joined_too_late,
    "process_left": _left,
    "hooks_changed": _hooks_changed,
    "process_signalled": _signalled,
    BEFORE_SNAPSHOT: _ran,
    AFTER_RESTORE: _ran,
    "unconfirmed": _unconfirmed,
    "not_linked": _not_linked,
    "waiting": _waiting,
    **dict.fromkeys(NOTICES, _notice),
    "restored_said": _restored_said,
    "restore": _restored,
    "failed": _failed,
}
