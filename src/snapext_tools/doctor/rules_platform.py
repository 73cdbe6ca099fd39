"""What can be wrong with SnapStart and the package. A rule is pure, and yields what it finds."""

from __future__ import annotations

import re
from collections.abc import Iterator

from snapext_tools.doctor.findings import Finding, Severity
from snapext_tools.doctor.settings import Bundled, Change, Function, Opaque, Setting, UnreadableError

OLDEST_PYTHON = 12
PUBLISHED = "PublishedVersions"


def snap_start(function: Function) -> Iterator[Finding]:
    """Without SnapStart there is no snapshot."""
    facts = function.beyond_variables()
    value = None if facts.snap_start is None else function.read("SnapStart.ApplyOn", facts.snap_start)
    if value != PUBLISHED:
        yield Finding(
            Severity.ERROR,
            "SnapStart is off" if value is None else f"SnapStart.ApplyOn is {value!r}",
            "no snapshot is taken and nothing is restored: no hook runs",
            function.set(("SnapStart", "ApplyOn"), PUBLISHED),
        )


def published_version(function: Function) -> Iterator[Finding]:
    """SnapStart is for published versions: $LATEST never has a snapshot."""
    facts = function.beyond_variables()
    if isinstance(facts.published, Opaque):
        raise UnreadableError(f"it depends on {facts.published.text}, and {function.source} does not give its value")
    if not facts.published:
        version = {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": _ref(function)}}
        yield Finding(
            Severity.ERROR,
            "the template publishes no version: "
            + ("no AutoPublishAlias" if facts.serverless else "no AWS::Lambda::Version of this function"),
            "$LATEST is never restored from a snapshot: no hook runs, unless something else publishes versions",
            function.set(("AutoPublishAlias",), "live")
            if facts.serverless
            else function.add_resource(f"{function.name}Version", version),
        )


def runtime(function: Function) -> Iterator[Finding]:
    """SnapStart needs Python 3.12 or later."""
    facts = function.beyond_variables()
    if facts.image or facts.runtime is None:
        return
    value = function.read("Runtime", facts.runtime)
    version = re.fullmatch(r"python(\d+)\.(\d+)", value)
    if version and (int(version[1]), int(version[2])) < (3, OLDEST_PYTHON):
        yield Finding(
            Severity.ERROR,
            f"Runtime is {value}",
            f"Lambda has SnapStart for Python 3.{OLDEST_PYTHON} and later, and refuses it for this runtime",
            function.set(("Runtime",), f"python3.{OLDEST_PYTHON}"),
        )


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


def layer(function: Function) -> Iterator[Finding]:
    """Without the layer, or an image that contains it, there is no extension."""
    facts = function.beyond_variables()
    if facts.image or any(mentions_snapext(layer) for layer in facts.layers):
        return
    for each in facts.layers:
        function.read("a layer", each)
    yield Finding(
        Severity.WARNING,
        "no layer has snapext's name",
        "without the layer there is no extension, and nothing answers the web adapter's readiness check",
        function.add_item(("Layers",), "<the ARN of your snapext layer version>"),
    )


def _ref(function: Function) -> object:
    return {"Ref": function.name} if function.syntax == "json" else Opaque(f"!Ref {function.name}")


def mentions_snapext(layer: Setting) -> bool:
    """Whether a layer is snapext's, by its name or by its resource in the template."""
    return "snapext" in (layer.words if isinstance(layer, Opaque) else layer).lower()
