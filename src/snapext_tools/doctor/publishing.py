"""Whether a template publishes versions of a function, and whether it provisions concurrency for them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from snapext_tools.doctor.settings import Opaque, Setting
from snapext_tools.doctor.tree import Item, words

VERSION, ALIAS = "AWS::Lambda::Version", "AWS::Lambda::Alias"
CONCURRENCY = "ProvisionedConcurrencyConfig"


def published(
    template: Item, name: str, properties: Item, truth: Mapping[str, bool], *, serverless: bool
) -> bool | Opaque:
    """Whether a version is published, by SAM's alias or by a version of this function in the resources."""
    alias = properties.child("AutoPublishAlias") if serverless else None
    if alias is not None:
        undecided = isinstance(alias.value, Opaque) and alias.value.text.startswith("!If")
        return alias.value if undecided and isinstance(alias.value, Opaque) else True
    called = _value(properties.child("FunctionName"))
    unclear: bool | Opaque = False
    for item in _resources(template, VERSION, truth):
        of = _value(item.child("Properties", "FunctionName"))
        if isinstance(of, Opaque):
            if _refers(of.words, name):
                return True
            if not any(word in template.children("Resources") for word in re.findall(r"\w+", of.words)):
                unclear = of
        elif of is not None and of == called:
            return True
    return unclear


def provisioned(template: Item, name: str, properties: Item, truth: Mapping[str, bool]) -> str:
    """Where provisioned concurrency is set for this function: the property's path, or an empty text."""
    own = properties.child(CONCURRENCY)
    if own is not None and own.value != {}:
        return own.path
    for kind in (ALIAS, VERSION):
        for item in _resources(template, kind, truth):
            of = _value(item.child("Properties", "FunctionName"))
            concurrency = item.child("Properties", CONCURRENCY)
            text = of.words if isinstance(of, Opaque) else ""
            if concurrency is not None and concurrency.value != {} and _refers(text, name):
                return concurrency.path
    return ""


def _resources(template: Item, kind: str, truth: Mapping[str, bool]) -> Iterator[Item]:
    for item in template.children("Resources").values():
        if not isinstance(item.value, dict) or _value(item.child("Type")) != kind:
            continue
        condition = item.child("Condition")
        if condition is None or not isinstance(condition.value, str) or truth.get(condition.value, True):
            yield item


def _refers(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _value(item: Item | None) -> Setting | None:
    if item is None:
        return None
    return item.value if isinstance(item.value, str | Opaque) else Opaque("not a single value", words(item))
