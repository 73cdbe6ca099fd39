"""What can be wrong with SnapStart and the package. A rule is pure, and yields what it finds."""

from __future__ import annotations

import re
from collections.abc import Iterator

from snapext_extension.config import DEFAULT_PORT
from snapext_tools.doctor.findings import Finding, Severity
from snapext_tools.doctor.rules_adapter import ENV_WRAPPER, READINESS_PORT, WRAPPER
from snapext_tools.doctor.settings import (
    Change,
    Function,
    ImageFile,
    Opaque,
    Place,
    Setting,
    UnreadableError,
)

OLDEST_PYTHON = 12
"""That has SnapStart as a zip."""
OLDEST_OF_EXTENSION = 11
"""That the extension runs on, in an image."""
MOST_EPHEMERAL_MB = 512
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
    if isinstance(facts.published, Opaque) and facts.kind == "aws":
        raise UnreadableError("this is $LATEST; ask again with --qualifier and the alias or version that is called")
    if isinstance(facts.published, Opaque):
        raise UnreadableError(f"it depends on {facts.published.text}, and {function.source} does not give its value")
    if not facts.published:
        if facts.kind == "terraform":
            change = Change("add", function.root, "publish = true")
            wrong = "publish is not true: no version is published"
            yield Finding(Severity.ERROR, wrong, "$LATEST is never restored from a snapshot: no hook runs", change)
            return
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
    """As a zip, Lambda has SnapStart for Java 11, Python 3.12, .NET 8 and later versions of these."""
    facts = function.beyond_variables()
    if facts.image or facts.runtime is None:
        return
    value = function.read("Runtime", facts.runtime)
    refusal = without_snap_start(value)
    if refusal and asks_for_snap_start(function):
        yield Finding(
            Severity.ERROR,
            f"Runtime is {value}",
            f"{refusal}, and refuses SnapStart for this runtime",
            function.set(("Runtime",), f"python3.{OLDEST_PYTHON}")
            if value.startswith("python")
            else function.set(("PackageType",), "Image"),
        )


def without_snap_start(value: str) -> str:
    """Why Lambda has no SnapStart for a zip with this runtime; empty when it has.

    Source: docs.aws.amazon.com/lambda/latest/dg/snapstart.html.
    """
    found = re.fullmatch(r"(python|java|dotnet|nodejs|ruby|provided|go)(\d*)(?:\.(\w+))?", value)
    if found is None:
        return ""
    family, major = found[1], int(found[2] or 0)
    minor = int(found[3]) if (found[3] or "").isdigit() else 0
    if family == "python":
        return f"Lambda has SnapStart for Python 3.{OLDEST_PYTHON} and later" if (major, minor) < (3, 12) else ""
    if family == "java":
        return "Lambda has SnapStart for Java 11 and later" if major < 11 else ""
    if family == "dotnet":
        return "Lambda has SnapStart for .NET 8 and later" if major < 8 else ""
    return "as a zip Lambda has SnapStart for Java, Python and .NET only; as a container image also for this language"


def asks_for_snap_start(function: Function) -> bool:
    """Whether SnapStart is on, or snapext is attached and it has to be."""
    return function.beyond_variables().snap_start == PUBLISHED or is_attached(function)


def asks_by_itself(function: Function) -> bool:
    """Whether the function's own setting turns SnapStart on."""
    return function.facts is not None and function.facts.snap_start == PUBLISHED


def is_attached(function: Function) -> bool:
    """Whether any of the function's settings is about snapext: a layer, a variable, the wrapper, or its image.

    An image has no layers, and its template no wrapper: what is there of snapext may be the gate's port alone.
    """
    layers = function.facts.layers if function.facts is not None else ()
    image = function.facts.image_file if function.facts is not None else None
    return (
        function.variables.get(ENV_WRAPPER) == WRAPPER
        or any(name.startswith("SNAPEXT_") for name in function.variables)
        or any(mentions_snapext(layer) for layer in layers)
        or (isinstance(image, ImageFile) and (image.overlay or image.linked or _asks_the_gate(function)))
    )


def _asks_the_gate(function: Function) -> bool:
    return function.variables.get(READINESS_PORT[0]) == str(DEFAULT_PORT)


def launcher(function: Function) -> Iterator[Finding]:
    """The extension is a Python program: Lambda's other managed runtimes have no Python."""
    facts = function.beyond_variables()
    if isinstance(facts.image_file, ImageFile):
        yield from _old_python(facts.image_file)
    if facts.image or facts.runtime is None:
        return
    value = function.read("Runtime", facts.runtime)
    if not value.startswith("python"):
        yield Finding(
            Severity.ERROR,
            f"Runtime is {value}, which has no Python",
            "snapext's extension needs Python 3.11 to 3.14 beside the function: it ends at once, and each environment "
            "fails; put Python on PATH with another layer, or use a container image that has it",
            function.set(("PackageType",), "Image"),
        )


