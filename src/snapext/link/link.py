"""This process's link to the extension: one daemon thread that waits to be told of the boundary.

An app that cannot have a thread is told by a signal instead (SNAPEXT_TRANSPORT=signal): it then connects, is told of
that one phase, and hangs up.

It must be as if it were not there when there is no extension: it never raises into the app and never makes it wait.
What it imports is imported when the process is linked, in the app's own thread: an import in the link's thread could be
cut in half by a fork, and the module's import lock stay taken in the child.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` makes enums of what it returns: 265 us of each phase
import atexit
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from snapext.errors import LocalProtocolError, RemoteProtocolError
from snapext.guest import notice
from snapext.guest.own import is_own_process
from snapext.guest.primitives import Alarm, Changes, Lock, get_ident, monotonic, sleep, start_new_thread
from snapext.hooks import loops, registry, runner
from snapext.link import process, uwsgi
from snapext.link.channel import Channel, UntrustedError, connect
from snapext.link.status import Status
from snapext.link.told import FIRST_LOOK_S, MAX_LOOK_S, Told, signal_mask
from snapext.wire.messages import (
    APP,
    PROTOCOL_VERSION,
    AfterRestore,
    BeforeSnapshot,
    Describe,
    Described,
    Hello,
    HookCounts,
    Hooks,
    Message,
    Shutdown,
    Welcome,
)
from snapext.wire.place import socket_path

if TYPE_CHECKING:
    import asyncio

CLIENT = "snapext-python/0.1.0"
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
SIGNAL_TIMEOUT_S = 5.0
"""Whoever has sent the signal waits for us: it takes no time to be told what for."""
ASK_TIMEOUT_S = 1.0
END_TIMEOUT_S = 0.1
MAX_NAMES = 250
MAX_RARE_LOOK_S = 1.0
LOOK_SHARE = 0.05
"""How much longer an import seems to take because we look less often."""


class _ForeignError(Exception):
    """The extension speaks a version of the protocol that we do not know."""


class Link:
    """The link of one process. A forked child makes its own."""

    def __init__(
        self, generation: int = 0, environment_id: str | None = None, *, forked: bool = False, takes_part: bool = True
    ) -> None:
        self.lock = Lock()
        self.pid = os.getpid()
        self.phase = "init"
        self.generation = generation
        self.environment_id = environment_id
        self.restored_at: float | None = None
        self._changes = Changes()
        self._pause = Alarm()
        self._forked = forked
        self._ended = not takes_part
        self._told = Told(takes_part=takes_part)
        self._channel: Channel | None = None
        self._counts = HookCounts()  # as the extension knows them
        self._importing = False
        self._wanted = False
        self._alive = False
        self._thread = 0
        self._signal_mask: set[int] = set()
        self._tried = False  # a first attempt to connect has ended, well or badly
        self._asked_until: float | None = None
        self._answering = False
        self._in_hook = 0  # the thread in which a hook runs that a signal has asked for
        self._tasks: set[asyncio.Task[None]] = set()

    # --- what the app's threads call -------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread unless it runs. It ends when it has given up, and a later call tries again.

        Where no thread can be had, so does the next call, and a forked child.
        """
        with self.lock:
            self._wanted = True
            if self._ended or self._alive or self.phase == Shutdown.type:
                return
            self._alive = True
            # The thread begins with every signal blocked: one that the app has blocked for its own sigwait or signalfd
            # would otherwise be taken here, and do what it does by default.
            self._signal_mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
            try:
                start_new_thread(self._run, ())
            except Exception as error:
                self._alive = False
                if not sys.is_finalizing():
                    notice.once(
                        "no thread",
                        f"process {self.pid} is not linked to the extension: no thread can be started ({error}). Its "
                        "hooks will not run, unless the next hook that it registers finds one; look at the limits of "
                        "threads and memory, or set SNAPEXT_TRANSPORT=signal",
                    )
                    self._show_hooks()
            finally:
                _signal.pthread_sigmask(_signal.SIG_SETMASK, self._signal_mask)

    def _show_hooks(self) -> None:
        """Say hello and hang up: the extension then knows of hooks that it cannot reach, and takes no snapshot."""
        channel = self._connect()
        if channel is not None:
            self._counts = _hook_counts()
            channel.post(self._hello(signalled=False))
            channel.close()

    def answer_signal(self, phase: str) -> None:
        """A signal says that there is something to do: connect, be told, run the hooks in this thread, and hang up.

        Where a loop runs in it, they run as a task of that loop: a hook that awaits would wait for the loop, and the
        loop for this handler to return.
        """
        try:
            channel = self._connect()
            if channel is None:
                notice.once(
                    "signal unanswered",
                    f"told of {phase} by a signal, and no extension answers: hooks of process {self.pid} did not run",
                )
                return
            channel.limit(SIGNAL_TIMEOUT_S)
            self._converse(channel, only=phase)
        except _ForeignError:
            pass
        except Exception as error:
            notice.once(
                "signal failed",
                f"told of {phase} by a signal: {error!r}; hooks of process {self.pid} may not have run",
            )

    def tell_hook_counts(self) -> None:
        """Tell the extension how many hooks there are now, if that has changed."""
        with self.lock:
            counts = _hook_counts()
            channel = self._channel
            if channel is None or counts == self._counts or channel.is_behind():
                return  # not linked, nothing new, or the extension is slow: it hears of them before the phase
            self._counts = counts
            channel.post(Hooks(counts, self._importing))

    def status(self) -> Status:
        with self.lock:
            return Status(
                phase=self.phase,
                generation=self.generation,
                environment_id=self.environment_id,
                restored_at=self.restored_at,
                initialization_type=os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE"),
                connected=self._channel is not None,
            )

    def wait_restored(self, timeout: float | None) -> bool:
        # Not before the answer is out: who waits for this may end the process at once.
        return self._changes.wait_for(lambda: self.generation > 0 and not self._answering, timeout)

    def ask_generation(self) -> None:
        """Have `generation` be what the extension says it is: a process that began after the restore is told so.

        Waits for that a moment in all, however many threads ask, and not at all where no extension listens, in a thread
        that the link needs, or in a signal's handler that has interrupted it.
        """
        if self._tried or self.generation or get_ident() == self._thread or self.lock.is_mine():
            return
        is_first, now = self._asked_until is None, monotonic()
        self._asked_until = until = self._asked_until or now + ASK_TIMEOUT_S
        if os.environ.get("SNAPEXT_TRANSPORT") != "signal":
            self._changes.wait_for(lambda: self._tried or not self._alive, until - now)
        elif is_first:
            self._ask_without_a_thread()

    def _ask_without_a_thread(self) -> None:
        """A process with hooks is told by the signals. Without hooks it owes nothing, and is where the others are."""
        if _hook_counts() != HookCounts():
            return
        from snapext.errors import ControlError
        from snapext.wire import ask

        try:
            status = ask.ask("status", timeout_s=ASK_TIMEOUT_S)["status"]
            with self.lock:
                self.generation = max(self.generation, int(status["generation"]))
                self.environment_id = status["environment_id"] or self.environment_id
        except (ControlError, KeyError, TypeError, ValueError) as error:
            notice.debug(f"nobody says whether this environment has been restored: {error!r}")

    # --- fork ------------------------------------------------------------------------------------------------------

    def child(self) -> Link:
        """The link of a forked child, started if this one was to be. Called in the child, whose copy this is.

        A child that a hook forks is that hook's own affair: it does not take part, or it would be told to run the very
        hook that has just forked it.
        """
        by_a_hook = get_ident() in (self._thread, self._in_hook)
        channel, self._channel, self._ended = self._channel, None, True
        self.lock = Lock()  # of the parent's threads none is left to release it
        link = Link(self.generation, self.environment_id, forked=True, takes_part=not by_a_hook)
        link.restored_at = self.restored_at
        if channel is not None:
            channel.abandon()
        if self._wanted:
            link.start()
        return link

    # --- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._thread = get_ident()
        try:
            _dress_thread("snapext-link")
            self._connect_again_and_again()
        finally:
            self._thread = 0  # the next thread of the app may get its ident
            self._alive = False
            self._changes.happened()

    def _connect_again_and_again(self) -> None:
        pauses = _pauses()
        while not self._is_over():
            began: float | None = None
            try:
                channel = self._connect()
                if channel is not None:
                    began = monotonic()
                    self._converse(channel)
            except _ForeignError:
                pauses = _pauses(FOREIGN_RETRY_S)
            except Exception as error:
                notice.once(
                    "link failed",
                    f"the link of process {self.pid} to the extension failed, and is made again: {error!r}",
                )
            self._has_tried()
            if began is not None and monotonic() - began >= LASTED_S:
                pauses = _pauses()
            pause_s = next(pauses, None)
            if self._is_over():
                return
            if pause_s is None:
                self._report_giving_up(began is not None)
                return
            self._pause.wait(pause_s)

    def end(self) -> None:
        """The process ends: so does the thread, if it is not in the middle of something.

        A daemon thread that wakes up while the interpreter goes is ended by the C library, which opens a file for that,
        and aborts the process where it has no descriptor left.
        """
        self._ended = True
        self._pause.ring()
        deadline = monotonic() + END_TIMEOUT_S
        while self._alive and self._channel is None and get_ident() != self._thread and monotonic() < deadline:
            sleep(END_TIMEOUT_S / 100)

    def _is_over(self) -> bool:
        return self._ended or self.phase == Shutdown.type

    def _has_tried(self) -> None:
        self._tried = True
        self._changes.happened()

    def _connect(self) -> Channel | None:
        path, uid = socket_path(os.environ, os.geteuid()), os.geteuid()
        try:
            channel = connect(path, uid, self.lock)
        except UntrustedError as error:
            notice.once("not used", f"{path} is not used: {error}")
            return None
        except (OSError, ValueError):
            return None  # nobody there yet, or nobody at all: the caller tries again
        self._told.by(channel.pid)
        return channel

    def _converse(self, channel: Channel, only: str | None = None) -> None:
        """Speak with the extension until either side ends, or the phase `only` is behind us, or goes on by itself."""
        with self.lock:  # hello first: another thread may register a hook at any moment, and tell
            previous, self._channel = self._channel, channel
            self._counts, self._importing = _hook_counts(), only is None and process.imports()
            channel.post(self._hello(signalled=only is not None))
        kept = False
        try:
            for message in channel.messages(lambda: self._wait_while_importing(channel)):
                kept = self._handle(message, channel, by_signal=only is not None)
                if only is not None and _is_behind(only, message):
                    return
        except (OSError, RemoteProtocolError) as error:
            notice.debug(f"the connection to the extension broke: {error!r}")
        finally:
            with self.lock:
                if not kept:
                    self._channel = previous
            if not kept:
                channel.close()

    def _hello(self, *, signalled: bool) -> Hello:
        return Hello(
            protocol=PROTOCOL_VERSION,
            pid=os.getpid(),
            role=APP,
            client=CLIENT,
            name=process.name(),
            hooks=self._counts,
            generation=self.generation,
            forked=self._forked,
            signalled=signalled,
            importing=self._importing,
        )

    def _wait_while_importing(self, channel: Channel) -> None:
        """Before we wait for the extension for good: have told it that the main thread imports no more.

        A server may run from within an import for as long as it lives: nobody asks any more when it is ready, and until
        then the looks become rare.
        """
        look_s, began = FIRST_LOOK_S, monotonic()
        while self._importing and self.phase != "ready" and not channel.is_readable(look_s):
            most_s = min(MAX_RARE_LOOK_S, max(MAX_LOOK_S, (monotonic() - began) * LOOK_SHARE))
            look_s = min(look_s * 1.5, most_s)
            if not process.imports():
                sleep(FIRST_LOOK_S)  # between two imports of a program it looks the same for a moment
                if not process.imports():
                    self._imports_are_over()

    def _imports_are_over(self) -> None:
        """Tell it once, with the hooks that there are then."""
        with self.lock:
            counts, was_importing, channel = _hook_counts(), self._importing, self._channel
            news = was_importing or counts != self._counts
            self._importing, self._counts = False, counts
        if news and channel is not None:
            channel.send(Hooks(counts))

    def _handle(self, message: Message, channel: Channel, *, by_signal: bool) -> bool:
        """Do what a message says. Returns whether it goes on after this, so that the connection has to be kept."""
        if isinstance(message, Welcome):
            self._welcomed(message)
        elif isinstance(message, BeforeSnapshot | AfterRestore):
            return self._obey(message, channel, by_signal=by_signal)
        elif isinstance(message, Describe):
            _describe(message, channel)
        elif isinstance(message, Shutdown):
            self.phase = message.type
        return False

    def _welcomed(self, message: Welcome) -> None:
        if message.protocol != PROTOCOL_VERSION:
            notice.once(
                "protocol",
                f"the extension speaks version {message.protocol} of the protocol, this client "
                f"{PROTOCOL_VERSION}: the hooks of process {self.pid} will not run. Use the layer and the snapext in "
                "your package in the same version",
            )
            raise _ForeignError
        with self.lock:
            self.phase, self.generation = message.phase, max(self.generation, message.generation)
            self.environment_id = message.environment_id or self.environment_id
        self._has_tried()

    # --- a phase ---------------------------------------------------------------------------------------------------

    def _obey(self, order: BeforeSnapshot | AfterRestore, channel: Channel, *, by_signal: bool) -> bool:
        """Run the hooks, or recall how that went: told twice of one boundary, they still run once."""
        under_way = self._told.is_under_way(order)
        self._told.ask(channel, order)
        if under_way:
            return True  # we are in the middle of one of its hooks; who runs them answers here, too
        self.phase = order.type
        if isinstance(order, AfterRestore):
            self.environment_id, self.restored_at = order.environment_id, order.restored_at
        outcome = self._told.outcome(order)
        loop = loops.running_loop() if by_signal and outcome is None else None
        if loop is not None:
            loop.call_soon_threadsafe(self._obey_in_a_task, loop, order)  # it wakes the loop, unlike call_soon
            return True
        if outcome is None:
            self.tell_hook_counts()  # those that came to light since
            outcome = self._run_phase(order, by_signal=by_signal)
        self._conclude(order, outcome, keep=channel)
        return False

    def _run_phase(self, order: BeforeSnapshot | AfterRestore, *, by_signal: bool) -> runner.Outcome:
        phase = self._told.phase(order, self._imports_are_over)
        if not by_signal:
            with signal_mask(self._signal_mask):
                return runner.run(phase)
        self._in_hook = get_ident()
        try:
            return runner.run(phase)
        finally:
            self._in_hook = 0

    def _obey_in_a_task(self, loop: asyncio.AbstractEventLoop, order: BeforeSnapshot | AfterRestore) -> None:
        task = loop.create_task(self._run_phase_here(order))
        self._tasks.add(task)  # the loop itself keeps none
        task.add_done_callback(self._tasks.discard)

    async def _run_phase_here(self, order: BeforeSnapshot | AfterRestore) -> None:
        def in_hook(begins: bool) -> None:
            self._in_hook = get_ident() if begins else 0

        phase = self._told.phase(order, self._imports_are_over)
        self._conclude(order, await runner.run_here(phase, in_hook), keep=None)

    def _conclude(self, order: BeforeSnapshot | AfterRestore, outcome: runner.Outcome, *, keep: Channel | None) -> None:
        """Take over what has come of a phase, and answer; hang up on who has been kept waiting for it."""
        self._answering = True
        try:
            if isinstance(order, BeforeSnapshot):
                self.phase = "snapshot"
            elif outcome.error is None:
                with self.lock:  # before the answer: whoever is served next may ask is_restored()
                    self.phase, self.generation = "ready", max(self.generation, order.generation)
            for channel in self._told.answer(order, outcome):
                if channel is not keep:
                    self._hang_up(channel)
        finally:
            self._answering = False
            self._changes.happened()

    def _hang_up(self, channel: Channel) -> None:
        with self.lock:
            if self._channel is channel:
                self._channel = None
        channel.close()

    def _report_giving_up(self, answered: bool) -> None:
        if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") != "snap-start" or self.generation:
            return
        path = socket_path(os.environ, os.geteuid())
        what = (
            f"the extension at {path} has hung up on it for {GIVE_UP_AFTER_S:.0f} s; its log says why"
            if answered
            else f"no extension answers at {path} after {GIVE_UP_AFTER_S:.0f} s; is the snapext layer attached?"
        )
        notice.once("gave up", f"the hooks of process {self.pid} will not run: {what}")


