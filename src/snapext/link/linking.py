"""The link of this process: made when it is first wanted, made anew in a forked child, ended with the process."""

from __future__ import annotations

import atexit
import os
import sys

from snapext.guest import notice
from snapext.guest.own import is_off
from snapext.guest.own_process import is_own_process
from snapext.guest.primitives import importing
from snapext.link import handler, process
from snapext.link.link import Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

IMPORT_WAIT_S = 1.0
"""A fork in a signal's handler may have interrupted an import that our thread, which imports, waits for."""

_link = Link()
_waited_for_import = False


def current() -> Link:
    """The link of this process."""
    return _link


def exchange(link: Link) -> Link:
    """For tests: have another link from now on, and return the one that there was."""
    global _link
    before, _link = _link, link
    return before


def hook_registered() -> None:
    """A hook has been registered: link this process, and bind the loop that runs here, if one does."""
    _never_raising(join)
    _never_raising(_bind_running_loop)
    _link.tell_hook_counts()


def join() -> None:
    """Link this process: by the thread, or, where it cannot have one, by handlers of the two signals."""
    if is_own_process() or is_off(os.environ):
        return
    _notice_a_fork()
    if os.environ.get("SNAPEXT_TRANSPORT") != "signal":
        if not _is_before_uwsgis_fork():
            handler.install(os.environ)
            _link.start()
        return
    from snapext.link import signal_handlers

    why_not = signal_handlers.install(os.environ, lambda phase: current().answer_signal(phase))
    if why_not is not None:
        notice.once("transport", f"SNAPEXT_TRANSPORT=signal: {why_not}; hooks of process {os.getpid()} will not run")


def _bind_running_loop() -> None:
    """Bind the loop that runs in this thread. Where none does, the app need not wait for an import."""
    get = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    if get is not None and get() is not None:
        from snapext.hooks import loops

        loops.bind_running_loop()


def _forget_loops() -> None:
    """In a fork: those that are bound or made are its parent's."""
    forget = getattr(sys.modules.get("snapext.hooks.loops"), "forget_loops", None)
    if forget is not None:
        forget()


def _is_before_uwsgis_fork() -> bool:
    if "uwsgi" not in sys.modules:
        return False
    from snapext.link import uwsgi

    return uwsgi.is_before_its_fork(lambda: _never_raising(join))


def _never_raising(call: Callable[[], None]) -> None:
    try:
        call()
    except Exception as error:  # the rest is to be done all the same
        notice.debug(f"{call.__name__}: {error!r}")


def _before_fork() -> None:
    global _waited_for_import
    _link.view.lock.acquire()
    _waited_for_import = importing.acquire(IMPORT_WAIT_S)


def _after_fork_in_parent() -> None:
    if _waited_for_import:
        importing.release()
    _link.view.lock.release()


def _after_fork_in_child() -> None:
    _never_raising(process.forks_now)
    _renew_link()


def _renew_link() -> None:
    global _link
    importing.free()
    _never_raising(_forget_loops)
    try:
        _link = _link.child()
    except Exception as error:  # a fork must not fail because of us
        notice.debug(f"a forked process is not linked: {error!r}")


def _notice_a_fork() -> None:
    """What forks in C without telling Python (uWSGI does) leaves the child with its parent's link."""
    if _link.pid != os.getpid():
        process.forked()
        _renew_link()


atexit.register(lambda: _link.end())
os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
