"""This process's link to the extension: one daemon thread that connects, and waits to be told its phase.

An app that cannot have a thread is signalled instead (SNAPEXT_TRANSPORT=signal): it then connects, is told that one
phase, and hangs up.

It must be as if it were not there when there is no extension: it never raises into the app and never makes it wait.
What it needs only with an extension, and then only in a phase, its thread imports itself, when that comes: an app must
not wait for it. A fork waits meanwhile (`importing`). What a signal handler of the app may ask for is here from the
start: it can come in the middle of an import, whose other half nobody can have then.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` makes enums of what it returns: 265 us of each phase
import os
import sys

from snapext.guest import notice
from snapext.guest.own import is_snap_start
from snapext.guest.primitives import Alarm, get_ident, importing, monotonic, sleep, start_new_thread
from snapext.link.generation import Question
from snapext.link.view import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from snapext.hooks.runner import Outcome
    from snapext.link.conversation import Conversation
    from snapext.link.reach import Reached
    from snapext.link.status import Status
    from snapext.link.told import Order

FIRST_RETRY_S = 0.002
MAX_RETRY_S = 0.1  # well below the time that the extension waits for processes to join
GIVE_UP_AFTER_S = 60.0
"""The extension listens some milliseconds after the runtime starts: this long without it means that there is none."""
LOCAL_RETRY_S = 1.0
"""Outside of Lambda somebody may run `snapext signal` at any time."""
FOREIGN_RETRY_S = 30.0
"""An extension that speaks another version of the protocol goes on doing so."""
LASTED_S = 1.0
"""A connection that ends before that was no good: what comes next is one more attempt, after a longer pause."""
CONNECTED_WITHIN_S = 5.0
"""An extension that listens is reached in milliseconds; with a small part of a processor that takes longer."""
END_TIMEOUT_S = 0.1


class Link:
    """The link of one process. A forked child makes its own."""

    has_middleware = False
    """Whether a middleware runs the after-restore hooks of this program where no extension does."""

    def __init__(self, view: View | None = None, *, forked: bool = False, takes_part: bool = True) -> None:
        self.pid = os.getpid()
        self.view = view or View()
        self._forked = forked
        self._takes_part = takes_part
        self._app_mask: set[int] = set()
        self._conversation: Conversation | None = None
        self._question: Question | None = None
        self._pause = Alarm()
        self._ended = not takes_part
        self._wanted = False
        self._alive = False
        self._thread = 0

    # --- what the app's threads call -------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread unless it runs. It ends when it has given up, and a later call tries again.

        Where no thread can be had, so does the next call, and a forked child.
        """
        with self.view.lock:
            self._wanted = True
            if self._is_over() or self._alive:
                return
            self._alive = True
            # The thread begins with every signal blocked: one that the app has blocked for its own sigwait or signalfd
            # would otherwise be taken here, and do what it does by default.
            mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
            self._app_mask = mask
            try:
                start_new_thread(self._run, ())
            except Exception as error:
                self._alive = False
                if not sys.is_finalizing():
                    notice.once(
                        "no thread",
                        f"process {self.pid} is not linked to the extension: it cannot start a thread ({error}). Its "
                        "hooks will not run, unless the next hook that it registers finds one; look at the limits of "
                        "threads and memory, or set SNAPEXT_TRANSPORT=signal",
                    )
                    if (reached := _reach()) is not None:
                        self._converse().show_hooks(reached)
            finally:
                _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)

    def answer_signal(self, phase: str) -> None:
        """A signal says that there is something to do: connect, be told, run the hooks in this thread, and hang up.

        Where a loop runs in it, they run as a task of that loop: a hook that awaits would wait for the loop, and the
        loop for this handler to return.
        """
        try:
            reached = _reach()
            if reached is None:
                notice.once(
                    "signal unanswered",
                    f"signalled for {phase}, and no extension answers: hooks of process {self.pid} did not run",
                )
                return
            self._converse().hold_for(phase, reached)
        except Exception as error:
            if not _is_foreign(error):
                notice.once(
                    "signal failed",
                    f"signalled for {phase}: {error!r}; hooks of process {self.pid} may not have run",
                )

    def tell_hook_counts(self) -> None:
        """Tell the extension how many hooks there are now, if that has changed."""
        if self._conversation is not None:
            self._conversation.tell_hook_counts()

    def status(self) -> Status:
        return self.view.status(connected=self.is_connected())

    def ask_generation(self) -> None:
        """Have `view.generation` be what the extension says it is. See Question.ask."""
        if get_ident() != self._thread:
            if self._question is None:
                self._question = Question(self.view)
            self._question.ask(lambda: not self._alive)

    def wait_connected(self) -> None:
        """Wait until the extension knows this process, CONNECTED_WITHIN_S at most; not where no thread connects it."""

        def is_known() -> bool:
            with self.view.lock:  # under which it says hello
                return self.is_connected() or not self._alive

        self.view.wait_for(is_known, CONNECTED_WITHIN_S)

    def child(self) -> Link:
        """The link of a forked child, started if this one was to be. Called in the child, whose copy this is.

        A child that a hook forks is that hook's own affair: it does not take part, or it would be told to run the very
        hook that has just forked it.
        """
        conversation = self._conversation
        by_a_hook = get_ident() == self._thread or (
            conversation is not None and conversation.runs_a_hook_in(get_ident())
        )
        self._ended = True
        link = Link(self.view.child(), forked=True, takes_part=not by_a_hook)
        if conversation is not None:
            conversation.abandon()
        if self._wanted:
            link.start()
        return link

    def end(self) -> None:
        """The process ends: so does the thread, if it is not in the middle of something.

        A daemon thread that wakes up while the interpreter goes is ended by the C library, which opens a file for that,
        and aborts the process where it has no descriptor left.
        """
        self._ended = True
        self._pause.ring()
        deadline = monotonic() + END_TIMEOUT_S
        while self._waits_to_connect() and get_ident() != self._thread and monotonic() < deadline:
            sleep(END_TIMEOUT_S / 100)

    def _waits_to_connect(self) -> bool:
        return self._alive and not self.is_connected()

    def _converse(self) -> Conversation:
        if self._conversation is None:
            with importing:
                from snapext.link.conversation import Conversation

            with self.view.lock:  # a request that finds no extension may want one, too
                self._conversation = self._conversation or Conversation(
                    self.view, forked=self._forked, takes_part=self._takes_part, app_mask=self._app_mask
                )
        return self._conversation

    # --- what a middleware calls -----------------------------------------------------------------------------------

    def is_connected(self) -> bool:
        return self._conversation is not None and self._conversation.is_connected()

    def prepare(self) -> None:
        """Have what runs hooks, where no phase before the snapshot makes sure of that."""
        self._converse().prepare()

    def run_alone(self, order: Order) -> Outcome:
        """Run the hooks of a phase in this thread, once: no extension tells it."""
        return self._converse().run_alone(order)

    def outcome(self, order: Order) -> Outcome | None:
        """How a phase has ended in this process, if it has."""
        return None if self._conversation is None else self._conversation.outcome(order)

    # --- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._thread = get_ident()
        try:
            _dress_thread("snapext-link")
            self._connect_again_and_again()
        finally:
            self._thread = 0  # the next thread of the app may get its ident
            self._alive = False
            self.view.has_news()

    def _connect_again_and_again(self) -> None:
        pauses = _pauses()
        while not self._is_over():
            began: float | None = None
            try:
                reached = _reach()
                if reached is not None:
                    began = monotonic()
                    self._converse().hold(reached)
            except Exception as error:
                if _is_foreign(error):
                    pauses = _pauses(FOREIGN_RETRY_S)
                else:
                    notice.once(
                        "link failed",
                        f"the link of process {self.pid} to the extension failed, and it reconnects: {error!r}",
                    )
            self.view.has_tried()
            if began is not None and monotonic() - began >= LASTED_S:
                pauses = _pauses()
            pause_s = next(pauses, None)
            if self._is_over():
                return
            if pause_s is None:
                self._report_giving_up(began is not None)
                return
            self._pause.wait(pause_s)

    def _is_over(self) -> bool:
        return self._ended or self.view.is_over()

    def _report_giving_up(self, answered: bool) -> None:
        if not is_snap_start(os.environ) or self.view.generation:
            return
        from snapext.wire.place import socket_path

        path = socket_path(os.environ, os.geteuid())
        what = (
            f"the extension at {path} has hung up on it for {GIVE_UP_AFTER_S:.0f} s; its log says why"
            if answered
            else f"no extension answers at {path} after {GIVE_UP_AFTER_S:.0f} s; is the snapext layer attached?"
        )
        if self.has_middleware:
            notice.debug(f"the middleware runs the after-restore hooks: {what}")
            return
        notice.once("gave up", f"the hooks of process {self.pid} will not run: {what}")


