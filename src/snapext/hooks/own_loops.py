"""A plain hook that runs a loop of its own, by asyncio.run() say, and leaves objects that belong to it.

Such a loop is closed when the hook returns, and what was opened on it can be used by nobody. A loop that nothing holds
is freed at once when it is closed: one that is closed and still there, when what is in circles has been collected, is
held by a transport, a pool or a client.

Only young objects are looked at, those that the garbage collector has not seen twice. What the app has made is old by
then (`settle`), so that a look at the restore reads next to nothing that lies in the snapshot. A hook that makes ten
thousands of objects after its loop, or has them all collected, escapes.
"""

from __future__ import annotations

import gc
import os
import sys

from snapext.guest import notice

TYPE_CHECKING = False
if TYPE_CHECKING:
    import weakref
    from asyncio import AbstractEventLoop
    from typing import Any

SHORTEST_MS = 0.1
"""To open a loop and close it again takes four times as long."""
MAX_YOUNG = 100_000
"""An app that has turned the collector off, or nearly so, would wait for us: there nobody looks."""
MAX_HOLDERS = 3
UNTOLD = frozenset({"builtins", "functools", "types"})
"""What holds a loop on behalf of something else: a dict, a frame, a bound method."""


def settle() -> None:
    """Before the first hook, and before the snapshot: what is there now is to be old, for no hook has left it."""
    if "asyncio" in sys.modules and gc.get_count()[0] <= MAX_YOUNG:
        gc.collect(1)


def look(hook: str, duration_ms: float) -> None:
    """After a plain hook: warn if a loop that it has closed is held. Never raises."""
    if duration_ms < SHORTEST_MS or "asyncio" not in sys.modules:
        return
    try:
        _look(hook)
    except Exception as error:  # ours; the hook has done its work
        notice.debug(f"cannot look for loops that the hook {hook} has left: {error!r}")


def _look(hook: str) -> None:
    closed = _young_and_closed()
    if not closed:
        return
    gc.collect(1)  # what is held in a circle alone goes
    held = [ref for ref in closed if ref() is not None]
    if held:
        notice.once(
            "own loop",
            f"the hook {hook} has run a loop of its own in process {os.getpid()} (asyncio.run, say), and "
            f"{_holders(held[0])} belongs to that loop, which is closed: the app cannot use it. Register the async "
            "function itself, so that it runs on the app's loop: register_after_restore(connect) instead of a function "
            "that calls asyncio.run(connect()); and call snapext.bind_loop() where that loop runs",
        )


def _young_and_closed() -> list[weakref.ref[AbstractEventLoop]]:
    """The closed loops among the young objects. None of them is kept alive."""
    import weakref

    if gc.get_count()[0] > MAX_YOUNG:
        return []
    kinds = _kinds()
    loops: list[Any] = [one for age in (0, 1) for one in gc.get_objects(age) if type(one) in kinds]
    return [weakref.ref(loop) for loop in loops if loop.is_closed()]


def _kinds() -> set[type]:
    """Each class of loops that there is, uvloop's as well; none while asyncio is being imported."""
    found: set[type] = set()
    base = getattr(sys.modules.get("asyncio.events"), "AbstractEventLoop", None)
    pending: list[type] = [] if base is None else [base]
    while pending:
        kind = pending.pop()
        if kind not in found:
            found.add(kind)
            pending += kind.__subclasses__()
    return found


def _holders(loop: weakref.ref[AbstractEventLoop]) -> str:
    """A few names of what holds it, for a person. It looks at every object, once in the life of a process."""
    kinds = [type(one) for one in gc.get_referrers(loop())]
    names = [f"{kind.__module__}.{kind.__qualname__}" for kind in kinds if kind.__module__ not in UNTOLD]
    return ", ".join(list(dict.fromkeys(names))[:MAX_HOLDERS]) or "something that the app keeps"
