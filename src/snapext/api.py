"""The public functions. Each imports what it needs beyond the registry when it is called.

`import snapext` is on the path of every cold start and must cost no more than registering a hook needs.
"""

from __future__ import annotations

import os

from snapext.guest.own import awaits_restore, is_expected, is_off
from snapext.hooks import registry
from snapext.hooks.registry import get_after_restore, get_before_snapshot

__all__ = [
    "bind_loop",
    "checkpoint",
    "connect",
    "connect_if_expected",
    "fresh",
    "get_after_restore",
    "get_before_snapshot",
    "install_all",
    "is_restored",
    "register_after_restore",
    "register_before_snapshot",
    "register_generator",
    "reseed",
    "status",
    "wait_restored",
]

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` itself would cost every cold start more than this module does
    import asyncio
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    from snapext.link.status import Status

    F = TypeVar("F", bound=Callable[..., object])
    G = TypeVar("G")
    P = ParamSpec("P")
    R = TypeVar("R")


def register_before_snapshot(func: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Callable[P, R]:
    """Call `func(*args, **kwargs)` in this process before the snapshot; hooks run in reverse order of registration.

    Usable as a decorator. `func` may be `async def`. A function registered twice runs twice. Returns `func`.
    Never raises and never blocks; without snapext's extension nothing calls the hook.
    """
    registry.add(registry.get_before_snapshot(), (func, args, kwargs))
    return func


def register_after_restore(func: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Callable[P, R]:
    """Call `func(*args, **kwargs)` in this process after a restore; hooks run in order of registration.

    Usable as a decorator. `func` may be `async def`. A function registered twice runs twice. Returns `func`.
    Never raises and never blocks; without snapext's extension nothing calls the hook.
    """
    registry.add(registry.get_after_restore(), (func, args, kwargs))
    return func


def register_generator(generator: G, reseed: Callable[[int], object] | None = None) -> G:
    """Have a random generator of your own renewed in this process after a restore, before the first hook. Returns it.

    For a `random.Random`, a generator of numpy or torch, and whatever has a method `reseed(n)` or `seed(n)`; for
    anything else `reseed` is called with a whole number below 2 ** 512. A fork has its parent's. It is kept for as long
    as the process lives. Never raises and never blocks; one that could not be renewed fails the boundary.
    """
    from snapext.guest.primitives import importing

    with importing:
        from snapext.hooks import generators

    generators.register(generator, reseed)
    connect()
    return generator


def fresh(func: F) -> F:
    """Cache what `func` returns, for each set of arguments, until the snapshot: a secret is in no clone, and never old.

    A decorator for a function, a method or an `async def`, or for what has a cache: above `@functools.lru_cache`, whose
    settings it keeps, or anything with a method `cache_clear()`. The cache is emptied in this process when its
    before-snapshot hooks are done, and again before its after-restore hooks. A call that is under way keeps nothing.
    The function has `cache_clear()` and `cache_info()`, as with functools; any thread may call it, and two that call at
    once may both run it. Raises TypeError where it cannot cache: a generator, a property, an `async def` beneath
    `lru_cache`.
    """
    from snapext.hooks import fresh

    cached: F = fresh.fresh(func)
    return cached


def _link_this_process() -> None:
    """Link this process on its first hook, and tell the link about each hook. Registering never raises."""
    if is_off(os.environ):
        return
    try:
        # On first use: it imports sockets and threads, which `import snapext` must not.
        from snapext.link import linking

        linking.hook_registered()
    except Exception as error:
        _report_unlinked(error)


def install_all() -> None:
    """Take care of every library with an integration that this process has loaded when the snapshot is near.

    The same as SNAPEXT_INTEGRATIONS=auto. docs/integrations.md says what is done for each, and what cannot be. Each
    closes what must not be frozen when the app's own before-snapshot hooks are done, and renews it before the app's
    after-restore hooks, wherever this is called. Called twice it does nothing more, and with SNAPEXT_MODE=off nothing.
    Never raises and never blocks.
    """
    _install("auto")


def _install(setting: str) -> None:
    if is_off(os.environ):
        return
    try:
        from snapext.integrations import frame

        frame.install_all(setting)
    except Exception as error:
        from snapext.guest import notice

        notice.once("integrations", f"process {os.getpid()} has no integrations: {error!r}")


registry.when_registered = _link_this_process


def connect() -> None:
    """Link this process to the extension now, even without hooks. The first registered hook does this too.

    Never raises, never waits.
    """
    try:
        from snapext.link import linking

        linking.join()
    except Exception as error:  # the app must start, whatever goes wrong in snapext
        _report_unlinked(error)


def _report_unlinked(error: Exception) -> None:
    from snapext.guest import notice

    line = f"process {os.getpid()} is not linked, and its hooks will not run: {error!r}"
    if is_expected(os.environ):
        notice.once("not linked", line)
    else:
        notice.debug(line)


def connect_if_expected() -> None:
    """Link a process of the app where an extension is expected. `import snapext` does this and nothing else."""
    if not is_expected(os.environ):
        return
    from snapext.guest.own_process import is_own_process

    if not is_own_process():
        setting = os.environ.get("SNAPEXT_INTEGRATIONS", "none")
        if setting not in ("none", ""):
            _install(setting)
        connect()


def bind_loop(loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Run `async def` hooks on `loop`; by default on the running loop.

    Call it where the app's loop runs, for example in an ASGI lifespan. Registering a hook while a loop runs also
    binds that loop. Raises RuntimeError when no loop is given and none runs.
    """
    from snapext.hooks import loops

    loops.bind_loop(loop)


def status() -> Status:
    """This process's view of the environment: state, generation, environment id, and whether it is linked."""
    from snapext.link import linking

    return linking.current().status()


def is_restored() -> bool:
    """True once this process runs in a restored environment and its after-restore hooks are done.

    True from the start in a process that started after the restore: it has nothing to run. The first call asks the
    extension, and may wait some milliseconds for the answer (at most a second). Always False in an environment that
    was not initialised for SnapStart, and with SNAPEXT_MODE=off, where nobody says whether it is a restored one.
    """
    from snapext.link import linking

    if not linking.current().view.generation and awaits_restore(os.environ):
        connect()
        linking.current().ask_generation()
    return linking.current().view.generation > 0


def wait_restored(timeout: float | None = None) -> bool:
    """Wait until `is_restored()` is true, at most `timeout` seconds (None: no limit), and return its value.

    Returns False at once where no restore will come, or nobody says so: AWS_LAMBDA_INITIALIZATION_TYPE is not
    `snap-start`, or SNAPEXT_MODE=off.
    """
    from snapext.link import linking

    if not awaits_restore(os.environ):
        return is_restored()
    connect()  # a process without hooks has no link yet, and would never learn of the restore
    return linking.current().view.wait_restored(timeout)


def checkpoint() -> None:
    """Report that this function is up, and wait until it is restored and every hook in every process has run.

    For a runtime of your own (SNAPEXT_MODE=explicit): call it once the server listens, before the first
    `invocation/next`. Returns at once where AWS_LAMBDA_INITIALIZATION_TYPE is not `snap-start`, and with
    SNAPEXT_MODE=off, which it says in one line. While it waits, hooks of this process run on another thread (with
    SNAPEXT_TRANSPORT=signal, in the main thread).

    Raises CheckpointError (snapext.errors) when a hook fails or there is no extension.
    """
    from snapext.command import checkpoint

    checkpoint.checkpoint(_wait_connected)


def _wait_connected() -> None:
    """The extension does not wait for the hooks of a process that it has not heard of."""
    from snapext.link import linking

    linking.current().wait_connected()


def reseed() -> None:
    """Renew `random`, OpenSSL's generators, those of numpy and torch, and all that were registered.

    Called automatically before the first after-restore hook, unless SNAPEXT_RESEED=0. docs/generators.md has the whole
    list. Raises RuntimeError, after all others are renewed, if a registered generator could not be.
    """
    from snapext.guest.primitives import importing
    from snapext.link import linking

    with importing:
        from snapext.hooks import reseed

    reseed.reseed(linking.current().view.environment_id)
