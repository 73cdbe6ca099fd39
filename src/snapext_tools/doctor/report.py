"""The diagnosis as text: lines for a person, and the exit status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from snapext_tools.doctor.examine import Diagnosis
from snapext_tools.doctor.findings import Finding, Severity

CLEAN, ERRORS = 0, 1


def lines(diagnoses: Sequence[Diagnosis], passed_over: Sequence[str]) -> Iterator[str]:
    """What to print."""
    for diagnosis in diagnoses:
        function = diagnosis.function
        if diagnosis.findings:
            own_file = function.root.file
            yield _printable(function.name if function.name == own_file else f"{function.name} ({own_file})")
            for finding in diagnosis.findings:
                yield from map(_printable, _finding(finding))
        else:
            yield _printable(f"{function.name}: no problems found")
        yield from map(_printable, _not_judged(diagnosis))
    if passed_over:
        yield _printable(f"skipped, because nothing in them is about snapext: {', '.join(passed_over)}")


def exit_status(diagnoses: Sequence[Diagnosis]) -> int:
    """1 when there is an error; 0 for warnings only."""
    severities = {finding.severity for diagnosis in diagnoses for finding in diagnosis.findings}
    return ERRORS if Severity.ERROR in severities else CLEAN


def _finding(finding: Finding) -> Iterator[str]:
    yield f"  {finding.severity:<7}  {finding.wrong}"
    yield f"           {finding.harm}"
    yield f"           {finding.change.verb} {finding.change.place}"
    yield f"               {finding.change.line}"


def _not_judged(diagnosis: Diagnosis) -> Iterator[str]:
    subjects: dict[str, list[str]] = {}
    for subject, reason in diagnosis.not_judged:
        subjects.setdefault(reason, []).append(subject)
    for reason, several in subjects.items():
        yield f"  not checked: {', '.join(several)} ({reason})"


def _printable(line: str) -> str:
    """A value may contain any character; a line of the report stays one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in line)
