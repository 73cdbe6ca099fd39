"""What a rule finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from snapext_tools.doctor.settings import Change


class Severity(StrEnum):
    """An error: hooks do not run, or environments fail. A warning: it works, but probably not as intended. A note: what
    a function without snapext would lose under SnapStart.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, what happens because of it, and the line to change.

    rule, when: the id of the rule, and the template's conditions under which it is found; `examine` fills them in.
    """

    severity: Severity
    wrong: str
    harm: str
    change: Change
    rule: str = ""
    when: str = ""

    @property
    def wrong_when(self) -> str:
        """What is wrong, and under which conditions."""
        return f"{self.wrong}, when {self.when}" if self.when else self.wrong
