"""What a person should know of a life, in words: the events that are neither a step of it nor a failure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snapext_tools.simulator.recorder import NOTICES

WARNINGS = ("warning", "not_linked")
ERROR_CALLS = ("init_error", "restore_error", "extension_init_error", "extension_exit_error")


def words_of(event: str, fields: Mapping[str, Any]) -> str | None:
    """One event as a sentence without an end; None for a step of the life."""
    if event == "warning":
        details = ", ".join(f"{key} {value}" for key, value in fields.items() if key != "about")
        return str(fields.get("message") or f"{fields['about']}: {details}")
    if event == "not_linked":
        words = "; ".join(filter(None, (fields["cause"], fields["remedy"])))
        command = f", which runs {fields['command']}" if fields["command"] else ""
        return f"process {fields['pid']} ({fields['name']}){command}, is not linked: {words}"
    if event == "waiting":
        since = "" if fields["waited_ms"] is None else f" ({fields['waited_ms'] / 1000:.0f} s)"
        return f"{fields['message']}{since}"
    if event in NOTICES:
        return str(fields["message"])
    if event in ERROR_CALLS:
        return f"{fields['error_type']} reported to the platform"
    return None
