"""Call a plain hook in the app's main thread, where that waits for requests: what belongs to the thread is reached so.

As the managed runtime does it: an SQLite connection made by the module, a threading.local, Django's connections. The
link's thread looks at what the main thread does (`Look`), decides (`decide`), and hands the call over by a signal or to
the loop. The thread that takes the claim first makes the call, so it is made once: if the main thread has not begun
within 100 ms, it is made in the link's thread after all. A call that has begun is never moved.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` makes enums of what it returns
import os
import sys
import time
from _thread import allocate_lock

from snapext.guest import notice
from snapext.guest.primitives import NATIVE, get_ident, monotonic, sleep
from snapext.hooks import loops
from snapext.link import handler, looking, process
from snapext.link.handler import ENV
from snapext.link.looking import HELD, HERE, LATE, LINK, LOOP, SERVERS, SIGNAL, START_WITHIN_S, Look, decide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    from snapext.link.view import View

SLICE_S, LOOK_AGAIN_S = 0.01, 0.002
ANSWER_WITHIN_S = 1.0


_job: _Job | None = None


def _answer(frame: FrameType | None) -> None:
    """In the handler of the signal."""
    job = _job
    if job is not None:
        if looking.waiting_module(frame) in SERVERS:
            job.run_if_not_claimed()
        else:  # it has gone on since we looked
            job.decline()


handler.answer = _answer


# --- a request that a middleware holds there -------------------------------------------------------------------------

_wake: Callable[[], None] | None = None
"""While the main thread is held: how to have it look for a call."""


def hold(view: View, predicate: Callable[[], bool], timeout_s: float) -> None:
    """Hold a request in this thread until `predicate` is true. The main thread makes the hooks' calls meanwhile."""
    global _wake
    if not process.is_main_thread():
        view.wait_for(predicate, timeout_s)
        return

    def makes_calls() -> bool:
        job = _job
        if job is not None:
            job.run_if_not_claimed()
        return predicate()

    _wake = view.has_news
    try:
        view.wait_for(makes_calls, timeout_s)
    finally:
        _wake = None


class _Job:
    """One call, for either thread: the first that takes the claim makes it."""

    def __init__(self, call: Callable[[], Any], in_hook: Callable[[bool], None], answered: Callable[[], None]) -> None:
        self._call = call
        self._in_hook = in_hook
        self._wait_for_the_answer = answered
        self._claim = allocate_lock()
        self._settled = allocate_lock()
        self._settled.acquire()
        self.declined = False
        self.result: Any = None
        self.error: BaseException | None = None

    def run_if_not_claimed(self) -> None:
        """In the main thread. A Ctrl-C that came meanwhile is the main thread's, once the phase is answered."""
        if not self._claim.acquire(False):
            return
        self._in_hook(True)
        try:
            self.result = self._call()
        except BaseException as error:  # it is raised in the thread that waits
            self.error = error
        finally:
            self._in_hook(False)
            self._settled.release()
        if isinstance(self.error, KeyboardInterrupt):
            self._wait_for_the_answer()
            raise KeyboardInterrupt

    def run_hiding_the_loop(self, loop: Any) -> None:
        """The same on a loop's thread: asyncio.run() and the like refuse where one runs."""
        import asyncio

        asyncio._set_running_loop(None)
        try:
            self.run_if_not_claimed()
        finally:
            asyncio._set_running_loop(loop)

    def decline(self) -> None:
        """In the main thread, which does not make the call."""
        if self._claim.acquire(False):
            self.declined = True
            self._settled.release()

    def take_back(self) -> bool:
        """Take the claim, in the thread that handed it over. False: the main thread has it."""
        return self._claim.acquire(False)

    def wait(self, slices: int) -> int:
        """Wait until it is settled. Returns how many slices are left, or -1: the claim is ours, and it was not made.

        In slices, so that the time in which the whole function is held back, by its share of a CPU, does not count.
        """
        while not self._settled.acquire(True, SLICE_S):
            slices -= 1
            if slices <= 0:
                if self.take_back():
                    return -1
                self._settled.acquire()
                break
        return max(slices, 0)


# --- one process ----------------------------------------------------------------------------------------------------


