"""Judge one function by every rule, the most harmful first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from snapext_tools.doctor import rules_adapter as adapter
from snapext_tools.doctor import rules_own as own
from snapext_tools.doctor import rules_platform as platform
from snapext_tools.doctor.findings import Finding, Severity
from snapext_tools.doctor.settings import Function, UnreadableError


@dataclass(frozen=True, slots=True)
class Rule:
    """subject: what the rule judges, in the words of the report when the rule could not be applied."""

    subject: str
    judge: Callable[[Function], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One function's findings, errors first, and the rules that could not be applied, with the reason."""

    function: Function
    findings: tuple[Finding, ...]
    not_judged: tuple[tuple[str, str], ...]


def examine(function: Function) -> Diagnosis:
    """Judge one function by every rule."""
    findings: list[Finding] = []
    not_judged: list[tuple[str, str]] = []
    for rule in RULES:
        try:
            for finding in rule.judge(function):
                findings.append(finding)
        except UnreadableError as reason:
            not_judged.append((rule.subject, str(reason)))
    findings.sort(key=lambda finding: finding.severity is not Severity.ERROR)  # stable: the rules' order stays
    return Diagnosis(function, tuple(findings), tuple(not_judged))


def uses_snapext(function: Function) -> bool:
    """Whether any of the function's settings is about snapext: a layer, a SNAPEXT_* variable, the wrapper."""
    wrapper = function.variables.get(adapter.ENV_WRAPPER)
    layers = function.facts.layers if function.facts is not None else ()
    return (
        wrapper == adapter.WRAPPER
        or any(name.startswith("SNAPEXT_") for name in function.variables)
        or any(platform.mentions_snapext(layer) for layer in layers)
    )


RULES = (
    Rule("the readiness port", adapter.readiness_port),
    Rule("the readiness protocol", adapter.readiness_protocol),
    Rule("asynchronous init", adapter.async_init),
    Rule("the exec wrapper", adapter.exec_wrapper),
    Rule("SnapStart", platform.snap_start),
    Rule("published versions", platform.published_version),
    Rule("the runtime", platform.runtime),
    Rule("the package", platform.bundled_module),
    Rule("the web adapter's hook paths", adapter.hook_paths),
    Rule("the readiness timeout", adapter.readiness_timeout),
    Rule("the caller of restore/next", adapter.restore_caller),
    Rule("a checkpoint beside the web adapter", adapter.checkpoint_beside_adapter),
    Rule("the app's port", adapter.port_clash),
    Rule("snapext's settings", own.refused_settings),
    Rule("the signals", own.shared_signals),
    Rule("the names of snapext's settings", own.misspelt_settings),
    Rule("the layer", platform.layer),
)
