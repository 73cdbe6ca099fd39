"""What can be wrong with the web adapter's binary, or with snapext's files in an image. A rule yields its findings."""

from __future__ import annotations

import re
from collections.abc import Iterator

from snapext_extension import config
from snapext_tools.doctor.dockerfile import ADAPTER, AUTOSTART, image_lines
from snapext_tools.doctor.findings import Finding, Severity
from snapext_tools.doctor.rules_adapter import adapter_layer, is_explicit
from snapext_tools.doctor.settings import Change, Function, ImageFile, Opaque, UnreadableError

_ARM, _X86 = "arm64", "x86_64"


def no_adapter(function: Function) -> Iterator[Finding]:
    """Without the web adapter nothing asks the gate, and nothing forwards requests to the server."""
    facts = function.beyond_variables()
    if is_explicit(function):
        return
    if facts.image:
        image = image_of(function)
        if image is None or image.adapter is not None:
            return
        if not image.trusted:
            raise UnreadableError(f"the base image {image.base} may contain the web adapter")
        yield _without_adapter(
            "the image has no web adapter",
            Change(
                "add",
                image.place,
                f"COPY --from=public.ecr.aws/awsguru/aws-lambda-adapter:1.1.0 /lambda-adapter {ADAPTER}",
            ),
        )
        return
    if adapter_layer(function) is None:
        for each in facts.layers:
            if isinstance(each, Opaque) and "layer:" not in each.words:
                function.read("a layer", each)
        letter = "Arm64" if facts.architecture == _ARM else "X86"
        yield _without_adapter(
            "no layer has the web adapter's name",
            function.add_item(("Layers",), f"<the ARN of the version of LambdaAdapterLayer{letter} that you want>"),
        )


def _without_adapter(wrong: str, change: Change) -> Finding:
    return Finding(
        Severity.WARNING,
        wrong,
        "without it nothing asks snapext's gate and nothing forwards requests to the server; a runtime of your own "
        f"runs `snapext checkpoint`, with {config.ENV_MODE}=explicit",
        change,
    )


def adapter_processor(function: Function) -> Iterator[Finding]:
    """A binary for the other processor does not start."""
    facts = function.beyond_variables()
    image = facts.image_file
    if isinstance(image, ImageFile) and image.adapter:
        found = re.search(r"-(x86_64|amd64|aarch64|arm64)$", image.adapter)
        named, place = (found[1] if found else ""), image.adapter_place or image.place
        text = image.adapter
    else:
        text = adapter_layer(function) or ""
        found = re.search(r"LambdaAdapterLayer(X86|Arm64)", text)
        named, place = (found[1] if found else ""), function.places.get(("Layers",), function.root)
    if not named:
        return
    wanted = _X86 if facts.architecture is None else function.read("Architectures", facts.architecture)
    built_for = _ARM if named in ("aarch64", "arm64", "Arm64") else _X86
    if built_for != wanted and wanted in (_ARM, _X86):
        other = text.replace("Arm64", "X86") if "Arm64" in text else text.replace("LayerX86", "LayerArm64")
        line = other if not facts.image else text[: text.rindex("-")]
        yield Finding(
            Severity.ERROR,
            f"the web adapter {text} is built for {built_for}, and the function runs on {wanted}",
            "it does not start there: each environment fails",
            Change("change", place, f"{line} (the number of its version differs)" if not facts.image else line),
        )


def image_overlay(function: Function) -> Iterator[Finding]:
    """An image has no layers: snapext's files are laid into it."""
    image = image_of(function)
    if image is None or image.overlay:
        return
    if not image.trusted:
        raise UnreadableError(f"the base image {image.base} may contain snapext")
    yield Finding(
        Severity.ERROR,
        "the image does not contain snapext",
        "an image has no layers: without /opt/extensions/snapext there is no extension, and no hook runs",
        Change("add", image.place, "\n".join(image_lines(image))),
    )


def image_links(function: Function) -> Iterator[Finding]:
    """An image has no wrapper: snapext.pth or PYTHONPATH links the processes of its Python."""
    image = image_of(function)
    if image is None or image.linked or not image.overlay:
        return
    if not image.trusted:
        raise UnreadableError(f"the base image {image.base} may link its Python")
    yield Finding(
        Severity.ERROR,
        "nothing in the image links the processes of its Python",
        "there is no snapext.pth beside its packages, and no PYTHONPATH: hooks run only if the app imports snapext",
        Change("add", image.place, f"ENV PYTHONPATH={AUTOSTART}"),
    )


def image_of(function: Function) -> ImageFile | None:
    """The Dockerfile of an image function; None for a zip. Raises UnreadableError when it cannot be read."""
    facts = function.beyond_variables()
    if isinstance(facts.image_file, str):
        raise UnreadableError(facts.image_file)
    return facts.image_file
