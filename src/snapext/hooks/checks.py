"""Hooks that would run nothing, and hooks that are there twice: looked for before the first one of a phase runs."""

from __future__ import annotations

import os
from _functools import partial  # type: ignore[import-not-found]  # `functools` takes 4 ms to import

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType
    from typing import Any

    from snapext.hooks.registry import Hook

# Flags of code objects, see the module inspect, which takes 10 ms to import.
CO_GENERATOR, CO_COROUTINE, CO_ITERABLE_COROUTINE, CO_ASYNC_GENERATOR = 0x20, 0x80, 0x100, 0x200
MAX_WRAPPED = 20


def _generator() -> Any:
    yield


async def _async_generator() -> Any:
    yield


# As `types` makes them.
GeneratorType, AsyncGeneratorType = type(_generator()), type(_async_generator())
CODE = type(_generator.__code__)

PLAIN = "register a plain function; what comes before `yield` and what comes after it are two hooks"
ENTERED = "register a plain function that enters it (an ExitStack keeps it open), and another one that closes it"


def why_it_runs_nothing(func: Any) -> str | None:
    """Why calling `func` would run none of its code, where it is and what to write instead; None if it would run.

    Never raises: what cannot be looked at is run, and judged by what comes of it.
    """
    try:
        return _why_it_runs_nothing(_inner(func))
    except Exception:
        return None


def _why_it_runs_nothing(func: Any) -> str | None:
    if not callable(func):
        return f"{type(func).__name__} cannot be called: register a function"
    if isinstance(func, type):
        return None
    code = _code(func)
    if code is None:
        func = getattr(type(func), "__call__", None)  # noqa: B004 - not whether it has one: which it is
        code = _code(func)
    if code is None:
        return None
    if code.co_flags & CO_ASYNC_GENERATOR:
        return f"{_where(code)}is an async generator function, and calling one runs nothing: {PLAIN}"
    if code.co_flags & CO_GENERATOR and not code.co_flags & CO_ITERABLE_COROUTINE:
        return f"{_where(code)}is a generator function (it has a `yield`), and calling one runs nothing: {PLAIN}"
    # What contextlib.contextmanager and asynccontextmanager return is a function of theirs that is called so.
    if code.co_name == "helper" and getattr(func, "__globals__", {}).get("__name__") == "contextlib":
        wrapped = _code(getattr(func, "__wrapped__", None)) or code
        return f"{_where(wrapped)}is a context manager, and calling one runs nothing: {ENTERED}"
    return None


def why_result_ran_nothing(result: Any) -> str | None:
    """Why a hook that has returned `result` did nothing, or None."""
    kind = type(result)  # isinstance would ask the object, and a proxy may raise
    if kind is AsyncGeneratorType:
        return f"it returned an async generator, whose code has not run: {PLAIN}"
    if kind is GeneratorType and not is_awaitable(result):
        return f"it returned a generator, whose code has not run: {PLAIN}"
    if kind.__module__ == "contextlib" and kind.__name__.endswith("GeneratorContextManager"):
        return f"it returned a context manager, whose code has not run: {ENTERED}"
    return None


def is_coroutine_function(func: Any) -> bool:
    """Whether a call of it runs nothing yet, but returns what is to be awaited. Never raises."""
    try:
        code = _code(func)
        return code is not None and bool(code.co_flags & CO_COROUTINE)
    except Exception:
        return False


def is_unusual(result: Any) -> bool:
    """Whether a hook has returned what is to be awaited, or what shows that it did nothing."""
    return why_result_ran_nothing(result) is not None or is_awaitable(result)


def is_awaitable(result: Any) -> bool:
    """Whether `await` takes it: also a generator whose function types.coroutine has marked."""
    kind = type(result)
    if kind is GeneratorType:
        return bool(result.gi_code.co_flags & CO_ITERABLE_COROUTINE)
    return hasattr(kind, "__await__")


def registered_twice(hooks: Iterable[Hook]) -> str | None:
    """Say which function is there twice because its file has been run as the main program and imported as well."""
    seen: dict[tuple[str, int, str], str] = {}
    for func, _, _ in hooks:
        inner = _innermost(func)
        code, module = _code(inner), getattr(inner, "__module__", None)
        if code is None or not isinstance(module, str):
            continue
        key = (code.co_filename, code.co_firstlineno, code.co_qualname)
        other = seen.setdefault(key, module)
        if other != module and (main := _main_of(module, other)) is not None:
            imported = other if main == module else module
            return (
                f"the hook {code.co_qualname} ({_place(code)}) is registered twice, from the modules {main} and "
                f"{imported}: the file is run as the program and imported as well, so it runs twice in process "
                f"{os.getpid()}. Put the hooks into a module of their own, or give the server the app itself "
                f'instead of "{imported}:app"'
            )
    return None


def _main_of(*modules: str) -> str | None:
    """The main program among them; multiprocessing calls the parent's so where it starts a new interpreter."""
    return next((module for module in modules if module in ("__main__", "__mp_main__")), None)


def _inner(func: Any) -> Any:
    """What is called in the end: of a functools.partial what it calls, of a bound method the function."""
    for _ in range(MAX_WRAPPED):
        if isinstance(func, partial):
            func = func.func
        elif hasattr(type(func), "__func__"):
            func = func.__func__
        else:
            break
    return func


def _innermost(func: Any) -> Any:
    """The function that a person has written, beneath its decorators."""
    for _ in range(MAX_WRAPPED):
        func = _inner(func)
        wrapped = func.__dict__.get("__wrapped__") if hasattr(func, "__dict__") else None
        if wrapped is None:
            break
        func = wrapped
    return func


def _code(func: Any) -> CodeType | None:
    code = getattr(_inner(func), "__code__", None)
    return code if isinstance(code, CODE) else None


def _where(code: CodeType) -> str:
    return f"({_place(code)}) "


def _place(code: CodeType) -> str:
    return f"{code.co_filename}:{code.co_firstlineno}"
