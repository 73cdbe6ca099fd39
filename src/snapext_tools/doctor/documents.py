"""The diagnosis for programs: our own JSON document, and SARIF 2.1.0 for code scanning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from snapext_tools.doctor.examine import RULES, Diagnosis
from snapext_tools.doctor.findings import Finding
from snapext_tools.doctor.report import CLEAN, exit_status
from snapext_tools.doctor.settings import Place

VERSION = 1
"""Of the JSON document: it grows when a field changes its meaning or goes; new fields may come at any time."""
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def json_document(diagnoses: Sequence[Diagnosis]) -> dict[str, Any]:
    """The findings, and what could not be judged, of each function. docs/doctor.md describes the fields."""
    return {
        "version": VERSION,
        "ok": exit_status(diagnoses) == CLEAN,
        "functions": [
            {
                "name": diagnosis.function.name,
                "file": diagnosis.function.root.file,
                "attached": diagnosis.attached,
                "findings": [_finding(finding) for finding in diagnosis.findings],
                "not_judged": [{"subject": subject, "reason": reason} for subject, reason in diagnosis.not_judged],
                "read": list(diagnosis.notes),
            }
            for diagnosis in diagnoses
        ],
    }


def failed_document(message: str) -> dict[str, Any]:
    """The document when there was nothing to judge."""
    return {"version": VERSION, "ok": False, "error": message, "functions": []}


def sarif_document(diagnoses: Sequence[Diagnosis], version: str) -> dict[str, Any]:
    """A log with one run. What could not be judged is a result of the kind `open`. version: of snapext."""
    rules = [
        {
            "id": rule.id,
            "shortDescription": {"text": rule.subject},
            "defaultConfiguration": {"level": str(rule.severity)},
        }
        for rule in RULES
    ]
    driver = {"name": "snapext doctor", "version": version, "rules": rules}
    results = [result for diagnosis in diagnoses for result in _results(diagnosis)]
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _finding(finding: Finding) -> dict[str, Any]:
    place = finding.change.place
    return {
        "rule": finding.rule,
        "severity": str(finding.severity),
        "wrong": finding.wrong,
        "harm": finding.harm,
        "when": finding.when or None,
        "change": {
            "verb": finding.change.verb,
            "file": place.file,
            "line": place.line,
            "path": place.path or None,
            "text": finding.change.line,
        },
    }


def _results(diagnosis: Diagnosis) -> Iterator[Mapping[str, Any]]:
    for finding in diagnosis.findings:
        change = finding.change
        yield {
            "ruleId": finding.rule,
            "level": str(finding.severity),
            "message": {
                "text": f"{finding.wrong_when}: {finding.harm}. {change.verb.capitalize()}: {change.in_one_line}"
            },
            "locations": [_location(change.place, diagnosis.function.name)],
        }
    of_subject = {rule.subject: rule.id for rule in reversed(RULES)}
    for subject, reason in diagnosis.not_judged:
        yield {
            "ruleId": of_subject[subject],
            "kind": "open",
            "level": "none",
            "message": {"text": f"not judged: {subject} ({reason})"},
            "locations": [_location(diagnosis.function.root, diagnosis.function.name)],
        }


def _location(place: Place, function: str) -> dict[str, Any]:
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": place.file.replace("\\", "/")},
            "region": {"startLine": place.line or 1},
        },
        "logicalLocations": [{"name": function, "fullyQualifiedName": place.path or function}],
    }