def _dress_thread(name: str) -> None:
    """What threading.Thread would have done for it: a name, and the app's tracers. Ornaments."""
    try:
        if (trace := threading.gettrace()) is not None:
            sys.settrace(trace)
        if (profile := threading.getprofile()) is not None:
            sys.setprofile(profile)
        threading.current_thread().name = name
    except Exception as error:
        notice.debug(f"a thread without a name: {error!r}")


def _is_behind(phase: str, message: Message) -> bool:
    """Whether, with this message, a phase that we were signalled for is done, or was not for us."""
    if isinstance(message, Welcome):
        return message.phase != phase or (phase == AfterRestore.type and message.generation > 0)
    return isinstance(message, BeforeSnapshot | AfterRestore | Shutdown)


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


def _hook_counts() -> HookCounts:
    registry.adopt()
    return HookCounts(len(registry.get_before_snapshot()), len(registry.get_after_restore()))


def _describe(message: Describe, channel: Channel) -> None:
    """The names of the hooks of each phase, in the order in which they run; as many as one message holds."""
    before = [runner.hook_name(hook[0]) for hook in reversed(registry.get_before_snapshot())]
    after = [runner.hook_name(hook[0]) for hook in registry.get_after_restore()]
    most = MAX_NAMES
    while True:
        try:
            return channel.send(Described(message.id, tuple(before[:most]), tuple(after[:most])))
        except LocalProtocolError:
            most = most * 3 // 4