def _reach() -> Reached | None:
    """See `snapext.link.reach`. Where no descriptor is left to import it, the next attempt does."""
    try:
        with importing:
            from snapext.link.reach import reach
    except OSError:
        return None
    return reach()


def _is_foreign(error: Exception) -> bool:
    kind = getattr(sys.modules.get("snapext.link.reach"), "ForeignError", ())
    return isinstance(error, kind)


def _dress_thread(name: str) -> None:
    """What threading.Thread would have done for it: a name, and the app's tracers. Ornaments.

    Not in an app that does not know of threads (yet): this thread would be the one that imports `threading`.
    """
    threading = sys.modules.get("threading")
    if threading is None:
        return
    try:
        if (trace := threading.gettrace()) is not None:
            sys.settrace(trace)
        if (profile := threading.getprofile()) is not None:
            sys.setprofile(profile)
        threading.current_thread().name = name
    except Exception as error:
        notice.debug(f"a thread without a name: {error!r}")


def _pauses(first_s: float = FIRST_RETRY_S) -> Iterator[float]:
    """Seconds to wait between attempts: short at first, and on Lambda not for ever."""
    yield first_s
    wait_s, total_s = FIRST_RETRY_S, 0.0
    while total_s < GIVE_UP_AFTER_S:
        yield wait_s
        total_s += wait_s
        wait_s = min(wait_s * 2, MAX_RETRY_S)
    while "AWS_LAMBDA_RUNTIME_API" not in os.environ:
        yield LOCAL_RETRY_S
