"""The diagnosis as text: lines for a person, and the exit status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from snapext_tools.doctor.examine import Diagnosis
from snapext_tools.doctor.findings import Finding, Severity

CLEAN, ERRORS, NOT_ATTACHED = 0, 1, 2


def lines(diagnoses: Sequence[Diagnosis]) -> Iterator[str]:
    """What to print: of each function first what could not be judged, then what is wrong."""
    attached = any(diagnosis.attached for diagnosis in diagnoses)
    if not attached:
        yield "nothing here uses snapext: there is no layer of it, no wrapper, and no SNAPEXT_* variable."
        yield "This is what SnapStart would lose:"
    for diagnosis in diagnoses:
        if attached and not diagnosis.attached and not _is_wrong(diagnosis):
            continue  # named in the last line
        function = diagnosis.function
        own_file = function.root.file
        name = function.name if function.name == own_file else f"{function.name} ({own_file})"
        unread = list(_not_judged(diagnosis))
        if diagnosis.findings or diagnosis.not_judged:
            yield _printable(
                name if diagnosis.findings else f"{name}: not all could be judged; nothing wrong in the rest"
            )
        else:
            yield _printable(f"{name}: no problems found")
        yield from map(_printable, unread)
        for finding in diagnosis.findings:
            yield from map(_printable, _finding(finding))
        for note in diagnosis.notes:
            yield _printable(f"  read: {note}")
    others = [diagnosis.function.name for diagnosis in diagnoses if not diagnosis.attached]
    if attached and others:
        yield _printable(f"snapext is not attached to: {', '.join(others)}")


def exit_status(diagnoses: Sequence[Diagnosis]) -> int:
    """1 when there is an error; 2 when nothing is wrong and nothing uses snapext; else 0, also for warnings."""
    severities = {finding.severity for diagnosis in diagnoses for finding in diagnosis.findings}
    if Severity.ERROR in severities:
        return ERRORS
    return CLEAN if any(diagnosis.attached for diagnosis in diagnoses) else NOT_ATTACHED


def not_judged(diagnosis: Diagnosis) -> dict[str, list[str]]:
    """The subjects that could not be judged, by the reason."""
    subjects: dict[str, list[str]] = {}
    for subject, reason in diagnosis.not_judged:
        if subject not in subjects.setdefault(reason, []):
            subjects[reason].append(subject)
    return subjects


def _is_wrong(diagnosis: Diagnosis) -> bool:
    return any(finding.severity is not Severity.NOTE for finding in diagnosis.findings)


def _finding(finding: Finding) -> Iterator[str]:
    yield f"  {finding.severity:<7}  {finding.wrong_when}  [{finding.rule}]"
    yield f"           {finding.harm}"
    yield f"           {finding.change.verb} {finding.change.place}"
    for line in finding.change.line.split("\n"):
        yield f"               {line}"


def _not_judged(diagnosis: Diagnosis) -> Iterator[str]:
    for reason, several in not_judged(diagnosis).items():
        yield f"  not checked: {', '.join(several)} ({reason})"


def _printable(line: str) -> str:
    """A value may contain any character; a line of the report stays one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in line)