def _old_python(image: ImageFile) -> Iterator[Finding]:
    found = re.search(r"(?:^|/)python:((\d+)\.(\d+))(?![\d])", image.base)
    if found is not None and (int(found[2]), int(found[3])) < (3, OLDEST_OF_EXTENSION):
        base = f"{image.base[: found.start(1)]}3.{OLDEST_PYTHON}{image.base[found.end(1) :].partition('@')[0]}"
        base = re.sub(rf"(3\.{OLDEST_PYTHON})\.\d+", r"\1", base)
        yield Finding(
            Severity.ERROR,
            f"the image's Python is {found[1]}",
            f"snapext needs Python 3.{OLDEST_OF_EXTENSION} to 3.14: its extension does not start, and each environment "
            "fails",
            Change("change", image.base_place or image.place, f"FROM {base}"),
        )


def file_system(function: Function) -> Iterator[Finding]:
    """SnapStart excludes EFS."""
    facts = function.beyond_variables()
    if facts.file_system and asks_for_snap_start(function):
        yield _refused(f"{facts.file_system} is set", "a file system (EFS)", function, facts.file_system)


def ephemeral_storage(function: Function) -> Iterator[Finding]:
    """SnapStart excludes more than 512 MB of /tmp."""
    facts = function.beyond_variables()
    if facts.ephemeral_mb is None or not asks_for_snap_start(function):
        return
    size = function.read("EphemeralStorage.Size", facts.ephemeral_mb)
    if size.isascii() and size.isdigit() and int(size) > MOST_EPHEMERAL_MB:
        yield Finding(
            Severity.ERROR,
            f"EphemeralStorage.Size is {size} MB",
            f"Lambda refuses SnapStart with more than {MOST_EPHEMERAL_MB} MB of /tmp",
            function.set(("EphemeralStorage", "Size"), str(MOST_EPHEMERAL_MB)),
        )


def provisioned_concurrency(function: Function) -> Iterator[Finding]:
    """SnapStart excludes provisioned concurrency."""
    facts = function.beyond_variables()
    if facts.provisioned and asks_for_snap_start(function):
        yield _refused(f"{facts.provisioned} is set", "provisioned concurrency", function, facts.provisioned)


def _refused(wrong: str, what: str, function: Function, line: str) -> Finding:
    place = Place(function.root.file, line, None) if "." in line else function.places.get((line,), function.root)
    return Finding(Severity.ERROR, wrong, f"Lambda refuses SnapStart with {what}", Change("remove", place, line))


def layer(function: Function) -> Iterator[Finding]:
    """Without the layer, or an image that contains it, there is no extension."""
    facts = function.beyond_variables()
    if facts.image or any(mentions_snapext(layer) for layer in facts.layers):
        return  # rules_image judges the image
    others = [each for each in facts.layers if not _is_adapters(each)]
    for each in others:
        if not layer_name(each):
            function.read("a layer", each)
    if others:  # somebody may have published snapext's files under another name
        names = ", ".join(layer_name(each) or str(each).partition(" ")[0] for each in others)
        yield _without_layer(Severity.WARNING, f"no layer has snapext's name, unless it is in {names}", function)


def layer_missing(function: Function) -> Iterator[Finding]:
    """There is no layer, or the web adapter's alone: none that snapext could be in."""
    facts = function.beyond_variables()
    if not facts.image and all(map(_is_adapters, facts.layers)):
        which = "the web adapter's is the only layer" if facts.layers else "the function has no layer"
        yield _without_layer(Severity.ERROR, f"{which}: snapext's is missing", function)


def _without_layer(severity: Severity, wrong: str, function: Function) -> Finding:
    return Finding(
        severity,
        wrong,
        "without the layer there is no extension, and nothing answers the web adapter's readiness check",
        function.add_item(("Layers",), "<the ARN of your snapext layer version>"),
    )


def _is_adapters(layer: Setting) -> bool:
    return layer_name(layer).startswith("LambdaAdapterLayer")


def layer_name(layer: Setting) -> str:
    """A layer's name as its ARN gives it, also where only the region depends on the deployment; else an empty text."""
    found = re.search(r":layer:([\w-]+)(?=:|\s|$)", layer.words if isinstance(layer, Opaque) else layer)
    return "" if found is None else found[1]


def _ref(function: Function) -> object:
    return {"Ref": function.name} if function.syntax == "json" else Opaque(f"!Ref {function.name}")


def mentions_snapext(layer: Setting) -> bool:
    """Whether a layer is snapext's, by its name or by its resource in the template."""
    return "snapext" in (layer.words if isinstance(layer, Opaque) else layer).lower()
