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


def beginning_of_line(number: int, timeout_ms: int) -> str:
    """What is known of after_restore before the restore: the id of the phase and its time."""
    return f'{{"type":"after_restore","id":{number},"generation":1,"timeout_ms":{timeout_ms},"environment_id":"'


def rest_of_line(beginning: str, environment_id: str, wall_us: int, monotonic_us: int) -> bytes:
    """The line, by what is known at the restore. Of whole numbers, which touches fewer pages than writing a float."""
    wall, monotonic = str(wall_us).zfill(7), str(monotonic_us).zfill(7)
    return (
        f'{beginning}{environment_id}","restored_at":{wall[:-6]}.{wall[-6:]},'
        f'"restored_monotonic":{monotonic[:-6]}.{monotonic[-6:]}}}\n'
    ).encode()


def read_done(data: bytes) -> Done | None:
    """The answer in what a socket gave; None if it is something else, or more, or less."""
    value = done_in(data)
    if value is None:
        return None
    timings = tuple([HookTiming(hook["name"], float(hook["duration_ms"])) for hook in value.get("hooks", ())])
    return Done(value["id"], True, float(value["duration_ms"]), timings, None, value.get("registered"))


def done_in(data: bytes) -> dict[str, Any] | None:
    """The same as JSON has read it: its fields are as they have to be."""
    if not data.startswith(BEGINNING) or data.find(b"\n") != len(data) - 1 or len(data) > MAX_LINE_BYTES:
        return None
    try:
        text = data.decode()
        value, end = scan(text, 0)
    except (ValueError, StopIteration, RecursionError):
        return None
    if end != len(text) - 1 or value["type"] != "done":  # said twice, the last one counts
        return None
    number, registered, hooks = value.get("id"), value.get("registered", 0), value.get("hooks", ())
    if value.get("ok") is not True or type(number) is not int or not 0 <= number < LIMIT:
        return None
    if type(registered) is not int or not 0 <= registered < LIMIT or type(hooks) is not list:
        return None
    for timed in (value, *hooks):
        if type(timed) is not dict or (timed is not value and type(timed.get("name")) is not str):
            return None
        duration_ms: Any = timed.get("duration_ms")
        if type(duration_ms) not in (float, int) or not 0 <= duration_ms < LIMIT:
            return None
    found: dict[str, Any] = value
    return found
