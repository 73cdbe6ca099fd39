"""What a rule finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from snapext_tools.doctor.settings import Change


class Severity(StrEnum):
    """An error: hooks do not run, or environments fail. A warning: it works, but probably not as intended."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, what happens because of it, and the line to change."""

    severity: Severity
    wrong: str
    harm: str
    change: Change
