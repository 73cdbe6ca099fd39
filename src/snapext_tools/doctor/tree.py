"""A template's YAML or JSON as a tree that remembers the line of each value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from snapext_tools.doctor.env_file import read_text
from snapext_tools.doctor.settings import Opaque, SourceError

_NO_VALUE = "AWS::NoValue"


@dataclass(frozen=True, slots=True)
class Item:
    """A value, the path of its property, and its line."""

    value: str | Opaque | dict[str, Item] | list[Item]
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
    """Read a file of YAML or JSON, and return the tree and its syntax. Values are text, as in CloudFormation.

    Raises:
        SourceError: it is neither, or not a mapping.
    """
    text = read_text(path)
    syntax = "json" if text.lstrip().startswith("{") and _is_json(text) else "yaml"
    if syntax == "json":
        text = text.replace("\t", " ")  # JSON allows a tab between tokens, YAML does not
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        item = _Converter(loader).convert(node, "") if node is not None else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SourceError(f"{path}:{line} is not YAML or JSON: {error.problem}") from error
    except yaml.YAMLError as error:
        raise SourceError(f"{path} is not YAML or JSON: {str(error).partition(chr(10))[0]}") from error
    except RecursionError as error:
        raise SourceError(f"cannot read {path}: it is nested too deep, or contains itself") from error
    if item is None or not isinstance(item.value, dict):
        raise SourceError(f"{path} is not a SAM or CloudFormation template: it is not a mapping")
    return item, syntax


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
    else:
        yield item.value.words if isinstance(item.value, Opaque) else item.value


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


class _Converter:
    """Converts nodes to items, and a node with several references (an alias) only once."""

    def __init__(self, loader: yaml.SafeLoader) -> None:
        self._loader = loader
        self._done: dict[int, Item | None] = {}

    def convert(self, node: yaml.Node, path: str) -> Item | None:
        """The item, or None for no value at all: null, or AWS::NoValue."""
        if id(node) not in self._done:
            self._done[id(node)] = self._convert(node, path)
        return self._done[id(node)]

    def _convert(self, node: yaml.Node, path: str) -> Item | None:
        line = node.start_mark.line + 1
        if not node.tag.startswith("tag:yaml.org"):
            return self._opaque(node.tag, _scalars(node), path, line)
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
        if len(names) == 1 and (names[0] == "Ref" or _is_function(names[0])):
            return self._opaque("!" + names[0].removeprefix("Fn::"), _scalars(node.value[0][1]), path, line)
        items: dict[str, Item] = {}
        for key, below in node.value:
            if isinstance(key, yaml.ScalarNode):
                item = self.convert(below, f"{path}.{key.value}".removeprefix("."))
                if item is not None:
                    items[key.value] = Item(item.value, item.path, key.start_mark.line + 1)
        return Item(items, path, line)

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


def _scalars(node: yaml.Node) -> list[str]:
    if isinstance(node, yaml.ScalarNode):
        return [str(node.value)]
    pairs = node.value if isinstance(node, yaml.MappingNode) else [(below,) for below in node.value]
    return [text for pair in pairs for below in pair for text in _scalars(below)]
