"""snapext.fresh: what is cached is in no snapshot, and no clone has what is older than its restore."""

import asyncio
import functools
import gc
import itertools
import threading
import weakref

import pytest

import snapext
from helpers import LIMIT_S
from snapext.hooks import fresh as module
from snapext.testing import SnapStart


@pytest.fixture(autouse=True)
def snapstart():
    with SnapStart() as snapstart:
        yield snapstart


class Counted:
    """Functions that say how often they were called."""

    def __init__(self):
        self.calls = itertools.count(1)

    def plain(self, *args, **kwargs):
        return next(self.calls)

    async def awaited(self, *args, **kwargs):
        await asyncio.sleep(0)
        return next(self.calls)


def plain():
    return snapext.fresh(Counted().plain)


def with_lru_cache():
    return snapext.fresh(functools.lru_cache(maxsize=2)(Counted().plain))


def twice():
    return snapext.fresh(plain())


def with_a_cache_of_its_own():
    """As cachetools and async_lru make it."""
    counted, cache = Counted(), {}

    def cached(*args, **kwargs):
        return cache.setdefault((args, *kwargs.items()), counted.plain())

    cached.cache_clear = cache.clear
    return snapext.fresh(cached)


def partial():
    return snapext.fresh(functools.partial(Counted().plain, 1))


def awaited():
    async def ask(*args, **kwargs):
        return await counted.awaited()

    counted = Counted()
    cached = snapext.fresh(ask)
    call = functools.wraps(cached)(lambda *args, **kwargs: asyncio.run(cached(*args, **kwargs)))
    call.keep = cached
    return call


KINDS = [plain, with_lru_cache, twice, partial, awaited, with_a_cache_of_its_own]


@pytest.mark.parametrize("make", KINDS)
def test_each_clone_asks_again(make, snapstart):
    """Cached for each set of arguments; empty in the snapshot; what a late thread caches in it is not used."""
    secret = make()
    first = secret(1)
    assert secret(1) == first != secret(1, name="x")
    snapstart.before_snapshot()
    in_the_snapshot = secret(1)
    snapstart.after_restore()
    assert len({first, in_the_snapshot, secret(1)}) == 3
    assert secret(1) == secret(1)
    secret.cache_clear()


@pytest.mark.parametrize("make", KINDS[:5])
def test_the_cache_can_be_asked(make):
    """As with functools, whose settings stay."""
    secret = make()
    for argument in (1, 1, 2):
        secret(argument)
    info = secret.cache_info()
    assert (info.hits, info.misses, info.currsize) == (1, 2, 2)
    assert info.maxsize == (2 if make is with_lru_cache else None)


def test_the_hooks_of_an_app_use_it(snapstart):
    """Emptied behind the last before-snapshot hook, which may ask for it, and before the first after-restore hook."""
    seen = []
    snapext.register_before_snapshot(lambda: seen.append(secret()))
    snapext.register_after_restore(lambda: seen.append(secret()))
    secret = plain()
    other = plain()
    seen += [secret(), other()]
    ran = snapstart.run()
    assert seen == [1, 1, 1, 2]
    assert secret() == 2
    assert (ran.before_snapshot[-1], ran.after_restore[0]) == (
        "snapext.hooks.fresh.before_snapshot",
        "snapext.hooks.fresh.after_restore",
    )
    assert (len(ran.before_snapshot), len(ran.after_restore)) == (2, 2)


def test_no_value_is_in_the_snapshot(snapstart):
    """Nothing refers to it any more, whatever holds the function that was decorated."""

    class Secret:
        pass

    inner = functools.lru_cache(lambda: Secret())
    outer = snapext.fresh(inner)
    refs = [weakref.ref(inner()), weakref.ref(outer())]
    snapstart.before_snapshot()
    assert [ref() for ref in refs] == [None, None]


