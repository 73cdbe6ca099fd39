"""A template's YAML or JSON as a tree that remembers the line of each value."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from snapext_tools.doctor.env_file import read_text
from snapext_tools.doctor.settings import Opaque, Place, SourceError

_NO_VALUE = "AWS::NoValue"
_LOGIC = ("Fn::Equals", "Fn::And", "Fn::Or", "Fn::Not", "Condition")
"""What the conditions of a template are made of: read as a mapping, since their structure is needed."""


class NotAMappingError(SourceError):
    """The text is YAML or JSON, and not a mapping."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Fn::If: one of two values, by the name of a condition; None is no value."""

    condition: str
    then: Item | None
    otherwise: Item | None


@dataclass(frozen=True, slots=True)
class Item:
    """A value, the path of its property, and its line."""

    value: str | Opaque | Choice | dict[str, Item] | list[Item]
    path: str
    line: int

    def child(self, *keys: str) -> Item | None:
        """The item below these keys; an Opaque on the way is returned in its place."""
        item: Item | None = self
        for key in keys:
            if item is None or isinstance(item.value, Opaque):
                return item
            item = item.value.get(key) if isinstance(item.value, dict) else None
        return item

    def children(self, *keys: str) -> dict[str, Item]:
        """The mapping below these keys, or an empty one."""
        item = self.child(*keys)
        return item.value if item is not None and isinstance(item.value, dict) else {}


def read_tree(path: Path) -> tuple[Item, str]:
    """Read a file of YAML or JSON as `parse_tree` does. Raises SourceError."""
    return parse_tree(read_text(path), str(path))


def parse_tree(text: str, path: str) -> tuple[Item, str]:
    """Parse YAML or JSON, and return the tree and its syntax. Values are text, as in CloudFormation.

    Raises:
        SourceError: it is neither, or not a mapping.
    """
    syntax = "json" if text.lstrip().startswith("{") and _is_json(text) else "yaml"
    if syntax == "json":
        text = text.replace("\t", " ")  # JSON allows a tab between tokens, YAML does not
    try:
        loader, node = _composed(text)
        item = _Converter(loader, node).convert(node, "") if node is not None else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SourceError(f"{path}:{line} is not YAML or JSON: {error.problem}") from error
    except yaml.YAMLError as error:
        raise SourceError(f"{path} is not YAML or JSON: {str(error).partition(chr(10))[0]}") from error
    except RecursionError as error:
        raise SourceError(f"cannot read {path}: it is nested too deep, or contains itself") from error
    if item is None or not isinstance(item.value, dict):
        raise NotAMappingError(f"{path} is not a SAM or CloudFormation template: it is not a mapping")
    return item, syntax


def _composed(text: str) -> tuple[yaml.SafeLoader | yaml.CSafeLoader, yaml.Node | None]:
    """By the parser in C where PyYAML has it, ten times as fast; what that refuses, Python's parser says more about."""
    loader: yaml.SafeLoader | yaml.CSafeLoader
    if yaml.__with_libyaml__:
        with contextlib.suppress(yaml.YAMLError):
            loader = yaml.CSafeLoader(text)
            return loader, loader.get_single_node()
    loader = yaml.SafeLoader(text)
    return loader, loader.get_single_node()


def merge(general: Item, own: Item) -> Item:
    """Merge SAM's Globals: mappings are joined, lists concatenated; of other values the function's own wins."""
    if isinstance(general.value, dict) and isinstance(own.value, dict):
        joined = {**general.value, **own.value}
        for key in general.value.keys() & own.value.keys():
            joined[key] = merge(general.value[key], own.value[key])
        return Item(joined, own.path, own.line)
    if isinstance(general.value, list) and isinstance(own.value, list):
        return Item([*general.value, *own.value], own.path, own.line)
    return own


def words(item: Item) -> str:
    """Every name and value below, to search in."""
    return " ".join(_words(item))


