"""Hooks that would run nothing are found before any hook runs; what is fine is let through."""

import asyncio
import contextlib
import functools
import types

import pytest

import snapext
from phases import no_hooks, run_after_restore, run_before_snapshot
from snapext.hooks import runner
from snapext.hooks.checks import registered_twice, why_it_runs_nothing


@pytest.fixture(autouse=True)
def clean():
    """No hooks before and after each test, and no link to anything."""
    with no_hooks():
        yield


ran = []


def generator():
    ran.append("generator")
    yield


async def async_generator():
    ran.append("async generator")
    yield


@contextlib.contextmanager
def manager():
    ran.append("manager")
    yield


@contextlib.asynccontextmanager
async def async_manager():
    ran.append("async manager")
    yield


class Callable:
    def __call__(self):
        ran.append("object")
        yield

    def method(self):
        ran.append("method")
        yield

    @classmethod
    def of_class(cls):
        ran.append("class")
        yield

    @staticmethod
    def static():
        ran.append("static")
        yield


REFUSED = {
    "generator": (generator, "is a generator function"),
    "async generator": (async_generator, "is an async generator function"),
    "context manager": (manager, "is a context manager"),
    "async context manager": (async_manager, "is a context manager"),
    "partial": (functools.partial(generator), "is a generator function"),
    "partial of a partial": (functools.partial(functools.partial(manager)), "is a context manager"),
    "bound method": (Callable().method, "is a generator function"),
    "partial of a bound method": (functools.partial(Callable().method), "is a generator function"),
    "class method": (Callable.of_class, "is a generator function"),
    "static method": (Callable.static, "is a generator function"),
    "object": (Callable(), "is a generator function"),
    "partial of an object": (functools.partial(Callable()), "is a generator function"),
    "lambda": (lambda: (yield), "is a generator function"),
    "none": (None, "cannot be called"),
    "what a function returned": (contextlib.suppress(OSError), "cannot be called"),
}


