"""Which middleware an app takes. The wrong one would fail at each request, with a TypeError about arguments."""

from __future__ import annotations

from snapext.hooks.checks import CODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ASGI, WSGI = 3, 2
"""With how many arguments a server, or a framework, calls what the middleware wraps."""
MODULES = {ASGI: "snapext.asgi", WSGI: "snapext.wsgi", 1: "snapext.django"}
CO_VARARGS = 0x04  # a flag of code objects, see the module inspect, which takes 10 ms to import


def check(app: Any, wanted: int) -> None:
    """Raises TypeError for an app that cannot be called with `wanted` arguments, and can be as another flavour is."""
    least, most = _arguments(app)
    if not least <= wanted <= most:
        for count, module in MODULES.items():
            if least <= count <= most:
                raise TypeError(
                    f"{MODULES[wanted]}.SnapStartMiddleware calls the app with {wanted} arguments, and {app!r} takes "
                    f"{count}: use {module}.SnapStartMiddleware for it"
                )


def _arguments(app: Any) -> tuple[int, float]:
    """The least and the most positional arguments that it takes; anything, where that cannot be seen."""
    try:
        func = app if type(getattr(app, "__code__", None)) is CODE else app.__call__
        code = func.__code__
        if isinstance(app, type) or type(code) is not CODE:
            return 0, float("inf")
        bound = 1 if hasattr(func, "__self__") else 0
        least = code.co_argcount - len(func.__defaults__ or ()) - bound
        return least, float("inf") if code.co_flags & CO_VARARGS else code.co_argcount - bound
    except Exception:  # a proxy, say, or compiled code: it is called as it is, and says itself what is wrong
        return 0, float("inf")
