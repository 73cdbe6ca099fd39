"""Functions as they are deployed: the JSON of `aws lambda get-function-configuration` and its like."""

from __future__ import annotations

from collections.abc import Iterator

from snapext_tools.doctor.settings import VARIABLES, Facts, Function, Opaque, Place, Setting, SourceError
from snapext_tools.doctor.tree import Item, places_in

SOURCE = "the function's configuration"
_CODE = "the code is in AWS, not on this machine"


def is_deployed(tree: Item) -> bool:
    """Whether a document is the answer of get-function-configuration, get-function or list-functions."""
    return bool({"FunctionName", "FunctionArn"} & tree.children().keys()) or any(
        isinstance(item.value, dict) and "FunctionArn" in item.value for item in _listed(tree)
    )


def deployed_functions(tree: Item, file: str) -> list[Function]:
    """Each function of an answer. Raises SourceError."""
    found = [_function(item, file) for item in ([tree] if "FunctionName" in tree.children() else _listed(tree))]
    if not found:
        raise SourceError(f"{file} has no function")
    return found


def _listed(tree: Item) -> list[Item]:
    several = tree.child("Functions")
    if several is not None and isinstance(several.value, list):
        return several.value
    one = tree.child("Configuration")
    return [] if one is None else [one]


def _function(item: Item, file: str) -> Function:
    name = _text(item, "FunctionName") or _text(item, "FunctionArn") or file
    image = _text(item, "PackageType") == "Image"
    variables: dict[str, Setting] = {
        key: below.value for key, below in item.children(*VARIABLES).items() if isinstance(below.value, str)
    }
    version = _text(item, "Version") or "$LATEST"
    architectures = item.child("Architectures")
    listed = architectures.value if architectures is not None and isinstance(architectures.value, list) else []
    first = next(iter(listed), None)
    systems = item.child("FileSystemConfigs")
    failed = item.child("Environment", "Error")
    return Function(
        name,
        SOURCE,
        variables,
        Place(file, item.path, item.line),
        "json",
        Facts(
            serverless=False,
            kind="aws",
            image=image,
            runtime=None if image else _text(item, "Runtime"),
            snap_start=_text(item, "SnapStart", "ApplyOn"),
            published=True if version != "$LATEST" else Opaque("which versions there are"),
            layers=tuple(_layers(item)),
            package="the code is in an image" if image else _CODE,
            architecture=first.value if isinstance(first, Item) and isinstance(first.value, str) else None,
            handler=None if image else _text(item, "Handler"),
            ephemeral_mb=_text(item, "EphemeralStorage", "Size"),
            file_system="FileSystemConfigs" if systems is not None and systems.value else "",
            script=None if image else _CODE,
            image_file="the image is in a registry, not on this machine" if image else None,
        ),
        "cannot be read: Lambda could not decrypt the variables"
        if failed is not None
        else "is not set in the configuration; the image may set it"
        if image
        else "",
        dict(places_in(item, file)),
    )


def _layers(item: Item) -> Iterator[Setting]:
    layers = item.child("Layers")
    for each in layers.value if layers is not None and isinstance(layers.value, list) else []:
        arn = each.child("Arn") if isinstance(each.value, dict) else each
        if arn is not None and isinstance(arn.value, str):
            yield arn.value


def _text(item: Item, *keys: str) -> str | None:
    found = item.child(*keys)
    return found.value if found is not None and isinstance(found.value, str) else None