def _words(item: Item) -> Iterator[str]:
    if isinstance(item.value, dict):
        for key, below in item.value.items():
            yield key
            yield from _words(below)
    elif isinstance(item.value, list):
        for below in item.value:
            yield from _words(below)
    elif isinstance(item.value, Choice):
        for each in (item.value.then, item.value.otherwise):
            yield from () if each is None else _words(each)
    else:
        yield item.value.words if isinstance(item.value, Opaque) else item.value


def places_in(item: Item, file: str, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Place]]:
    """The place of each property below, by its path."""
    yield path, Place(file, item.path, item.line)
    if isinstance(item.value, dict):
        for key, below in item.value.items():
            yield from places_in(below, file, (*path, key))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


class _Converter:
    """Converts nodes to items, and a node with several references (an alias) only once.

    Fn::ForEach (AWS::LanguageExtensions) is unrolled where its collection is in the template.
    """

    def __init__(self, loader: yaml.SafeLoader | yaml.CSafeLoader, root: yaml.Node) -> None:
        self._loader = loader
        self._root = root
        self._done: dict[int, Item | None] = {}
        self._kept: list[yaml.Node] = []  # an id is only unique while its node lives

    def convert(self, node: yaml.Node, path: str) -> Item | None:
        """The item, or None for no value at all: null, or AWS::NoValue."""
        if id(node) not in self._done:
            self._done[id(node)] = self._convert(node, path)
        return self._done[id(node)]

    def _convert(self, node: yaml.Node, path: str) -> Item | None:
        line = node.start_mark.line + 1
        if not node.tag.startswith("tag:yaml.org"):
            return self._function(node.tag, node, path, line)
        if isinstance(node, yaml.MappingNode):
            self._loader.flatten_mapping(node)  # `<<: *anchor`
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            items = [self.convert(below, f"{path}[{n}]") for n, below in enumerate(node.value)]
            return Item([item for item in items if item is not None], path, line)
        if node.tag.endswith(":null"):
            return None
        return Item(self._text(node), path, line) if isinstance(node, yaml.ScalarNode) else None

    def _mapping(self, node: yaml.MappingNode, path: str) -> Item | None:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        line = node.start_mark.line + 1
        if len(names) == 1 and path.startswith("Conditions.") and names[0] in _LOGIC:
            return self._logic(names[0], node.value[0][1], path, line)
        if len(names) == 1 and (names[0] == "Ref" or _is_function(names[0])):
            return self._function("!" + names[0].removeprefix("Fn::"), node.value[0][1], path, line)
        items: dict[str, Item] = {}
        for key, below in self._unrolled(node):
            if isinstance(key, yaml.ScalarNode):
                item = self.convert(below, f"{path}.{key.value}".removeprefix("."))
                if item is not None:
                    items[key.value] = Item(item.value, item.path, key.start_mark.line + 1)
        return Item(items, path, line)

    def _function(self, tag: str, node: yaml.Node, path: str, line: int) -> Item | None:
        """An intrinsic function. Both values of Fn::If have the place of the property itself."""
        if path.startswith("Conditions.") and (name := _long(tag)) in _LOGIC:
            return self._logic(name, node, path, line)
        if tag == "!If" and isinstance(node, yaml.SequenceNode) and len(node.value) == 3:
            condition, then, otherwise = node.value
            if isinstance(condition, yaml.ScalarNode):
                choice = Choice(condition.value, self.convert(then, path), self.convert(otherwise, path))
                return Item(choice, path, line)
        return self._opaque(tag, _scalars(node), path, line)

    def _logic(self, name: str, node: yaml.Node, path: str, line: int) -> Item | None:
        """A condition's function as a mapping of its name to its operands."""
        plain = node
        if not node.tag.startswith("tag:yaml.org") and isinstance(node, yaml.SequenceNode | yaml.ScalarNode):
            kind = "seq" if isinstance(node, yaml.SequenceNode) else "str"
            plain = type(node)(f"tag:yaml.org,2002:{kind}", node.value, node.start_mark, node.end_mark)
            self._kept.append(plain)
        operands = self.convert(plain, path)
        return None if operands is None else Item({name: operands}, path, line)

    def _unrolled(self, node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        for key, below in node.value:
            loop = isinstance(key, yaml.ScalarNode) and key.value.startswith("Fn::ForEach::")
            values = self._collection(below) if loop else None
            if values is None:
                yield key, below
                continue
            name = below.value[0].value
            for value in values:
                body = _substituted(below.value[2], name, value)
                self._kept.append(body)
                yield from self._unrolled(body)

    def _collection(self, loop: yaml.Node) -> list[str] | None:
        """The values of Fn::ForEach; None when they are not in the template."""
        if not (isinstance(loop, yaml.SequenceNode) and len(loop.value) == 3):
            return None
        name, collection, body = loop.value
        if not (isinstance(name, yaml.ScalarNode) and isinstance(body, yaml.MappingNode)):
            return None
        if _is_plain(collection) and isinstance(collection, yaml.SequenceNode):
            values = [each.value for each in collection.value if isinstance(each, yaml.ScalarNode) and _is_plain(each)]
            return values if len(values) == len(collection.value) else None
        named = _scalars(collection)
        default = _below(self._root, "Parameters", named[0] if len(named) == 1 else "", "Default")
        if isinstance(default, yaml.ScalarNode):
            return [value.strip() for value in default.value.split(",")]
        return None

    def _opaque(self, tag: str, scalars: list[str], path: str, line: int) -> Item | None:
        if tag == "!Ref" and scalars == [_NO_VALUE]:
            return None
        text = f"{tag} {scalars[0]}" if len(scalars) == 1 and "\n" not in scalars[0] else tag
        return Item(Opaque(text, " ".join(scalars)), path, line)

    def _text(self, node: yaml.ScalarNode) -> str:
        if node.tag.endswith(":bool"):
            return "true" if self._loader.construct_yaml_bool(node) else "false"
        return str(node.value)


def _is_function(name: str) -> bool:
    return name.startswith("Fn::") and not name.startswith("Fn::ForEach::")


def _long(tag: str) -> str:
    return "Condition" if tag == "!Condition" else f"Fn::{tag.removeprefix('!')}"


def _is_plain(node: yaml.Node) -> bool:
    return bool(node.tag.startswith("tag:yaml.org"))


def _below(node: yaml.Node | None, *keys: str) -> yaml.Node | None:
    for wanted in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for key, value in pairs if getattr(key, "value", None) == wanted), None)
    return node


