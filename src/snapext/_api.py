"""The public functions that need more than the registry, each of which imports that when it is called.

`import snapext` is on the path of every cold start and must cost no more than registering a hook needs.
"""

from __future__ import annotations

import os

from snapext._own import is_expected, is_own_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio

    from snapext._status import Status


def connect() -> None:
    """Link this process to the extension now, hooks or none. Registering the first hook does this by itself.

    Never raises, never waits.
    """
    try:
        from snapext import _link

        _link.join()
    except Exception as error:  # an app must start whatever is wrong with us
        from snapext._registry import report_unlinked

        report_unlinked(error)


def connect_if_expected() -> None:
    """What `import snapext` does: link a process of the app where an extension is to be expected, and nothing else."""
    if is_expected(os.environ) and not is_own_process():
        connect()


def bind_loop(loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Have `async def` hooks run on `loop`; by default on the running one.

    Call it where the app's loop runs, for example in an ASGI lifespan. A hook that is registered while a loop runs
    binds that loop by itself. Raises RuntimeError when no loop is given and none runs.
    """
    from snapext import _loops

    _loops.bind_loop(loop)


def status() -> Status:
    """This process's view of the environment: phase, generation, environment id, and whether it is linked."""
    from snapext import _link

    return _link.current().status()


def is_restored() -> bool:
    """True once this process runs in a restored environment and its after-restore hooks are done.

    True from the start in a process that began after the restore: it has nothing to run. The first call asks the
    extension for that, and may wait some milliseconds for it (a second at most). Always False in an environment that
    was not initialised for SnapStart.
    """
    from snapext import _link

    if not _link.current().generation and os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        connect()
        _link.current().ask_generation()
    return _link.current().generation > 0


def wait_restored(timeout: float | None = None) -> bool:
    """Wait until `is_restored()`, for `timeout` seconds at most (None: no limit), and return it.

    Returns False at once where no restore will come: AWS_LAMBDA_INITIALIZATION_TYPE is not `snap-start`.
    """
    from snapext import _link

    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") != "snap-start":
        return is_restored()
    connect()  # a process without hooks has no link yet, and would never hear of the restore
    return _link.current().wait_restored(timeout)


def checkpoint() -> None:
    """Say that this function is up, and wait until it has been restored and every hook in every process has run.

    For a runtime of your own (SNAPEXT_MODE=explicit): call it once the server listens, before the first
    `invocation/next`. Returns at once where AWS_LAMBDA_INITIALIZATION_TYPE is not `snap-start`. Hooks of this process
    run meanwhile, on another thread (with SNAPEXT_TRANSPORT=signal, in the main thread).

    Raises CheckpointError (snapext.errors) when a hook failed, or no extension is there.
    """
    from snapext import _checkpoint

    _checkpoint.checkpoint()


def reseed() -> None:
    """Reseed `random`, and the global generators of numpy and torch where they are already imported.

    Done by itself before the first after-restore hook, unless SNAPEXT_RESEED=0.
    """
    from snapext import _link, _reseed

    _reseed.reseed(_link.current().environment_id)