@pytest.mark.parametrize(("func", "why"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("phase", ["before_snapshot", "after_restore"])
def test_a_hook_that_runs_nothing_fails_the_phase_before_the_snapshot(func, why, phase):
    """Whichever phase it is for, no hook runs, and the failure says which hook, where it is and why."""
    snapext.register_before_snapshot(ran.append, "another hook")
    getattr(snapext, f"register_{phase}")(func)
    ran.clear()
    outcome = run_before_snapshot(1_000, lambda _: None)

    assert (ran, outcome.hooks) == ([], ())
    assert outcome.error.type == "HookRunsNothing"
    assert outcome.error.hook == runner.hook_name(func)
    assert f"the {phase} hook {outcome.error.hook}" in outcome.error.message
    assert why in outcome.error.message
    assert "register a " in outcome.error.message
    if "cannot be called" not in why:
        assert f"({__file__}:" in outcome.error.message


def test_the_place_is_that_of_the_function_itself():
    """Not of contextlib's helper, nor of the decorator."""
    line = manager.__wrapped__.__code__.co_firstlineno

    assert f"({__file__}:{line})" in why_it_runs_nothing(manager)


def decorated(func):
    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        for _ in func(*args, **kwargs):
            pass

    return wrapper


@types.coroutine
def old_coroutine():
    ran.append("types.coroutine")
    yield from asyncio.sleep(0).__await__()


class Pool:
    def __init__(self):
        ran.append("pool")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __iter__(self):
        return iter(())


async def coroutine():
    ran.append("coroutine")


@manager()
def within_a_manager():
    ran.append("hook")


class Hostile:
    def __getattr__(self, name):
        raise RuntimeError(name)

    def __call__(self):
        ran.append("hostile")


class Proxy:
    """A result that raises when it is asked for its class, as werkzeug's proxies do."""

    __class__ = property(lambda _: 1 / 0)

    def __init__(self):
        ran.append("proxy")


FINE = {
    "a wrapper that runs a generator": (decorated(generator), ["generator"]),
    "types.coroutine": (old_coroutine, ["types.coroutine"]),
    "a class": (Pool, ["pool"]),
    "a function that returns a pool": (lambda: Pool(), ["pool"]),
    "a coroutine function": (coroutine, ["coroutine"]),
    "a partial of a coroutine function": (functools.partial(coroutine), ["coroutine"]),
    "a function within a context manager": (within_a_manager, ["manager", "hook"]),
    "what cannot be looked at": (Hostile(), ["hostile"]),
    "a result that cannot be looked at": (lambda: Proxy(), ["proxy"]),
    "a builtin": (functools.partial(ran.append, "builtin"), ["builtin"]),
    "exit stack": (contextlib.ExitStack().close, []),
    "enter": (functools.partial(contextlib.ExitStack().enter_context, contextlib.nullcontext()), []),
}


@pytest.mark.parametrize(("func", "expected"), FINE.values(), ids=FINE)
@pytest.mark.parametrize("run", [run_before_snapshot, run_after_restore])
def test_a_hook_that_runs_is_not_refused(func, expected, run):
    """What only looks like one of those is run, and awaited where it has to be."""
    snapext.register_before_snapshot(func)
    snapext.register_after_restore(func)
    ran.clear()
    outcome = run(1_000, lambda _: None)

    assert (outcome.error, len(outcome.hooks), ran) == (None, 1, expected)


@functools.lru_cache
def cached_generator():
    yield


RESULTS = {
    "generator": (generator, "a generator"),
    "async generator": (lambda: async_generator(), "an async generator"),
    "context manager": (lambda: manager(), "a context manager"),
    "async context manager": (lambda: async_manager(), "a context manager"),
    "cached": (cached_generator, "a generator"),
}


@pytest.mark.parametrize(("func", "what"), RESULTS.values(), ids=RESULTS)
def test_a_hook_whose_result_would_still_have_to_run_has_failed(func, what):
    """One that was registered after the look, or that hides what it is, is not shown with a tick."""
    snapext.register_after_restore(func)
    outcome = run_after_restore(1_000, lambda _: None)

    assert outcome.hooks == ()
    assert outcome.error.type == "HookRunsNothing"
    assert f"it returned {what}" in outcome.error.message
    assert outcome.error.duration_ms is not None


# --- the same function twice -----------------------------------------------------------------------------------------


def loaded(tmp_path, source, *modules):
    """The hooks that a file makes which is executed once under each name."""
    path = tmp_path / "main.py"
    path.write_text(source)
    hooks = []
    for module in modules:
        names = {"__name__": module}
        exec(compile(source, str(path), "exec"), names)
        hooks += [(hook, (), {}) for hook in names["hooks"]]
    return hooks


TWO = "def close(): pass\nhooks = [close, lambda: None]"
DECORATED = """
import functools
def decorate(func):
    @functools.wraps(func)
    def wrapper(): return func()
    return wrapper
@decorate
def close(): pass
hooks = [functools.partial(close)]
"""


@pytest.mark.parametrize("main", ["__main__", "__mp_main__"])
@pytest.mark.parametrize("source", [TWO, DECORATED], ids=["plain", "decorated"])
def test_a_function_registered_from_the_program_and_from_a_module_is_named(tmp_path, main, source):
    """`python main.py` with uvicorn.run("main:app") runs the file twice in one process."""
    for order in ((main, "main"), ("main", main)):
        line = registered_twice(loaded(tmp_path, source, *order))

        assert f"{tmp_path}/main.py:" in line
        assert f"from the modules {main} and main" in line
        assert '"main:app"' in line


@pytest.mark.parametrize("modules", [["__main__"], ["main"], ["main", "main"], ["first", "second"]])
def test_functions_that_are_there_once_or_on_purpose_are_not_named(tmp_path, modules):
    """A function that is registered twice runs twice, which may be what is wanted."""
    assert registered_twice(loaded(tmp_path, TWO, *modules)) is None


def test_two_functions_with_one_decorator_are_not_one(tmp_path):
    """Their wrappers have the same file and line."""
    decorate = loaded(tmp_path, DECORATED.replace("functools.partial(close)", "decorate"), "tools")[0][0]

    def first():
        pass

    def second():
        pass

    first.__module__, second.__module__ = "__main__", "app"

    assert registered_twice([(decorate(first), (), {}), (decorate(second), (), {}), (print, (), {})]) is None