def _substituted(node: yaml.Node, name: str, value: str) -> Any:
    """A copy of a node in which the variable of Fn::ForEach has a value; `&{name}` leaves out what is no letter."""
    if isinstance(node, yaml.ScalarNode):
        bare = re.sub(r"[^A-Za-z0-9]", "", value)
        text = node.value.replace(f"${{{name}}}", value).replace(f"&{{{name}}}", bare)
        if node.tag == "!Ref" and text == name:
            return yaml.ScalarNode("tag:yaml.org,2002:str", value, node.start_mark, node.end_mark)
        return yaml.ScalarNode(node.tag, text, node.start_mark, node.end_mark, node.style)
    if isinstance(node, yaml.MappingNode):
        pairs = [(_substituted(key, name, value), _substituted(below, name, value)) for key, below in node.value]
        if len(pairs) == 1 and (pairs[0][0].value, getattr(pairs[0][1], "value", None)) == ("Ref", name):
            return yaml.ScalarNode("tag:yaml.org,2002:str", value, node.start_mark, node.end_mark)
        return yaml.MappingNode(node.tag, pairs, node.start_mark, node.end_mark)
    items = [_substituted(below, name, value) for below in node.value]
    return yaml.SequenceNode(node.tag, items, node.start_mark, node.end_mark)


def _scalars(node: yaml.Node) -> list[str]:
    if isinstance(node, yaml.ScalarNode):
        return [str(node.value)]
    pairs = node.value if isinstance(node, yaml.MappingNode) else [(below,) for below in node.value]
    return [text for pair in pairs for below in pair for text in _scalars(below)]
