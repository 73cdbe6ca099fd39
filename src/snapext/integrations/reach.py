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
OF_ANOTHER_LOOP = ("loop is closed", "attached to a different loop", "bound to a different event loop")
"""What asyncio and uvloop say. uvloop has closed what a loop that has ended had; only the wait for it fails."""


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
    """Await it; False if what it closes is of another event loop, ended or not: nothing on this one can wait for it."""
    try:
        await closing
    except RuntimeError as error:
        if not any(words in str(error) for words in OF_ANOTHER_LOOP):
            raise
        return False
    return True


def of_another_loop(what: str) -> str:
    """The line about something that `is_done` could not wait for."""
    return (
        f"{what} is connected on an event loop that has ended, or is not the app's (asyncio.run() at import?), and "
        "cannot be closed on the app's. Connect on the loop of the app alone"
    )


def name_of(thing: Any) -> str:
    """`module.name` of a global that holds it, else its class: what a person can look for."""
    for module_name, module in list(sys.modules.items()):
        names = getattr(module, "__dict__", None)
        if type(names) is dict:
            for name, value in list(names.items()):
                if value is thing:
                    return f"{module_name}.{name}"
    return f"a {type(thing).__module__}.{type(thing).__qualname__}"
