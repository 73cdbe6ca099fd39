"""Typed use of the public API: checked by mypy --strict, never run. An ignore that is not needed is an error."""

import asyncio
import functools
import random
from collections.abc import Callable

import snapext
from snapext import get_after_restore, get_before_snapshot, register_after_restore, register_before_snapshot


class Pool:
    def close(self) -> None: ...


@register_before_snapshot
def close_pool() -> None: ...


@register_after_restore
async def open_pool() -> Pool:
    return Pool()


@register_after_restore
def with_default(size: int = 1, *, name: str = "main") -> str:
    return name * size


def resize(pool: Pool, size: int, *, name: str) -> bool:
    return bool(pool and size and name)


async def refill(pool: Pool, size: int) -> None: ...


# A decorated function keeps its type.
hook: Callable[[], None] = close_pool
coroutine = open_pool()
text: str = with_default(2, name="x")

# The call form takes the function's own arguments, and returns the function.
same: Callable[[Pool, int], object] = register_after_restore(refill, Pool(), 3)
register_after_restore(resize, Pool(), 3, name="main")
register_before_snapshot(Pool().close)
register_before_snapshot(lambda: None)

# What must not type-check.
register_after_restore(resize, Pool(), "3", name="main")  # type: ignore[arg-type]
register_after_restore(resize, Pool(), 3)  # type: ignore[call-arg]
register_after_restore(resize, Pool(), 3, name="main", color="red")  # type: ignore[call-arg]
register_before_snapshot(refill, Pool(), 3, 4)  # type: ignore[call-arg]
register_before_snapshot(resize)  # type: ignore[call-arg]
register_before_snapshot("close_pool")  # type: ignore[arg-type]
register_after_restore(None)  # type: ignore[arg-type]
wrong: int = with_default()  # type: ignore[assignment]


@register_after_restore  # type: ignore[call-arg]
def needs_an_argument(pool: Pool) -> None: ...


@register_before_snapshot()  # type: ignore[call-arg]
def called_without_a_function() -> None: ...


for func, args, kwargs in [*get_before_snapshot(), *get_after_restore()]:
    func(*args, **kwargs)

status = snapext.status()
phase: str = status.phase
generation: int = status.generation
environment_id: str | None = status.environment_id
restored_at: float | None = status.restored_at
connected: bool = status.connected
status.phase = "ready"  # type: ignore[misc]
certain: str = status.environment_id  # type: ignore[assignment]

restored: bool = snapext.is_restored()
restored = snapext.wait_restored()
restored = snapext.wait_restored(1.5)
restored = snapext.wait_restored(timeout=None)
snapext.wait_restored("1")  # type: ignore[arg-type]
snapext.connect()
snapext.reseed()
snapext.install_all()
own: random.Random = snapext.register_generator(random.Random())
snapext.register_generator(object(), reseed=random.seed)
snapext.bind_loop()
snapext.bind_loop(asyncio.new_event_loop())
snapext.bind_loop(asyncio)  # type: ignore[arg-type]


@snapext.fresh
def secret(name: str, *, version: int = 1) -> bytes:
    return name.encode() * version


@snapext.fresh
@functools.lru_cache(maxsize=8)
def token(name: str) -> str:
    return name


class Vault:
    @snapext.fresh
    def read(self, name: str) -> str:
        return name

    @classmethod
    @snapext.fresh
    def region(cls) -> str:
        return "eu"

    @snapext.fresh
    async def fetch(self, name: str) -> int:
        return len(name)


got: bytes = secret("x", version=2)
secret(1)  # type: ignore[arg-type]
token.cache_clear()
read: str = Vault().read("x")
Vault().read()  # type: ignore[call-arg]
region: str = Vault.region()


async def awaits() -> int:
    return await Vault().fetch("x")


snapext.fresh(3)  # type: ignore[type-var]
