"""A template's conditions: every way in which a deployment can decide them, and the template decided in that way."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from snapext_tools.doctor.settings import Opaque
from snapext_tools.doctor.tree import Choice, Item

MOST_WAYS = 64
"""More combinations of the parameters' values are not tried: what depends on them is not judged then."""
_OTHER = "\0any other value"


def conditions_in(item: Item | None) -> Iterator[str]:
    """The names of the conditions that decide something below."""
    if item is None:
        return
    if isinstance(item.value, Choice):
        yield item.value.condition
        yield from conditions_in(item.value.then)
        yield from conditions_in(item.value.otherwise)
    elif isinstance(item.value, dict | list):
        for below in item.value.values() if isinstance(item.value, dict) else item.value:
            yield from conditions_in(below)


def scenarios(template: Item, names: Sequence[str]) -> list[dict[str, bool]]:
    """The combinations that these conditions can have, each once; empty when there are too many to try.

    A condition compares values of parameters: each parameter gets every value that some condition compares it with, and
    one more. What cannot be read so is taken as true and as false.
    """
    defined = template.children("Conditions")
    values: dict[str, set[str]] = {}
    for name in names:
        _collect(defined, name, values, set())
    for name in values:
        if name.startswith("?"):
            continue
        allowed = template.child("Parameters", name, "AllowedValues")
        if allowed is not None and isinstance(allowed.value, list):
            values[name] = {each.value for each in allowed.value if isinstance(each.value, str)}
        else:
            values[name].add(_OTHER)
    ways = 1
    for each in values.values():
        ways *= len(each)
    if ways > MOST_WAYS:
        return []
    found: list[dict[str, bool]] = []
    for combination in itertools.product(*(sorted(each) for each in values.values())):
        given = dict(zip(values, combination, strict=True))
        decided = {name: _is_true(defined, name, given) for name in names}
        if decided not in found:
            found.append(decided)
    return found


def decide(
    item: Item | None, truth: Mapping[str, bool], defaults: Mapping[str, str], used: dict[str, str]
) -> Item | None:
    """The tree with its choices taken, and references to parameters replaced by their defaults, noted in `used`."""
    if item is None:
        return None
    value = item.value
    if isinstance(value, Choice):
        if value.condition not in truth:
            return Item(Opaque(f"!If {value.condition}", value.condition), item.path, item.line)
        chosen = decide(value.then if truth[value.condition] else value.otherwise, truth, defaults, used)
        return None if chosen is None else Item(chosen.value, chosen.path, chosen.line)
    if isinstance(value, dict):
        below = {key: decide(each, truth, defaults, used) for key, each in value.items()}
        return Item({key: each for key, each in below.items() if each is not None}, item.path, item.line)
    if isinstance(value, list):
        several = [decide(each, truth, defaults, used) for each in value]
        return Item([each for each in several if each is not None], item.path, item.line)
    if isinstance(value, Opaque) and value.text.startswith("!Ref ") and value.words in defaults:
        used[value.words] = defaults[value.words]
        return Item(defaults[value.words], item.path, item.line)
    return item


def defaults(template: Item) -> dict[str, str]:
    """The parameters with one plain default. Of a parameter in SSM the default is only a name."""
    found = {}
    for name, parameter in template.children("Parameters").items():
        default, kind = parameter.child("Default"), parameter.child("Type")
        text = kind.value if kind is not None and isinstance(kind.value, str) else ""
        secret = parameter.child("NoEcho")
        hidden = secret is not None and secret.value == "true"
        if text in ("String", "Number") and default is not None and isinstance(default.value, str) and not hidden:
            found[name] = default.value
    return found


def _collect(defined: Mapping[str, Item], name: str, values: dict[str, set[str]], seen: set[str]) -> None:
    """Each parameter that a condition compares, with the values it is compared with."""
    if name in seen:
        return
    seen.add(name)
    if name not in defined:
        values[f"?{name}"] = {"true", "false"}
        return
    pending = [defined[name]]
    while pending:
        item = pending.pop()
        operands = _operands(item)
        if operands is None:
            values[f"?{item.path}"] = {"true", "false"}
            continue
        function, below = operands
        if function == "Condition":
            _collect(defined, str(below[0].value), values, seen)
        elif function == "Fn::Equals":
            parameter, literal = _compared(below)
            if parameter is None:
                values[f"?{item.path}"] = {"true", "false"}
            elif literal is not None:
                values.setdefault(parameter, set()).add(literal)
        else:
            pending += below


def _is_true(defined: Mapping[str, Item], name: str, given: Mapping[str, str]) -> bool:
    if f"?{name}" in given:
        return given[f"?{name}"] == "true"
    return _holds(defined, defined[name], given, 0)


def _holds(defined: Mapping[str, Item], item: Item, given: Mapping[str, str], depth: int) -> bool:
    operands = _operands(item)
    if f"?{item.path}" in given or operands is None or depth > 50:  # a condition may refer to itself
        return given.get(f"?{item.path}") == "true"
    function, below = operands
    if function == "Condition":
        name = str(below[0].value)
        return (
            _is_true(defined, name, given) if name not in defined else _holds(defined, defined[name], given, depth + 1)
        )
    if function == "Fn::Equals":
        parameter, literal = _compared(below)
        return parameter is not None and given.get(parameter) == literal
    results = [_holds(defined, each, given, depth + 1) for each in below]
    return all(results) if function == "Fn::And" else any(results) if function == "Fn::Or" else not all(results)


def _operands(item: Item) -> tuple[str, list[Item]] | None:
    """A condition's function and its operands; None when it is none of the functions of conditions."""
    if not isinstance(item.value, dict) or len(item.value) != 1:
        return None
    ((function, below),) = item.value.items()
    if function == "Condition":
        return (function, [below]) if isinstance(below.value, str) else None
    return (function, below.value) if isinstance(below.value, list) and below.value else None


def _compared(operands: Sequence[Item]) -> tuple[str | None, str | None]:
    """The parameter and the literal of Fn::Equals; None for the parameter when it compares anything else."""
    if len(operands) != 2:
        return None, None
    refs = [
        each.value.words for each in operands if isinstance(each.value, Opaque) and each.value.text.startswith("!Ref ")
    ]
    literals = [each.value for each in operands if isinstance(each.value, str)]
    return (refs[0], literals[0]) if len(refs) == 1 and len(literals) == 1 else (None, None)