# --- the link of this process ---------------------------------------------------------------------------------------

_link = Link()


def current() -> Link:
    """The link of this process."""
    return _link


def hook_registered() -> None:
    """A hook has been registered: link this process, and bind the loop that runs here, if one does."""
    _never_raising(join)
    _never_raising(loops.bind_running_loop)
    _link.tell_hook_counts()


def join() -> None:
    """Link this process: by the thread, or, where it cannot have one, by handlers of the two signals."""
    if is_own_process():
        return
    _notice_a_fork()
    if os.environ.get("SNAPEXT_TRANSPORT") != "signal":
        if not uwsgi.is_before_its_fork(lambda: _never_raising(join)):
            _link.start()
        return
    from snapext.link import doorbell

    why_not = doorbell.install(os.environ, lambda phase: current().answer_signal(phase))
    if why_not is not None:
        notice.once("transport", f"SNAPEXT_TRANSPORT=signal: {why_not}; hooks of process {os.getpid()} will not run")


def _never_raising(call: Callable[[], None]) -> None:
    try:
        call()
    except Exception as error:  # the rest is to be done all the same
        notice.debug(f"{call.__name__}: {error!r}")


def _before_fork() -> None:
    _link.lock.acquire()


def _after_fork_in_parent() -> None:
    _link.lock.release()


def _after_fork_in_child() -> None:
    _never_raising(process.forks_now)
    _renew_link()


def _renew_link() -> None:
    global _link
    _never_raising(loops.forget_loops)
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
