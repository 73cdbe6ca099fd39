"""The functions in the JSON of `terraform show -json`: of a state, or of a plan."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from snapext_tools.doctor.package import find_foreign, handler_script, look_into, open_package
from snapext_tools.doctor.settings import VARIABLES, Facts, Function, Opaque, Place, Setting, SourceError

SOURCE = "the plan or state of Terraform"
RESOURCE = "aws_lambda_function"
_PATHS = {
    ("SnapStart", "ApplyOn"): "snap_start.apply_on",
    ("Runtime",): "runtime",
    ("Layers",): "layers",
    ("AutoPublishAlias",): "publish",
}


def is_terraform(document: Mapping[str, Any]) -> bool:
    """Whether a JSON document is what `terraform show -json` prints."""
    return "format_version" in document and bool({"values", "planned_values"} & document.keys())


def terraform_functions(document: Mapping[str, Any], file: str, folder: Path) -> list[Function]:
    """Each function of all modules. folder: where relative paths start. Raises SourceError."""
    try:
        found = _functions(document, file, folder)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise SourceError(f"{file} is not what `terraform show -json` prints: it has other types than that") from None
    if not found:
        raise SourceError(f"{file} has no function: no {RESOURCE}")
    return found


def _functions(document: Mapping[str, Any], file: str, folder: Path) -> list[Function]:
    values = document.get("planned_values") or document.get("values") or {}
    unknown = {
        str(change.get("address")): (change.get("change") or {}).get("after_unknown") or {}
        for change in document.get("resource_changes") or []
    }
    resources = list(_resources(values.get("root_module") or {}))
    expressions = _expressions((document.get("configuration") or {}).get("root_module") or {})
    return [
        _function(each, unknown.get(str(each.get("address")), {}), resources, expressions, file, folder)
        for each in resources
        if each.get("type") == RESOURCE
    ]


def _resources(module: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from module.get("resources") or []
    for child in module.get("child_modules") or []:
        yield from _resources(child)


def _expressions(module: Mapping[str, Any]) -> dict[str, Any]:
    """The expressions of each resource of the root module, by its address."""
    return {str(each.get("address")): each.get("expressions") or {} for each in module.get("resources") or []}


def _function(
    resource: Mapping[str, Any],
    unknown: Mapping[str, Any],
    resources: list[Mapping[str, Any]],
    expressions: Mapping[str, Any],
    file: str,
    folder: Path,
) -> Function:
    values = resource.get("values") or {}
    address = str(resource.get("address"))
    image = values.get("package_type") == "Image"
    variables, are_later = _variables(values, unknown)
    package = "the code is in an image" if image else open_package(folder, _scalar(values.get("filename")))
    handler = _scalar(values.get("handler"))
    place = Place(file, address)
    snap = (values.get("snap_start") or [{}])[0] or {}
    return Function(
        address,
        SOURCE,
        variables,
        place,
        "hcl",
        Facts(
            serverless=False,
            kind="terraform",
            image=image,
            runtime=None if image else _scalar(values.get("runtime")),
            snap_start=_scalar(snap.get("apply_on")),
            published=bool(values.get("publish")),
            layers=tuple(_layers(values, unknown, expressions.get(address.partition("[")[0], {}))),
            package=look_into(package),
            foreign=find_foreign(package),
            architecture=_scalar((values.get("architectures") or [None])[0]),
            handler=handler,
            ephemeral_mb=_size(values),
            file_system="file_system_config" if values.get("file_system_config") else "",
            provisioned=_provisioned(resources, str(values.get("function_name"))),
            script=None if image else handler_script(package, handler, place, variables),
            image_file="the image is in a registry, not on this machine" if image else None,
            code_folder=None if isinstance(package, str) else package.path,
        ),
        "is known only after apply" if are_later else "the image may set it" if image else "",
        {
            **{(*VARIABLES, name): Place(file, f"{address}.environment.variables.{name}") for name in variables},
            **{path: Place(file, f"{address}.{name}") for path, name in _PATHS.items() if values.get(name)},
        },
    )


def _variables(values: Mapping[str, Any], unknown: Mapping[str, Any]) -> tuple[dict[str, Setting], bool]:
    """The variables, and whether even their names are known only after apply."""
    known = ((values.get("environment") or [{}])[0] or {}).get("variables") or {}
    blocks = unknown.get("environment")
    hidden = (blocks or [{}])[0] if isinstance(blocks, list) else {}
    later = hidden.get("variables") if isinstance(hidden, dict) else None
    names = dict.fromkeys([*known, *(later if isinstance(later, dict) else {})])
    found: dict[str, Setting] = {
        name: Opaque("known after apply") if known.get(name) is None else str(known[name]) for name in names
    }
    return found, later is True


def _layers(values: Mapping[str, Any], unknown: Mapping[str, Any], expression: Mapping[str, Any]) -> Iterator[Setting]:
    """The layers. What a plan does not know yet is named by the references of the configuration."""
    known = values.get("layers")
    if isinstance(known, list) and all(known) and unknown.get("layers") is not True:
        yield from map(str, known)
        return
    yield from (str(each) for each in known or [] if each)
    references = (expression.get("layers") or {}).get("references") or []
    names = [
        each
        for each in references
        if re.fullmatch(r"(?:var|aws_lambda_layer_version|module|local|data\.\w+)\.\w+", each)
    ]
    for name in names:
        yield Opaque(name, name)
    if unknown.get("layers") and not names:
        yield Opaque("known after apply")


def _size(values: Mapping[str, Any]) -> str | None:
    blocks = values.get("ephemeral_storage") or [{}]
    size = (blocks[0] or {}).get("size")
    return None if size is None else str(size)


def _provisioned(resources: list[Mapping[str, Any]], name: str) -> str:
    for each in resources:
        if each.get("type") == "aws_lambda_provisioned_concurrency_config":
            of = str((each.get("values") or {}).get("function_name"))
            if of in (name, "None") or of.endswith(f":{name}"):
                return str(each.get("address"))
    return ""


def _scalar(value: Any) -> str | None:
    """A plain value as text; of another type it is not what Terraform prints."""
    if value is None or isinstance(value, str):
        return value
    raise TypeError(value)
