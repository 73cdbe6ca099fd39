"""The functions of a SAM or CloudFormation template."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from snapext_tools.doctor.package import look_into
from snapext_tools.doctor.settings import VARIABLES, Facts, Function, Opaque, Place, Setting, SourceError
from snapext_tools.doctor.tree import Item, merge, read_tree, words

SERVERLESS, LAMBDA, VERSION = "AWS::Serverless::Function", "AWS::Lambda::Function", "AWS::Lambda::Version"


def read_template(path: Path) -> list[Function]:
    """Every function in the file, in its order.

    Raises:
        SourceError: the file cannot be read, is not a template, or has no function.
    """
    template, syntax = read_tree(path)
    resources = template.children("Resources")
    if not resources:
        raise SourceError(f"{path} is not a SAM or CloudFormation template: it has no Resources")
    functions = [
        _function(path, syntax, template, name)
        for name, item in resources.items()
        if _type(item) in (SERVERLESS, LAMBDA)
    ]
    if not functions:
        raise SourceError(f"{path} has no function: neither {SERVERLESS} nor {LAMBDA}")
    return functions


def _function(path: Path, syntax: str, template: Item, name: str) -> Function:
    resource = template.children("Resources")[name]
    own = resource.child("Properties") or Item({}, f"{resource.path}.Properties", resource.line)
    serverless = _type(resource) == SERVERLESS
    general = template.child("Globals", "Function") if serverless else None
    properties = merge(general, own) if general is not None else own
    image = _scalar(properties.child("PackageType")) == "Image" or properties.child("ImageUri") is not None
    return Function(
        name,
        "the template",
        {key: _setting(item) for key, item in properties.children(*VARIABLES).items() if not key.startswith("Fn::")},
        Place(str(path), own.path, own.line),
        syntax,
        _facts(path, template, name, properties, serverless=serverless, image=image),
        _elsewhere(properties, image=image),
        dict(_places(str(path), properties)),
    )


def _facts(path: Path, template: Item, name: str, properties: Item, *, serverless: bool, image: bool) -> Facts:
    code = properties.child("CodeUri" if serverless else "Code")
    return Facts(
        serverless=serverless,
        image=image,
        runtime=_scalar(properties.child("Runtime")),
        snap_start=_scalar(properties.child("SnapStart", "ApplyOn")),
        published=_published(template, name, properties, serverless=serverless),
        layers=tuple(_layers(template, properties)),
        package="the code is in an image" if image else look_into(path.parent, _scalar(code)),
    )


def _elsewhere(properties: Item, *, image: bool) -> str:
    """Why a variable that is not listed may still be set."""
    variables = properties.child(*VARIABLES)
    if variables is not None and isinstance(variables.value, Opaque):
        return f"is in {variables.value.text}, and the template does not give its value"
    if any(key.startswith("Fn::") for key in properties.children(*VARIABLES)):
        return "may come from a macro among the variables, and the template does not give its value"
    return "is not set in the template; the image may set it" if image else ""


def _published(template: Item, name: str, properties: Item, *, serverless: bool) -> bool | Opaque:
    """Whether the template publishes a version, by SAM's alias or by a version of this function in its resources."""
    alias = properties.child("AutoPublishAlias") if serverless else None
    if alias is not None:
        conditional = isinstance(alias.value, Opaque) and alias.value.text.startswith("!If")
        return alias.value if conditional and isinstance(alias.value, Opaque) else True
    called = _scalar(properties.child("FunctionName"))
    unclear: bool | Opaque = False
    for item in template.children("Resources").values():
        of = _scalar(item.child("Properties", "FunctionName")) if _type(item) == VERSION else None
        if isinstance(of, Opaque):
            if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", of.words):
                return True
            if not any(word in template.children("Resources") for word in re.findall(r"\w+", of.words)):
                unclear = of
        elif of is not None and of == called:
            return True
    return unclear


def _layers(template: Item, properties: Item) -> Iterator[Setting]:
    """Each layer with everything the template says about it: a layer of the template has a resource."""
    layers = properties.child("Layers")
    if layers is None:
        return
    for item in layers.value if isinstance(layers.value, list) else [layers]:
        setting = _setting(item)
        if isinstance(setting, Opaque):
            referred = template.children("Resources").get(setting.words.partition(".")[0])
            yield setting if referred is None else f"{setting.words} {words(referred)}"
        else:
            yield setting


def _places(file: str, item: Item, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Place]]:
    yield path, Place(file, item.path, item.line)
    if isinstance(item.value, dict):
        for key, below in item.value.items():
            yield from _places(file, below, (*path, key))


def _type(item: Item) -> Setting | None:
    return _scalar(item.child("Type")) if isinstance(item.value, dict) else None


def _setting(item: Item) -> Setting:
    """A scalar as it is. A list or a mapping in place of a scalar cannot be judged."""
    return item.value if isinstance(item.value, str | Opaque) else Opaque("not a single value", words(item))


def _scalar(item: Item | None) -> Setting | None:
    return None if item is None else _setting(item)
