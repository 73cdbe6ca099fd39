"""Attach snapext to one function of a template: what is changed, the new text, and what is left to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from snapext_extension import config
from snapext_tools.attach.needs import AttachError, Needs, needs
from snapext_tools.attach.patch import difference, patched
from snapext_tools.doctor.env_file import read_text
from snapext_tools.doctor.examine import diagnose
from snapext_tools.doctor.findings import Severity
from snapext_tools.doctor.rules_before import why_not
from snapext_tools.doctor.rules_hooks import has_hooks, takes_care_of_libraries
from snapext_tools.doctor.settings import Function
from snapext_tools.doctor.template import functions_of
from snapext_tools.doctor.tree import parse_tree

_SAID_OTHERWISE = ("image-without-snapext", "image-not-linked", "nothing-to-run")
"""Rules whose findings are lines of ours."""


@dataclass(frozen=True, slots=True)
class Attached:
    """The template with snapext attached to a function.

    patch: the lines of a unified diff, empty when nothing is missing. left: what a person has still to do, in lines.
    """

    function: str
    text: str
    patch: tuple[str, ...]
    left: tuple[str, ...]


def attach(path: Path, name: str | None, layer: str | None = None) -> Attached:
    """Work out the change; nothing is written.

    name: the function's logical id; None where only one can be meant. layer: the ARN of the layer's version; None for a
    parameter of the template. Raises AttachError, and SourceError when the template cannot be read.
    """
    text = _text(path)
    function = _choose(_functions(text, path), name, path)
    wanted = needs(function, layer)
    after = patched(text, function.name, wanted, file=str(path)) if wanted else text
    left = [*wanted.image_lines, *_left(after, path, function.name, wanted)]
    return Attached(function.name, after, tuple(difference(text, after, str(path))), tuple(left))


def _text(path: Path) -> str:
    read_text(path)  # says in one line what cannot be read
    return path.read_bytes().decode("utf-8")


def _functions(text: str, path: Path) -> list[Function]:
    tree, syntax = parse_tree(text.lstrip("\ufeff"), str(path))
    return functions_of(tree, syntax, str(path), path.parent)


def _choose(functions: Sequence[Function], name: str | None, path: Path) -> Function:
    by_name: dict[str, Function] = {}
    for function in functions:
        by_name.setdefault(function.name, function)
    if name is not None:
        if name not in by_name:
            raise AttachError(f"{path} has no function {name}: it has {', '.join(by_name)}")
        return by_name[name]
    if len(by_name) == 1:
        return next(iter(by_name.values()))
    possible = [function for function in by_name.values() if not why_not(function)]
    if len(possible) == 1:
        return possible[0]
    names = ", ".join(function.name for function in possible) or ", ".join(by_name)
    raise AttachError(f"{path} has several functions; name one: {names}")


def _left(after: str, path: Path, name: str, wanted: Needs) -> Iterator[str]:
    """What the doctor still finds in the changed template."""
    functions = [function for function in _functions(after, path) if function.name == name]
    for diagnosis in diagnose(functions, attached=True):
        for finding in diagnosis.findings:
            if finding.severity is Severity.NOTE or finding.rule in _SAID_OTHERWISE:
                continue
            change = finding.change
            yield f"{finding.severity}: {finding.wrong}: {change.verb} {change.place}: {change.in_one_line}"
    function = functions[0]
    if not has_hooks(function) and not takes_care_of_libraries(function):
        yield (
            "register hooks in the app (from snapext import register_before_snapshot, register_after_restore), or let "
            f"snapext take care of its libraries (docs/integrations.md): {config.ENV_INTEGRATIONS}=auto, or "
            "snapext.install_all() in the app"
        )
    if wanted.layer == "":
        yield "snapext layer publish --region REGION prints the command that makes the layer; deploy with its ARN"
