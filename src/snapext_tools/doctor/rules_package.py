"""What can be wrong with the modules in a function's package. A rule is pure, and yields what it finds."""

from __future__ import annotations

from collections.abc import Iterator

from snapext_tools.doctor.findings import Finding, Severity
from snapext_tools.doctor.settings import Bundled, Change, Function, UnreadableError


def bundled_module(function: Function) -> Iterator[Finding]:
    """The package does not need AWS's hook module."""
    package = function.beyond_variables().package
    if isinstance(package, str):
        raise UnreadableError(package)
    if isinstance(package, Bundled):
        yield Finding(
            Severity.WARNING,
            "snapshot_restore_py is in the package",
            "it works, but is not needed: snapext shares its registry where it is present (harmless at 1.0.0), and "
            "provides the name where it is absent",
            Change("remove", package.place, package.line),
        )


def foreign_snapext(function: Function) -> Iterator[Finding]:
    """Another project of the name snapext would hide ours, whose distribution is lambda-snapext."""
    facts = function.facts
    if facts is None or facts.foreign is None:
        return  # a package that cannot be read is named by `bundled_module`
    place, line = facts.foreign.place, facts.foreign.line
    named = place.line is not None
    has_it = "the image has it with `snapext layer install`" if facts.image else "the layer has it"
    where = str(place) if named else f"{line} in the code"
    yield Finding(
        Severity.ERROR,
        f"{where} {'names snapext' if named else 'is a package snapext'}, another project: "
        + (f"name lambda-snapext, or nothing ({has_it})" if named else f"leave it out ({has_it})"),
        "it is imported in place of ours: an import of a hook function fails, or no hook is ever called",
        Change("change", place, "lambda-snapext") if named else Change("remove", place, line),
    )
