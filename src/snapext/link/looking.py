"""What the app's main thread does at the moment, and where a plain hook is to be called because of that."""

from __future__ import annotations

import os

from snapext.link.handler import ENV

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

START_WITHIN_S = 0.1

SERVERS = frozenset({"gunicorn.workers.sync", "gunicorn.workers.gthread", "socketserver", "waitress.wasyncore"})
"""The modules in which servers wait for requests, and hold nothing meanwhile that a hook could want.

An app that waits in the same system calls may be in the middle of something: it holds a lock, or a connection.
"""
WAITS_BENEATH = frozenset({"selectors", "socket"})
"""What a server calls to wait, as far as it is written in Python."""
WAITING = {
    # poll, select, accept, restart_syscall, epoll_wait, pselect6, ppoll, epoll_pwait, accept4, epoll_pwait2
    "x86_64": frozenset({7, 23, 43, 219, 232, 270, 271, 281, 288, 441}),
    # epoll_pwait, pselect6, ppoll, restart_syscall, accept, accept4, epoll_pwait2
    "aarch64": frozenset({22, 72, 73, 128, 202, 242, 441}),
}
"""The numbers of the system calls in which a server waits (linux/arch/*/entry/syscalls, include/uapi/asm-generic).

A wait with a time limit goes on as `restart_syscall` (restart_syscall(2)) once the process was stopped or frozen. A
sleep does, too: the module that waits says which of them it is.
"""

HERE, HELD, SIGNAL, LOOP, LINK = "here", "held", "signal", "loop", "link"
LATE = f"the main thread did not begin within {START_WITHIN_S * 1000:.0f} ms"


class Look:
    """What decides about where a hook is called. Each default is what lets the main thread be reached."""

    __slots__ = (
        *("blocked", "handler", "held", "in_main", "late", "loop", "patched", "server", "serves", "setting", "waits"),
    )

    def __init__(
        self,
        setting: str = "auto",
        *,
        in_main: bool = False,
        patched: bool = False,
        loop: bool = False,
        late: bool = False,
        held: bool = False,
        handler: bool = True,
        blocked: bool = False,
        waits: bool = True,
        server: str = "socketserver",
    ) -> None:
        self.setting = setting
        self.in_main = in_main  # we are in the main thread: told by a signal
        self.patched = patched  # threads are greenlets: ours is in the main thread, or the hub is
        self.loop = loop  # the app's loop is bound and runs
        self.late = late  # the main thread has not begun in time before
        self.held = held  # it waits in our middleware, with a request, until the hooks have run
        self.handler = handler  # the signal is ours
        self.blocked = blocked
        self.waits = waits  # in a system call in which servers wait
        self.server = server  # the module that waits
        self.serves = False  # such a module is at work there, and may soon wait


def decide(look: Look) -> tuple[str, str]:
    """Where to call a hook, and why, in words that follow "because"."""
    if look.in_main:
        return HERE, "this is the main thread"
    if look.setting == "link":
        return LINK, f"{ENV}=link"
    if look.patched:
        return LINK, "gevent or eventlet has replaced the threads"
    if look.late:
        return LINK, f"{LATE} before"
    if look.loop:
        if look.setting == "main":
            return LOOP, "the app's loop runs there"
        return LINK, f"a hook that waits for the app's loop would never end on it ({ENV}=main: none does)"
    if look.held:
        return HELD, "the middleware holds a request there"
    if not look.handler:
        return LINK, "no handler could be installed in the main thread, or the app has replaced it"
    if look.blocked:
        return LINK, "the main thread blocks the signal"
    if not look.waits:
        return LINK, "the main thread does not wait for requests, or its system call cannot be read"
    if look.server not in SERVERS:
        return LINK, f"{look.server or 'what is not Python'} is not a server that is known to wait with nothing in hand"
    return SIGNAL, f"{look.server} waits for requests there"


def waiting_module(frame: FrameType | None) -> str:
    """The module in which a thread waits, beneath what the standard library has for that."""
    while frame is not None and frame.f_globals.get("__name__") in WAITS_BENEATH:
        frame = frame.f_back
    return "" if frame is None else str(frame.f_globals.get("__name__"))


def is_beneath_a_server(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") in SERVERS:
            return True
        frame = frame.f_back
    return False


def loop_beneath(frame: FrameType | None) -> Any:
    """The loop that a thread runs, if no server is beneath it: where the thread waits is the loop's affair then."""
    if is_beneath_a_server(frame):
        return None
    while frame is not None:
        module, function = frame.f_globals.get("__name__"), frame.f_code.co_name
        if (module, function) == ("asyncio.base_events", "run_forever"):
            return frame.f_locals.get("self")
        if (module, function) == ("asyncio.runners", "run") and "self" in frame.f_locals:  # a loop in C, uvloop's
            return getattr(frame.f_locals["self"], "_loop", None)
        frame = frame.f_back
    return None


def _main_task() -> str:
    return f"/proc/self/task/{os.getpid()}"


def is_waiting() -> bool:
    try:
        with open(f"{_main_task()}/syscall", "rb") as file:
            number = file.read().split()[0]
        return int(number) in WAITING.get(os.uname().machine, ())
    except (OSError, ValueError, IndexError):  # `running`; or this kernel, or this user, may not read it
        return False


def is_blocked(number: int) -> bool:
    try:
        with open(f"{_main_task()}/status", "rb") as file:
            (mask,) = (line.split()[1] for line in file if line.startswith(b"SigBlk:"))
        return bool(int(mask, 16) >> (number - 1) & 1)
    except (OSError, ValueError, IndexError):
        return True
