"""Read `done` by the shortest way: a restore waits for that line of each process.

It takes the common shape alone: a phase that went well, in one whole line. Everything else, malformed or not, is left
to the general reader (snapext.wire), which would say the same of what is taken here.
"""

from __future__ import annotations

import json

from snapext.wire.fields import LIMIT
from snapext.wire.messages import MAX_LINE_BYTES, Done, HookTiming

BEGINNING = b'{"type":"done",'

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_scan = json.JSONDecoder(parse_constant=_refuse).scan_once  # type: ignore[attr-defined]


def read_done(data: bytes) -> Done | None:
    """The answer in what a socket gave; None if it is something else, or more, or less."""
    if not data.startswith(BEGINNING) or data.find(b"\n") != len(data) - 1 or len(data) > MAX_LINE_BYTES:
        return None
    try:
        text = data.decode()
        value, end = _scan(text, 0)
    except (ValueError, StopIteration, RecursionError):
        return None
    if end != len(text) - 1 or value["type"] != "done":  # said twice, the last one counts
        return None
    number, duration_ms, hooks = value.get("id"), value.get("duration_ms"), value.get("hooks", ())
    if value.get("ok") is not True or type(number) is not int or not 0 <= number < LIMIT:
        return None
    if not _is_duration(duration_ms) or type(hooks) is not list:
        return None
    for hook in hooks:
        if type(hook) is not dict or type(hook.get("name")) is not str or not _is_duration(hook.get("duration_ms")):
            return None
    timings = tuple([HookTiming(hook["name"], float(hook["duration_ms"])) for hook in hooks])
    return Done(number, True, float(duration_ms), timings, None)


def _is_duration(value: Any) -> bool:
    return type(value) in (float, int) and 0 <= value < LIMIT
