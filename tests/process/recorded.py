"""What an older client and an older extension said to each other, as recorded in tests/vectors/older.

An older side ignores fields and types that it does not know, and needs those that it does know: see docs/support.md.
This imports nothing of ours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).resolve().parents[1] / "vectors" / "older" / "0.1.0.jsonl"


def said(who: str, connection: str) -> list[dict[str, Any]]:
    """The messages of one side on one connection, in order. who: process or extension; connection: app or command."""
    lines = [json.loads(line) for line in RECORDED.read_text("utf-8").splitlines()]
    return [json.loads(line["line"]) for line in lines if (line["from"], line["connection"]) == (who, connection)]


def lacks(newer: Any, older: Any, where: str = "") -> list[str]:
    """Where the newer message lacks what is in the older one: a field, or its type. Empty if it has all of it."""
    if isinstance(older, dict) and isinstance(newer, dict):
        missing = [f"{where}.{name} is missing" for name in older if name not in newer]
        return missing + [
            f for name in older if name in newer for f in lacks(newer[name], older[name], f"{where}.{name}")
        ]
    if isinstance(older, list) and isinstance(newer, list):
        return [f for item in newer for f in lacks(item, older[0], f"{where}[]")] if older else []
    kinds = {int: "number", float: "number"}
    kind_of_newer, kind_of_older = (kinds.get(type(it), type(it).__name__) for it in (newer, older))
    return [] if kind_of_newer == kind_of_older else [f"{where} is {newer!r}, and was {older!r}"]
