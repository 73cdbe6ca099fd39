"""Change a template's text: the settings of one function, with every comment and the order of the rest kept."""

from __future__ import annotations

import difflib
import io
import json
import re
from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.error import YAMLError

from snapext_tools.attach.merge import above_comments, onto
from snapext_tools.attach.needs import LAYER_PARAMETER, AttachError, Needs

_DESCRIPTION = "arn:aws:lambda:REGION:ACCOUNT:layer:snapext:NN, of snapext layer publish"


def patched(text: str, name: str, wanted: Needs, *, file: str) -> str:
    """The template's text with these settings of the function `name`.

    file: the name for messages. Raises AttachError when a part is there in a form that cannot be added to, such as !If.
    """
    return _json(text, name, wanted, file) if text.lstrip().startswith("{") else _yaml(text, name, wanted, file)


def difference(before: str, after: str, file: str) -> list[str]:
    """The patch as lines of a unified diff, as `patch -p0` takes it."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), file, file, lineterm="")
    return list(lines)


def _yaml(text: str, name: str, wanted: Needs, file: str) -> str:
    try:
        document = _load(text)
        plain = _dump(document, text)
        _change(document, name, wanted, file, is_yaml=True)
        after = onto(text, plain, _dump(document, text))
    except YAMLError as error:
        raise AttachError(f"{file} cannot be changed: {str(error).partition(chr(10))[0]}") from error
    if "\n\nResources:" in text:  # sections that are set apart stay so
        after = re.sub(r"(?<=[^\n]\n)(?=(?:Resources|Parameters):)", "\n", after)
    return above_comments(text, after)


def _json(text: str, name: str, wanted: Needs, file: str) -> str:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise AttachError(f"{file} is not JSON: {error}") from error
    found = re.search(r"\n([ \t]+)\S", text)
    indent = found[1] if found else None
    plain = json.dumps(document, indent=indent, ensure_ascii=False)
    _change(document, name, wanted, file, is_yaml=False)
    return onto(text, plain, json.dumps(document, indent=indent, ensure_ascii=False))


def _change(document: Any, name: str, wanted: Needs, file: str, *, is_yaml: bool) -> None:
    resource = _mapping(document, ("Resources", name), file)
    properties = _mapping(resource, ("Properties",), f"{file}: {name}")
    where = f"{file}: {name}.Properties"
    if wanted.layer is not None:
        layers = properties.get("Layers")
        if layers is None:
            layers = CommentedSeq() if is_yaml else []
            _put(properties, "Layers", layers)
        if not isinstance(layers, MutableSequence) or _is_function(layers):
            raise AttachError(f"{where}.Layers is not a plain list: add snapext's layer there by hand")
        item = wanted.layer or _reference(LAYER_PARAMETER, is_yaml=is_yaml)
        layers.insert(max(0, len(layers) - 1), item)  # before the last: what follows that belongs to it
        if not wanted.layer:
            parameters = _section(document, "Parameters", before="Resources")
            if LAYER_PARAMETER not in parameters:
                _put(parameters, LAYER_PARAMETER, {"Type": "String", "Description": _DESCRIPTION})
    for variable, value in wanted.variables.items():
        _put(_mapping(properties, ("Environment", "Variables"), where), variable, _text(value, is_yaml=is_yaml))
    for path, value in wanted.properties.items():
        _put(_mapping(properties, path[:-1], where), path[-1], value)
    if wanted.version:
        resources = document["Resources"]
        version, alias = f"{name}Version", f"{name}Alias"
        reference = _reference(name, is_yaml=is_yaml)
        _put(resources, version, {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": reference}})
        of_version = _attribute(version, "Version", is_yaml=is_yaml)
        settings = {"Name": "live", "FunctionName": _reference(name, is_yaml=is_yaml), "FunctionVersion": of_version}
        _put(resources, alias, {"Type": "AWS::Lambda::Alias", "Properties": settings})


def _mapping(parent: Any, path: tuple[str, ...], where: str) -> MutableMapping[str, Any]:
    """The mapping at a path, made where it is absent."""
    for key in path:
        below = parent.get(key)
        if below is None:
            below = CommentedMap() if isinstance(parent, CommentedMap) else {}
            _put(parent, key, below)
        if not isinstance(below, MutableMapping) or _is_function(below):
            raise AttachError(f"{where}.{key} is computed (!If or the like): add the lines there by hand")
        parent = below
    found: MutableMapping[str, Any] = parent
    return found


def _is_function(value: Mapping[str, Any] | MutableSequence[Any]) -> bool:
    tag = str(getattr(getattr(value, "tag", None), "value", None) or "")
    return tag.startswith("!") or any(str(key).startswith("Fn::") for key in value if isinstance(value, Mapping))


def _put(mapping: MutableMapping[str, Any], key: str, value: Any) -> None:
    """Set a value in place; a new one comes before the last, since what follows the last line belongs to that."""
    if key not in mapping and isinstance(mapping, CommentedMap) and mapping:
        mapping.insert(len(mapping) - 1, key, value)
    else:
        mapping[key] = value


def _section(document: Any, key: str, *, before: str) -> MutableMapping[str, Any]:
    """A top-level section, made before another one where it is absent."""
    if key not in document:
        if isinstance(document, CommentedMap):
            document.insert(list(document).index(before), key, CommentedMap())
        else:
            items = list(document.items())
            document.clear()
            for name, value in items:
                if name == before:
                    document[key] = {}
                document[name] = value
    section: MutableMapping[str, Any] = document[key]
    return section


def _text(value: str, *, is_yaml: bool) -> Any:
    """A string that YAML would read as a number or a boolean keeps its quotes."""
    if is_yaml and re.fullmatch(r"[\d.]+|true|false", value):
        from ruamel.yaml.scalarstring import DoubleQuotedScalarString

        return DoubleQuotedScalarString(value)
    return value


def _reference(name: str, *, is_yaml: bool) -> Any:
    return _tagged("!Ref", name) if is_yaml else {"Ref": name}


def _attribute(name: str, attribute: str, *, is_yaml: bool) -> Any:
    return _tagged("!GetAtt", f"{name}.{attribute}") if is_yaml else {"Fn::GetAtt": [name, attribute]}


def _tagged(tag: str, value: str) -> Any:
    return TaggedScalar(value, tag=tag)


def _parser(text: str = "") -> YAML:
    """A parser that writes what it has read, with the indents of the text."""
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 1 << 16
    nested = re.search(r"^\S[^\n]*:[^\n]*\n(?:[ \t]*(?:#[^\n]*)?\n)*( +)[^\s#-]", text, re.MULTILINE)
    mapping = len(nested[1]) if nested else 2
    dashes = [len(dash) - len(key) for key, dash in _lists(text)]
    offset = max(set(dashes), key=dashes.count) if dashes else mapping
    yaml.indent(mapping=mapping, sequence=offset + 2, offset=offset)
    return yaml


def _lists(text: str) -> Iterator[tuple[str, str]]:
    yield from re.findall(r"^( *)[\w:]+: *(?:#[^\n]*)?\n( *)- ", text, re.MULTILINE)


def _load(text: str) -> Any:
    document = _parser().load(text)
    if not isinstance(document, CommentedMap):
        raise AttachError("it is not a template")
    return document


def _dump(document: Any, text: str) -> str:
    stream = io.StringIO()
    _parser(text).dump(document, stream)
    return stream.getvalue()
