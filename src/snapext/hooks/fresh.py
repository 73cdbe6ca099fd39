"""Caches that are emptied before the snapshot, so that no secret is in it, and at the restore, so that none is old.

A cache of ours is not emptied but replaced: a call that began before and ends after keeps its value in the old one.
"""

from __future__ import annotations

import functools
import weakref
from collections import namedtuple

from snapext.hooks import checks, registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any

LruCache = type(functools.lru_cache(len))
CacheInfo = namedtuple("CacheInfo", ("hits", "misses", "maxsize", "currsize"))
"""What functools says of a cache; its own type has no public name."""
_cached: dict[int, weakref.ref[Any]] = {}
"""All that have a `cache_clear`, which their owners keep alive. Each operation on it is one that no thread cuts."""


def fresh(func: Any) -> Any:
    """A function with a cache that is empty in each clone. Raises TypeError for what cannot be cached in this way."""
    if not isinstance(func, LruCache) and callable(func) and callable(getattr(func, "cache_clear", None)):
        cached = func  # of cachetools, async_lru, or another fresh
    else:
        _check(func)
        cached = _caching_async(func) if checks.is_coroutine_function(func) else _caching(func)
    _cached[id(cached)] = weakref.ref(cached, functools.partial(_forget, id(cached)))
    for hooks, empty in (
        (registry.get_before_snapshot(), before_snapshot),
        (registry.get_after_restore(), after_restore),
    ):
        if not any(hook[0] is empty for hook in hooks):
            registry.insert(hooks, 0, (empty, (), {}))  # the last one before the snapshot, the first after the restore
    return cached


def before_snapshot() -> None:
    """A hook: no value is in the snapshot."""
    _empty()


def after_restore() -> None:
    """A hook: what was cached since is older than the restore."""
    _empty()


def _empty() -> None:
    failed: list[Exception] = []
    for ref in list(_cached.values()):
        cached = ref()
        try:
            if cached is not None:
                cached.cache_clear()
        except Exception as error:  # the others are to be emptied all the same
            failed.append(error)
    if failed:
        raise failed[0]


def _forget(number: int, ref: weakref.ref[Any]) -> None:
    if _cached.get(number) is ref:
        del _cached[number]


def _check(func: Any) -> None:
    if isinstance(func, classmethod | staticmethod):
        kind = type(func).__name__
        raise TypeError(f"@snapext.fresh belongs beneath @{kind}, next to the function: {func!r}")
    if not callable(func):
        raise TypeError(
            f"@snapext.fresh takes a function, not {func!r}: a property keeps its value in the instance, or nowhere; "
            "cache a method instead"
        )
    inner = getattr(func, "__wrapped__", func) if isinstance(func, LruCache) else func
    if inner is not func and checks.is_coroutine_function(inner):
        raise TypeError(
            f"{inner.__qualname__} is an async function, and functools caches its coroutine, which can be awaited only "
            "once: use @snapext.fresh alone, it keeps what the coroutine returns"
        )
    if checks.why_it_runs_nothing(inner) is not None:
        name = getattr(inner, "__qualname__", inner)
        raise TypeError(
            f"{name} is a generator function, and a generator that is cached runs only once: let it return a list"
        )


def _caching(func: Any) -> Any:
    given: Any = func if isinstance(func, LruCache) else None
    parameters: dict[str, Any] = {"maxsize": None} if given is None else given.cache_parameters()
    inner = func if given is None else given.__wrapped__
    cache = functools.lru_cache(**parameters)(inner)

    @functools.wraps(inner)
    def cached(*args: Hashable, **kwargs: Hashable) -> Any:
        return cache(*args, **kwargs)

    def cache_clear() -> None:
        nonlocal cache
        cache = functools.lru_cache(**parameters)(inner)
        if given is not None:
            given.cache_clear()  # somebody may have kept it

    return _with(cached, cache_clear, lambda: cache.cache_info())


def _caching_async(func: Callable[..., Any]) -> Any:
    """Keep what the coroutine returns. As with functools, two that call at once may both run; a failure is not kept."""
    results: dict[Hashable, Any] = {}
    hits = 0

    @functools.wraps(func)
    async def cached(*args: Hashable, **kwargs: Hashable) -> Any:
        nonlocal hits
        into, key = results, (args, tuple(kwargs.items()))
        if key in into:
            hits += 1
        else:
            result = await func(*args, **kwargs)
            into.setdefault(key, result)
        return into[key]

    def cache_clear() -> None:
        nonlocal results, hits
        results, hits = {}, 0

    return _with(cached, cache_clear, lambda: CacheInfo(hits, len(results), None, len(results)))


def _with(cached: Any, cache_clear: Callable[[], None], cache_info: Callable[[], object]) -> Any:
    """The names that functools gives it. What it wraps was a method of a class, or a function: so is it."""
    cached.cache_clear, cached.cache_info = cache_clear, cache_info
    return cached
