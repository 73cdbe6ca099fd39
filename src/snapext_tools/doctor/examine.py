"""Judge functions by every rule, the most harmful first."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from snapext_tools.doctor import rules_adapter as adapter
from snapext_tools.doctor import rules_before as before
from snapext_tools.doctor import rules_hooks as hooks
from snapext_tools.doctor import rules_image as image
from snapext_tools.doctor import rules_own as own
from snapext_tools.doctor import rules_package as package
from snapext_tools.doctor import rules_platform as platform
from snapext_tools.doctor import rules_release as release
from snapext_tools.doctor import rules_script as script
from snapext_tools.doctor import rules_start as starting
from snapext_tools.doctor.findings import Finding, Severity
from snapext_tools.doctor.settings import Function, UnreadableError

_ORDER = list(Severity)
_OF_SNAPSTART = ("snapstart-off", "no-published-version")
ATTACHED, BEFORE, ALWAYS = "attached", "before", "always"
_WHEN_OFF = (
    *("mode-off", "no-python", "native-handler", "image-without-snapext", "image-without-label", "no-layer"),
    *("layer-missing", "unknown-setting"),
)
"""What still matters where snapext is off, besides the rules for all functions: the extension runs, with its gate."""


@dataclass(frozen=True, slots=True)
class Rule:
    """id, number: stable names of the rule; cfn-lint's id is the severity's letter and the number.

    severity: of everything that it finds. subject: what it judges, in the words of the report when it could not be
    applied. applies: to functions that snapext is attached to, to those it is not attached to yet, or to all.
    """

    id: str
    number: int
    severity: Severity
    subject: str
    judge: Callable[[Function], Iterator[Finding]]
    applies: str = ATTACHED


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One function's findings, errors first, and the rules that could not be applied, with the reason.

    attached: whether its settings are about snapext. notes: how the server starts, and what was assumed.
    """

    function: Function
    findings: tuple[Finding, ...]
    not_judged: tuple[tuple[str, str], ...]
    attached: bool = True
    notes: tuple[str, ...] = ()


def examine(function: Function, *, attached: bool = True) -> Diagnosis:
    """Judge one function by every rule that applies."""
    findings: list[Finding] = []
    not_judged: list[tuple[str, str]] = []
    is_off = own.is_off(function)
    for rule in RULES:
        applies = rule.id in _WHEN_OFF if is_off else rule.applies == (ATTACHED if attached else BEFORE)
        if not applies and rule.applies != ALWAYS:
            continue
        try:
            for finding in rule.judge(function):
                findings.append(replace(finding, rule=rule.id))
        except UnreadableError as reason:
            if (rule.subject, str(reason)) not in not_judged:
                not_judged.append((rule.subject, str(reason)))
    findings.sort(key=lambda finding: _ORDER.index(finding.severity))  # stable: the rules' order stays
    return Diagnosis(function, tuple(findings), tuple(not_judged), attached, tuple(_notes(function)))


def diagnose(functions: Iterable[Function], *, attached: bool | None = None) -> list[Diagnosis]:
    """One diagnosis per function: what is found under some of a template's conditions only says under which.

    attached: whether to judge them as functions that snapext is attached to; None: as their settings say.
    """
    found = []
    for _, group in itertools.groupby(functions, key=lambda function: (function.root.file, function.name)):
        variants = list(group)
        is_attached = any(map(uses_snapext, variants)) if attached is None else attached
        found.append(_together([examine(each, attached=is_attached) for each in variants]))
    return found


def uses_snapext(function: Function) -> bool:
    """Whether any of the function's settings is about snapext: a layer, a variable, the wrapper, or its image."""
    return platform.is_attached(function)


def _together(variants: Sequence[Diagnosis]) -> Diagnosis:
    if len(variants) == 1:
        return variants[0]
    where: dict[Finding, list[int]] = {}
    unread: dict[tuple[str, str], list[int]] = {}
    for number, variant in enumerate(variants):
        for finding in variant.findings:
            where.setdefault(finding, []).append(number)
        for each in variant.not_judged:
            unread.setdefault(each, []).append(number)
    scenarios = [variant.function.scenario for variant in variants]
    off = [number for number, variant in enumerate(variants) if not platform.asks_by_itself(variant.function)]
    notes = dict.fromkeys(note for variant in variants for note in variant.notes)
    findings = []
    for finding, numbers in where.items():
        if finding.rule in _OF_SNAPSTART and len(off) < len(variants) and set(numbers) <= set(off):
            # A condition of the template turns it off: that is meant, and not wrong.
            notes[f"SnapStart is off when {_when(scenarios, off)}: no hook runs there"] = None
        else:
            findings.append(replace(finding, when=_when(scenarios, numbers)))
    findings.sort(key=lambda finding: _ORDER.index(finding.severity))
    return Diagnosis(variants[0].function, tuple(findings), tuple(unread), variants[0].attached, tuple(notes))


