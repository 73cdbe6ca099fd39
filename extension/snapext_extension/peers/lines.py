"""The two lines of a restore by the shortest way: `after_restore`, and `done` of a phase that went well.

Their common shape alone is taken. Everything else, malformed or not, is left to snapext.wire, which would write the
same bytes, and read the same message.
"""

from __future__ import annotations

from snapext.wire.fields import LIMIT
from snapext.wire.json_text import scan
from snapext.wire.messages import MAX_LINE_BYTES, AfterRestore, Done, HookTiming, Message

BEGINNING = b'{"type":"done",'

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def line_of(message: Message) -> bytes | None:
    """The bytes of after_restore; None for another message, or an id that JSON would have to quote."""
    if type(message) is not AfterRestore or not (message.environment_id.isascii() and message.environment_id.isalnum()):
        return None
    line = (
        f'{{"type":"after_restore","id":{message.id},"generation":{message.generation},'
        f'"timeout_ms":{message.timeout_ms},"environment_id":"{message.environment_id}",'
        f'"restored_at":{message.restored_at!r}'
    )
    if message.restored_monotonic is not None:
        line += f',"restored_monotonic":{message.restored_monotonic!r}'
    return line.encode() + b"}\n"


def read_done(data: bytes) -> Done | None:
    """The answer in what a socket gave; None if it is something else, or more, or less."""
    if not data.startswith(BEGINNING) or data.find(b"\n") != len(data) - 1 or len(data) > MAX_LINE_BYTES:
        return None
    try:
        text = data.decode()
        value, end = scan(text, 0)
    except (ValueError, StopIteration, RecursionError):
        return None
    if end != len(text) - 1 or value["type"] != "done":  # said twice, the last one counts
        return None
    number, duration_ms, hooks = value.get("id"), value.get("duration_ms"), value.get("hooks", ())
    if value.get("ok") is not True or not _is_natural(number) or not _is_natural(value.get("registered", 0)):
        return None
    if not _is_duration(duration_ms) or type(hooks) is not list:
        return None
    for hook in hooks:
        if type(hook) is not dict or type(hook.get("name")) is not str or not _is_duration(hook.get("duration_ms")):
            return None
    timings = tuple([HookTiming(hook["name"], float(hook["duration_ms"])) for hook in hooks])
    return Done(number, True, float(duration_ms), timings, None, value.get("registered"))


def _is_natural(value: Any) -> bool:
    return type(value) is int and 0 <= value < LIMIT


def _is_duration(value: Any) -> bool:
    return type(value) in (float, int) and 0 <= value < LIMIT