def test_methods():
    """Bound as they were; a class method beneath its decorator; each instance has its own."""

    class Vault(Counted):
        @snapext.fresh
        def read(self, name):
            "What it is."
            return next(self.calls)

        @classmethod
        @snapext.fresh
        def region(cls):
            return object()

        @staticmethod
        @snapext.fresh
        def key():
            return object()

        @snapext.fresh
        async def fetch(self):
            return next(self.calls)

    one, two = Vault(), Vault()
    assert [one.read("a"), one.read("a"), one.read("b"), two.read("a")] == [1, 1, 2, 1]
    assert Vault.region() is one.region()
    assert Vault.key() is two.key()
    assert asyncio.run(one.fetch()) == asyncio.run(one.fetch()) == 3
    assert (Vault.read.__doc__, Vault.read.__name__) == ("What it is.", "read")
    Vault.read.cache_clear()
    assert one.read("a") == 4


@pytest.mark.parametrize("kind", ["plain", "lru_cache"])
def test_a_call_that_is_under_way_keeps_nothing(kind, snapstart):
    """In a thread that has asked for it before, and gets it after."""
    began, go = threading.Event(), threading.Event()
    values = itertools.count(1)

    def ask():
        value = next(values)
        if value == 1:
            began.set()
            assert go.wait(LIMIT_S)
        return value

    secret = snapext.fresh(ask if kind == "plain" else functools.lru_cache(ask))
    late = threading.Thread(target=secret)
    late.start()
    assert began.wait(LIMIT_S)
    snapstart.run()
    go.set()
    late.join(LIMIT_S)
    assert secret() == 2


def test_a_coroutine_that_is_under_way_keeps_nothing(snapstart):
    """Nor one that fails."""
    values = itertools.count(1)

    async def ask():
        value = next(values)
        await go.wait()
        if value == 2:
            raise ConnectionError
        return value

    go = asyncio.Event()
    secret = snapext.fresh(ask)

    async def test():
        late = asyncio.get_running_loop().create_task(secret())
        await asyncio.sleep(0)
        await snapstart.arun()
        go.set()
        assert await late == 1
        with pytest.raises(ConnectionError):
            await secret()
        assert await asyncio.gather(secret(), secret()) == [3, 3]
        assert await secret() == 3

    asyncio.run(test())


def generator():
    yield 1


async def async_generator():
    yield 1


async def coroutine():
    pass


@pytest.mark.parametrize(
    ("func", "said"),
    [
        (generator, "generator is a generator function"),
        (async_generator, "async_generator is a generator function"),
        (functools.lru_cache(generator), "generator is a generator function"),
        (functools.lru_cache(coroutine), "coroutine is an async function, and functools caches its coroutine"),
        (classmethod(coroutine), "belongs beneath @classmethod"),
        (staticmethod(coroutine), "belongs beneath @staticmethod"),
        (functools.cached_property(coroutine), "cache a method instead"),
        (3, "takes a function, not 3"),
    ],
)
def test_what_cannot_be_cached_is_refused(func, said):
    """When it is decorated, with what to do."""
    with pytest.raises(TypeError, match=said):
        snapext.fresh(func)


def test_arguments_have_to_be_hashable():
    """As with functools."""
    with pytest.raises(TypeError, match="unhashable"):
        plain()([])
    with pytest.raises(TypeError, match="unhashable"):
        awaited()([])


def test_a_cache_that_cannot_be_emptied_fails_the_boundary(snapstart):
    """And the others are empty."""

    def broken():
        pass

    def fails():
        raise OSError("no")

    broken.cache_clear = fails
    snapext.fresh(broken)
    secret = plain()
    secret()
    with pytest.raises(snapext.testing.HookFailedError, match=r"fresh.before_snapshot failed .*OSError: no"):
        snapstart.run()
    assert secret() == 2


def test_what_is_gone_is_forgotten():
    """A function that is made in each request must not stay."""
    gc.collect()
    before = len(module._cached)
    secret = plain()
    assert len(module._cached) == before + 1
    del secret
    gc.collect()
    assert len(module._cached) == before
