"""uWSGI loads an app in its master and forks its workers from it in C, of which Python is told nothing.

A thread of ours in the master that wants the interpreter's lock at that moment leaves the lock in the worker in a state
in which the worker waits for a thread that it does not have: it hangs for ever. So in the master there is no thread,
and each worker is linked when uWSGI calls its hook there.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_deferred = False


def is_before_its_fork(link: Callable[[], None]) -> bool:
    """Whether this process is still to be forked; then `link` is called in each worker, once.

    A worker is numbered from 1. With neither a master nor a second worker, uWSGI calls the hook in the one there is.
    """
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is None:
        return False
    try:
        if uwsgi.worker_id() or uwsgi.masterpid() not in (0, os.getpid()):
            return False
    except AttributeError:  # another module of that name
        return False
    global _deferred
    if not _deferred:
        _deferred = True
        decorators = sys.modules.get("uwsgidecorators")
        if decorators is not None:
            decorators.postfork_chain.append(link)
        else:
            uwsgi.post_fork_hook = _after(getattr(uwsgi, "post_fork_hook", None), link)  # type: ignore[attr-defined]
    return True


def _after(earlier: Callable[[], object] | None, link: Callable[[], None]) -> Callable[[], None]:
    def hook() -> None:
        if earlier is not None:
            earlier()
        link()

    return hook