def _when(scenarios: Sequence[Mapping[str, bool]], numbers: Sequence[int]) -> str:
    """The condition that picks exactly these scenarios, or the first of them in full; empty when all are picked."""
    if len(numbers) == len(scenarios):
        return ""
    for name in scenarios[0]:
        for wanted in (True, False):
            if [n for n, each in enumerate(scenarios) if each[name] is wanted] == list(numbers):
                return f"{name} is {str(wanted).lower()}"
    return ", ".join(f"{name} is {str(value).lower()}" for name, value in scenarios[numbers[0]].items())


def _notes(function: Function) -> Iterator[str]:
    start = None if function.facts is None else function.facts.start
    if start is not None:
        workers = "" if start.workers is None else f" with {start.workers} worker{'s' * (start.workers != 1)}"
        port = "" if start.port is None else f" on port {start.port}"
        yield f"{start.place} starts {start.server}{workers}{port}"
    if function.assumed:
        values = ", ".join(f"{name}={value}" for name, value in function.assumed.items())
        yield f"judged with the defaults of the template's parameters: {values}"
    yield from function.notes


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
RULES = (
    Rule("readiness-port", 9501, _E, "the readiness port", adapter.readiness_port),
    Rule("readiness-protocol", 9502, _E, "the readiness protocol", adapter.readiness_protocol),
    Rule("async-init", 9503, _E, "asynchronous init", adapter.async_init),
    Rule("exec-wrapper", 9504, _E, "the exec wrapper", adapter.exec_wrapper),
    Rule("snapstart-off", 9505, _E, "SnapStart", platform.snap_start),
    Rule("no-published-version", 9506, _E, "published versions", platform.published_version),
    Rule("runtime-without-snapstart", 9507, _E, "the runtime", platform.runtime, ALWAYS),
    Rule("no-python", 9518, _E, "the runtime", platform.launcher),
    Rule("file-system", 9519, _E, "SnapStart's limits", platform.file_system, ALWAYS),
    Rule("ephemeral-storage", 9520, _E, "SnapStart's limits", platform.ephemeral_storage, ALWAYS),
    Rule("provisioned-concurrency", 9521, _E, "SnapStart's limits", platform.provisioned_concurrency, ALWAYS),
    Rule("native-handler", 9523, _E, "the handler script", script.native_handler),
    Rule("handler-missing", 9524, _E, "the handler script", script.handler_missing, ALWAYS),
    Rule("handler-not-executable", 9525, _E, "the handler script", script.handler_mode, ALWAYS),
    Rule("handler-line-ends", 9526, _E, "the handler script", script.handler_line_ends, ALWAYS),
    Rule("adapter-processor", 9527, _E, "the web adapter's processor", image.adapter_processor, ALWAYS),
    Rule("layer-missing", 9543, _E, "the layer", platform.layer_missing),
    Rule("old-adapter", 9542, _E, "the web adapter's release", release.old_adapter),
    Rule("image-without-snapext", 9528, _E, "the image", image.image_overlay),
    Rule("image-not-linked", 9529, _E, "the image", image.image_links),
    Rule("unlinked-start", 9530, _E, "the start command", starting.unlinked_start),
    Rule("app-port", 9531, _E, "the start command", starting.app_port, ALWAYS),
    Rule("fewer-workers-than-set", 9532, _E, "the start command", starting.too_few_started),
    Rule("foreign-snapext", 9544, _E, "the package", package.foreign_snapext, ALWAYS),
    Rule("bundled-hook-module", 9508, _W, "the package", package.bundled_module),
    Rule("adapter-hook-paths", 9509, _W, "the web adapter's hook paths", adapter.hook_paths),
    Rule("readiness-timeout", 9510, _E, "the readiness timeout", adapter.readiness_timeout),
    Rule("restore-caller", 9511, _W, "the caller of restore/next", adapter.restore_caller),
    Rule(
        "checkpoint-beside-adapter", 9512, _W, "a checkpoint beside the web adapter", adapter.checkpoint_beside_adapter
    ),
    Rule("port-clash", 9513, _E, "the app's port", adapter.port_clash),
    Rule("refused-setting", 9514, _E, "snapext's settings", own.refused_settings),
    Rule("shared-signals", 9515, _W, "the signals", own.shared_signals),
    Rule("unknown-setting", 9516, _W, "the names of snapext's settings", own.misspelt_settings),
    Rule("no-layer", 9517, _W, "the layer", platform.layer),
    Rule("nothing-to-run", 9539, _W, "hooks in the app's code", hooks.nothing_to_run),
    Rule("no-adapter", 9533, _W, "the web adapter", image.no_adapter),
    Rule("handler-shebang", 9534, _W, "the handler script", script.handler_shebang, ALWAYS),
    Rule("replaced-pythonpath", 9535, _W, "the start command", starting.replaced_path),
    Rule("more-workers-than-set", 9536, _W, "the start command", starting.too_many_started),
    Rule("mode-off", 9538, _W, "the mode", own.mode_off),
    Rule("image-without-label", 9537, _E, "the image", before.image_label, BEFORE),
    Rule("hooks-are-lost", 9540, _W, "what SnapStart loses", before.loses, BEFORE),
    Rule("not-attached", 9541, _N, "what SnapStart would lose", before.would_lose, BEFORE),
)
"""In the order of their harm. A rule keeps its id and its number for ever: people name them to leave a rule out."""