class MainThread:
    """The main thread as the hooks of one process find it: whether it was late is remembered for the restore."""

    def __init__(self) -> None:
        self.in_hook = 0
        """The thread in which a hook runs that is not the link's own."""
        self._late = False
        self._tried = False
        self._answered = allocate_lock()
        self._setting = ""

    def phase_begins(self) -> None:
        self._answered.acquire(False)

    def phase_is_answered(self) -> None:
        if self._answered.locked():
            self._answered.release()

    def settle(self) -> Callable[[], bool]:
        """Before the snapshot: what the environment says then is what counts after the restore.

        Returns what `_look` and `decide` would say of a call then, by a glance: True if it is not the main thread's.
        """
        self._setting = setting = os.environ.get(ENV, "auto")
        main = process.main_thread()
        loop = None if setting == "main" else looking.loop_beneath(sys._current_frames().get(main))
        own, is_running = self._setting == "link" or not NATIVE, getattr(loop, "is_running", None)
        if hasattr(loop, "_thread_id"):
            is_running = None  # asyncio's own says more, for fewer pages

        def is_left_alone() -> bool:
            if own or self._late or time.sleep is not sleep:
                return True
            if loop is None or _wake is not None or loops.bound() not in (None, loop):
                return self._is_left_alone()
            if loop._thread_id == main if is_running is None else is_running():
                return True  # it still runs there, and no server is beneath it, as none was
            return self._is_left_alone()

        return is_left_alone

    def _is_left_alone(self) -> bool:
        if process.is_main_thread():
            return True
        if loops.bound_running_loop() is not None and _app_loop_is_in_main():
            return self._setting != "main"
        if _wake is not None:
            return False
        if not handler.is_there():
            return True
        return not looking.is_beneath_a_server(sys._current_frames().get(process.main_thread()))

    def probe(self) -> None:
        """Find out before the snapshot whether it can be reached, so that the restore loses no time with it."""
        if not self._tried:
            self._offer(_nothing)

    def call(self, name: str, call: Callable[[], Any]) -> Any:
        """Make a call where it belongs, and return or raise what it does."""
        way, why, job = self._offer(call)
        if job is None:
            notice.debug(f"the hook {name} runs in {'this thread' if way == HERE else 'snapext-link'}: {why}")
            return call()
        notice.debug(f"the hook {name} ran in the main thread: {why}")
        if job.error is None:
            return job.result
        try:
            raise job.error
        finally:
            job.error = None  # its traceback holds the job

    def _offer(self, call: Callable[[], Any]) -> tuple[str, str, _Job | None]:
        """Have the main thread make a call. Returns where it belongs, why, and the job if it was made there."""
        slices = round(START_WITHIN_S / SLICE_S)
        deadline = monotonic() + START_WITHIN_S
        try:
            while True:
                look = self._look()
                way, why = decide(look)
                if way in (HELD, SIGNAL, LOOP):
                    self._tried = True
                    job = _Job(call, self._mark, self._wait_for_the_answer)
                    if not self._hand_over(job, way):
                        break
                    slices = job.wait(slices)
                    _forget(job)
                    if slices >= 0 and not job.declined:
                        return way, why, job
                elif not look.serves:
                    return way, why, None
                if slices <= 0 or monotonic() >= deadline:
                    break
                sleep(LOOK_AGAIN_S)  # it serves, and is in the middle of something
        except Exception as error:  # ours, and nothing is handed over: the hook has to run all the same
            return LINK, f"the main thread cannot be looked at: {error!r}", None
        self._late = self._tried = True
        notice.once(
            "main thread late",
            f"hooks of process {os.getpid()} run in the thread snapext-link: {LATE}. What belongs to the main thread "
            f"is not reached there; {ENV}=link says that none of it is needed",
        )
        return LINK, LATE, None

    def _hand_over(self, job: _Job, way: str) -> bool:
        """Whether the main thread has it, or may have: if not, the claim is ours."""
        global _job
        try:
            if way == LOOP:
                loop = loops.bound_running_loop()
                if loop is None:
                    return False
                loop.call_soon_threadsafe(job.run_hiding_the_loop, loop)
            elif way == HELD:
                _job, wake = job, _wake
                if wake is None:  # it has just gone on
                    return not job.take_back()
                wake()
            else:
                _job = job
                _signal.pthread_kill(process.main_thread(), handler.number)
        except Exception as error:  # the loop has just been closed, or the thread has ended
            notice.debug(f"the main thread cannot be reached: {error!r}")
            return not job.take_back()
        return True

    def _mark(self, begins: bool) -> None:
        self.in_hook = get_ident() if begins else 0

    def _wait_for_the_answer(self) -> None:
        self._answered.acquire(True, ANSWER_WITHIN_S)

    def _look(self) -> Look:
        setting = os.environ.get(ENV, "auto")
        in_main = process.is_main_thread()
        look = Look(
            setting,
            in_main=in_main,
            patched=not NATIVE or time.sleep is not sleep,
            loop=_app_loop_is_in_main(),
            late=self._late,
            held=_wake is not None,
            handler=handler.is_there(),
        )
        if decide(look)[0] == SIGNAL:  # what is to be read costs 50 us
            frame = sys._current_frames().get(process.main_thread())
            look.server, look.serves = looking.waiting_module(frame), looking.is_beneath_a_server(frame)
            look.blocked = looking.is_blocked(handler.number)
            look.waits = looking.is_waiting()
        return look


def _forget(job: _Job) -> None:
    """A late signal finds nothing to do, and what the hook holds is not kept."""
    global _job
    if _job is job:
        _job = None


def _nothing() -> None:
    pass


def _app_loop_is_in_main() -> bool:
    """Whether the bound loop runs there, as far as can be told (uvloop does not say), and can be hidden from a hook."""
    loop = loops.bound_running_loop()
    if loop is None or not hasattr(sys.modules.get("asyncio"), "_set_running_loop"):
        return False
    return getattr(loop, "_thread_id", None) in (None, process.main_thread())
