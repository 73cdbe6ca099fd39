"""What an object of a library holds, and connections whose event loop has ended."""

from __future__ import annotations

import gc
import sys
from collections import OrderedDict, defaultdict, deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Container
    from typing import Any

CONTAINERS = frozenset((dict, list, tuple, set, frozenset, deque, OrderedDict, defaultdict))
LOOP_IS_CLOSED = "loop is closed"
"""What asyncio and uvloop say."""


def held_by(owner: Any, classes: tuple[type, ...], libraries: Container[str]) -> list[Any]:
    """The instances of these classes that `owner` holds.

    The way leads through containers and objects of these libraries (their top packages) alone, so it ends at the event
    loop and at what belongs to the app. The garbage collector knows it: no attribute is read, private ones neither.
    """
    seen: dict[int, Any] = {id(owner): owner}
    pending = [owner]
    found = []
    while pending:
        for thing in gc.get_referents(pending.pop()):
            if id(thing) in seen:
                continue
            seen[id(thing)] = thing
            kind = type(thing)
            if any(base in classes for base in kind.__mro__):
                found.append(thing)
            elif kind in CONTAINERS or str(kind.__module__).partition(".")[0] in libraries:
                pending.append(thing)
    return found


async def is_done(closing: Awaitable[object]) -> bool:
    """Await it; False if what it closes was made on an event loop that has ended, which nothing can do any more."""
    try:
        await closing
    except RuntimeError as error:
        if LOOP_IS_CLOSED not in str(error):
            raise
        return False
    return True


def name_of(thing: Any) -> str:
    """`module.name` of a global that holds it, else its class: what a person can look for."""
    for module_name, module in list(sys.modules.items()):
        names = getattr(module, "__dict__", None)
        if type(names) is dict:
            for name, value in list(names.items()):
                if value is thing:
                    return f"{module_name}.{name}"
    return f"a {type(thing).__module__}.{type(thing).__qualname__}"
