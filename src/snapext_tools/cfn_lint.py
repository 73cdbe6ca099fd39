"""The doctor's rules for cfn-lint: `cfn-lint --append-rules snapext_tools.cfn_lint template.yaml`.

cfn-lint looks for the classes of this module; there is one for each rule, named in docs/doctor.md. The doctor itself
reads the file that cfn-lint checks: SAM's Globals and aliases, `!If` and `Fn::ForEach` are resolved, places are lines
of that file, and the verdict is the one of `snapext doctor`. A template without a file is judged as cfn-lint
transforms it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cfnlint.rules import CloudFormationLintRule, RuleMatch  # type: ignore[import-untyped]

from snapext_tools.doctor.examine import RULES, Diagnosis, diagnose
from snapext_tools.doctor.findings import Finding, Severity
from snapext_tools.doctor.settings import Place, SourceError
from snapext_tools.doctor.template import functions_of, read_template
from snapext_tools.doctor.tree import parse_tree

NOT_JUDGED = 9599
"""The number of the informational rule that names what could not be judged (cfn-lint -c I)."""
_LETTERS = {Severity.ERROR: "E", Severity.WARNING: "W", Severity.NOTE: "I"}
_SOURCE = "https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html"


def _diagnoses(template: Any) -> list[Diagnosis]:
    """Of a template of cfn-lint, once: each of its rules asks."""
    found: list[Diagnosis] | None = getattr(template, "_snapext_diagnoses", None)
    if found is None:
        try:
            found = diagnose(_functions(template))
        except SourceError:
            found = []  # no function, or cfn-lint says itself that it cannot be read
        template._snapext_diagnoses = found
    return found


def _functions(template: Any) -> list[Any]:
    if template.filename and Path(template.filename).is_file():
        return read_template(Path(template.filename))
    tree, syntax = parse_tree(json.dumps(template.template, default=str), "the template")
    return functions_of(tree, syntax, "the template", Path())


def _match(place: Place, function: str, message: str) -> RuleMatch:
    line = (place.line or 1) - 1
    return RuleMatch(["Resources", function], message, location=(line, 0, line, 1))


def _text(finding: Finding) -> str:
    change = finding.change
    return f"{finding.wrong_when}: {finding.harm}; {change.verb}: {change.in_one_line}"


def _place(finding: Finding, diagnosis: Diagnosis) -> Place:
    """cfn-lint shows lines of the template: a finding in a script is shown at the function."""
    here = diagnosis.function.root
    return finding.change.place if finding.change.place.file == here.file else here


def _found_by(name: str) -> Any:
    def match(_rule: Any, cfn: Any) -> Iterable[RuleMatch]:
        return [
            _match(_place(finding, diagnosis), diagnosis.function.name, _text(finding))
            for diagnosis in _diagnoses(cfn)
            for finding in diagnosis.findings
            if finding.rule == name
        ]

    return match


def _not_judged(_rule: Any, cfn: Any) -> Iterable[RuleMatch]:
    return [
        _match(diagnosis.function.root, diagnosis.function.name, f"not judged: {subject} ({reason})")
        for diagnosis in _diagnoses(cfn)
        for subject, reason in diagnosis.not_judged
    ]


def _class(id_: str, name: str, subject: str, match: Any) -> type:
    described = f"snapext doctor: {subject}"
    fields = {
        "id": id_,
        "shortdesc": f"snapext: {name}",
        "description": described,
        "source_url": _SOURCE,
        "tags": ["snapext", "lambda"],
        "match": match,
        "__module__": __name__,
    }
    return type(f"Snapext{id_}", (CloudFormationLintRule,), fields)


for _rule in RULES:
    _id = f"{_LETTERS[_rule.severity]}{_rule.number}"
    globals()[f"Snapext{_id}"] = _class(_id, _rule.id, _rule.subject, _found_by(_rule.id))
globals()[f"SnapextI{NOT_JUDGED}"] = _class(f"I{NOT_JUDGED}", "not-judged", "what could not be judged", _not_judged)
