"""Run the hooks of one phase in this process and say how it went. Knows nothing of sockets."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snapext import _loops, _registry
from snapext.protocol import HookFailure, HookTiming

if TYPE_CHECKING:
    from snapext._registry import Hook

# A failure must fit into one line of the protocol, even if JSON writes each of its characters as six. One that is
# mostly emoji takes twelve each, and is cut once more by whoever sends it.
MAX_MESSAGE_CHARS = 1_000
MAX_STACK_CHARS = 8_000
MAX_NAME_CHARS = 100


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a phase ended in this process; `error` is None when every hook ran."""

    duration_ms: float
    hooks: tuple[HookTiming, ...]
    error: HookFailure | None


def run_before_snapshot(timeout_ms: int, on_start: Callable[[str], None]) -> Outcome:
    """Run the before-snapshot hooks, the last registered first. See `_run`."""
    return _run(_newest_first(_registry.get_before_snapshot()), timeout_ms, on_start)


def run_after_restore(timeout_ms: int, on_start: Callable[[str], None]) -> Outcome:
    """Run the after-restore hooks in order of registration. See `_run`."""
    return _run(_oldest_first(_registry.get_after_restore()), timeout_ms, on_start)


def hook_name(func: Callable[..., Any]) -> str:
    """`module.qualified_name` of a hook; of what a functools.partial wraps; of the class of another callable."""
    if isinstance(func, functools.partial):
        func = func.func
    try:
        qualname = getattr(func, "__qualname__", None) or type(func).__qualname__
        return f"{getattr(func, '__module__', None) or '?'}.{qualname}"[:MAX_NAME_CHARS]
    except Exception:  # an object that cannot be asked for its name is still to be run
        return f"?.{type(func).__qualname__}"[:MAX_NAME_CHARS]


def _oldest_first(registry: list[Hook]) -> Iterator[Hook]:
    """Each hook once, in order; those that a hook registers meanwhile come last, and none is lost if it removes one."""
    pending = list(registry)
    seen = len(registry)
    while pending:
        yield pending.pop(0)
        pending.extend(registry[seen:])
        seen = len(registry)


def _newest_first(registry: list[Hook]) -> Iterator[Hook]:
    """Each hook once, the newest first; those that a hook registers meanwhile come next, as in the managed runtime."""
    pending = list(registry)
    seen = len(registry)
    while pending:
        yield pending.pop()
        pending.extend(registry[seen:])
        seen = len(registry)


def _run(hooks: Iterator[Hook], timeout_ms: int, on_start: Callable[[str], None]) -> Outcome:
    """Call each hook; the first that raises ends the phase. `on_start` gets the name of each before it runs."""
    started = time.monotonic()
    deadline = started + timeout_ms / 1000
    timings: list[HookTiming] = []
    error: HookFailure | None = None
    for func, args, kwargs in hooks:
        name = hook_name(func)
        on_start(name)
        hook_started = time.monotonic()
        error = _call(name, func, args, kwargs, deadline)
        if error is not None:
            break
        timings.append(HookTiming(name, _ms_since(hook_started)))
    return Outcome(_ms_since(started), tuple(timings), error)


def _call(
    name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], deadline: float
) -> HookFailure | None:
    started = time.monotonic()
    try:
        result = func(*args, **kwargs)
        if hasattr(result, "__await__"):
            _loops.run(result, deadline)
    except BaseException as error:  # SystemExit and KeyboardInterrupt must not end the link's thread in silence
        message = _text(error)
        if isinstance(error, TimeoutError) and time.monotonic() >= deadline:
            message = f"still running after {_ms_since(started):.0f} ms, when the phase's budget was used up"
        return describe(error, name, message)
    return None


def describe(error: BaseException, hook: str | None, message: str | None = None) -> HookFailure:
    """An exception as a report: its stack begins at the hook, not in frames of ours or of what drives async hooks."""
    import traceback  # costs 20 ms, and only a failure needs it

    tb = error.__traceback__
    while tb is not None and _is_between_us_and_a_hook(tb.tb_frame.f_globals):
        tb = tb.tb_next
    stack = "".join(traceback.format_exception(type(error), error, tb))
    return HookFailure(
        type=type(error).__name__[:MAX_NAME_CHARS],
        message=(_text(error) if message is None else message)[:MAX_MESSAGE_CHARS],
        stack=stack[-MAX_STACK_CHARS:],
        hook=hook,
    )


def _is_between_us_and_a_hook(module_globals: dict[str, Any]) -> bool:
    name = str(module_globals.get("__name__"))
    return name in (__name__, _loops.__name__) or name.partition(".")[0] in ("asyncio", "concurrent")


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # an exception whose own text fails is still to be reported
        return "(its text cannot be had)"


def _ms_since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)
