"""This process's link to the extension: one daemon thread that waits to be told of the boundary.

An app that cannot have a thread is told by a signal instead (SNAPEXT_TRANSPORT=signal): it then connects, is told of
that one phase, and hangs up.

It must be as if it were not there when there is no extension: it never raises into the app, never makes it wait, and
says at most one line. What it imports is imported when the first hook is registered, in the app's own thread: an
import in the link's thread could be cut in half by a fork, and the module's import lock stay taken in the child.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` makes enums of what it returns: 265 us of each phase
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from snapext import _loops, _process, _registry, _runner
from snapext._endpoint import (
    CREDENTIALS_SIZE,
    peer_pid_and_uid,
    socket_path,
    why_refuse_directory,
    why_refuse_socket,
)
from snapext._reseed import reseed
from snapext._status import Status
from snapext.errors import LocalProtocolError, RemoteProtocolError
from snapext.protocol import (
    APP,
    PROTOCOL_VERSION,
    AfterRestore,
    BeforeSnapshot,
    Connection,
    Describe,
    Described,
    Done,
    Hello,
    HookCounts,
    Hooks,
    Message,
    Role,
    Running,
    Shutdown,
    Welcome,
)
from snapext.protocol.connection import State

CLIENT = "snapext-python/0.1.0"
FIRST_RETRY_S = 0.002
MAX_RETRY_S = 0.1  # well below the time that the extension waits for processes to join
GIVE_UP_AFTER_S = 60.0
"""The extension listens some milliseconds after the runtime starts: this long without it means that there is none."""
LOCAL_RETRY_S = 1.0
"""Outside of Lambda somebody may run `snapext signal` at any time."""
SIGNAL_TIMEOUT_S = 5.0
"""Whoever has sent the signal waits for us: it takes no time to be told what for."""
MAX_NAMES = 250
AT_ONCE_AND_SILENTLY = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
"""Without the signal, which an app may have set to end it, when the extension is gone."""


class Link:
    """The link of one process. A forked child makes its own."""

    def __init__(self, generation: int = 0, environment_id: str | None = None, *, forked: bool = False) -> None:
        # Re-entrant: a signal handler may fork, or ask for the status, in the middle of one of our own calls.
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._forked = forked
        self._ended = False
        self._inode = 0
        self._signal_mask: set[int] = set()
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self._connection = Connection(Role.PROCESS)
        self._unsent = b""
        self._told = HookCounts()
        self._outcomes: dict[tuple[str, int], _runner.Outcome] = {}
        self._teller = 0
        self._answering: int | None = None  # the thread that answers a signal
        self._takes_part = True
        self.phase = "init"
        self.generation = generation
        self.environment_id = environment_id
        self.restored_at: float | None = None

    # --- what the app's threads call -------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread unless it runs. It ends when it has given up, and a later call tries again."""
        with self.lock:
            if self._ended or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = threading.Thread(target=self._run, name="snapext-link", daemon=True)
            # The thread begins with every signal blocked: one that the app has blocked for its own sigwait or signalfd
            # would otherwise be taken here, and do what it does by default.
            self._signal_mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
            try:
                self._thread.start()
            finally:
                _signal.pthread_sigmask(_signal.SIG_SETMASK, self._signal_mask)

    def answer_signal(self, phase: str) -> None:
        """A signal says that there is something to do: connect, be told, run the hooks in this thread, and hang up."""
        peer = self._try_connect()
        if peer is None:
            _warn(f"told of {phase} by a signal, and no extension answers: hooks of process {os.getpid()} did not run")
            return
        peer.settimeout(SIGNAL_TIMEOUT_S)
        self._answering = threading.get_ident()
        try:
            self._serve(peer, only=phase)
        except Exception as error:
            _warn(f"told of {phase} by a signal: {error!r}; hooks of process {os.getpid()} may not have run")
        finally:
            self._answering = None

    def tell_hook_counts(self) -> None:
        """Tell the extension how many hooks there are now, if that has changed."""
        with self.lock:
            counts = _hook_counts()
            if self._socket is None or counts == self._told or self._unsent:
                return  # not linked, nothing new, or the extension is slow: it hears of them before the phase
            self._told = counts
            self._send_locked(Hooks(counts))

    def status(self) -> Status:
        with self.lock:
            return Status(
                phase=self.phase,
                generation=self.generation,
                environment_id=self.environment_id,
                restored_at=self.restored_at,
                initialization_type=os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE"),
                connected=self._socket is not None,
            )

    def wait_restored(self, timeout: float | None) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.generation > 0, timeout)

    # --- fork ------------------------------------------------------------------------------------------------------

    def child(self) -> Link:
        """The link of a forked child, started if this one was. Called in the child, whose copy of `lock` is taken.

        A child that a hook forks is that hook's own affair: it does not take part, or it would be told to run the very
        hook that has just forked it.
        """
        by_a_hook = self._thread is threading.current_thread() or self._answering == threading.get_ident()
        started = self._thread is not None
        peer, self._socket, self._ended = self._socket, None, True
        if peer is not None and self._is_ours(peer):
            peer.close()  # our copy of the descriptor: the parent's connection lives on
        link = Link(self.generation, self.environment_id, forked=True)
        link.restored_at = self.restored_at
        link._ended, link._takes_part = by_a_hook, not by_a_hook
        self.lock.release()
        if started:
            link.start()
        return link

    # --- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            waits = _backoff()
            while (peer := self._connect_patiently(waits)) is not None:
                welcomed = self._serve(peer)
                if self.phase == "shutdown" or self._ended:
                    return
                if welcomed:
                    waits = _backoff()
                else:  # it hangs up on us: try again, but not without a pause, and not for ever
                    time.sleep(next(waits, 0.0))
            self._report_no_extension()
        except Exception as error:
            _warn(f"the link to the extension ended: {error!r}; hooks of process {os.getpid()} will not run")

    def _connect_patiently(self, waits: Iterator[float]) -> socket.socket | None:
        for wait_s in waits:
            if (peer := self._try_connect()) is not None:
                return peer
            time.sleep(wait_s)
        return None

    def _try_connect(self) -> socket.socket | None:
        path, uid = socket_path(os.environ, os.geteuid()), os.geteuid()
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        peer.settimeout(None)  # whatever the app has set with socket.setdefaulttimeout
        try:
            why = why_refuse_directory(os.lstat(os.path.dirname(path)), uid) or why_refuse_socket(os.lstat(path), uid)
            if why is None:
                peer.connect(path)
                credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS_SIZE)
                pid, peer_uid = peer_pid_and_uid(credentials)
                if peer_uid == uid:
                    if pid != self._teller:  # another `snapext signal`: what its predecessor was told is no answer
                        self._teller = pid
                        self._outcomes.clear()
                    return peer
                why = "another user's process listens on it"
            _warn(f"{path} is not used: {why}")
        except (OSError, ValueError):
            pass  # nobody there yet, or nobody at all: the caller tries again
        peer.close()
        return None

    def _serve(self, peer: socket.socket, only: str | None = None) -> bool:
        """Speak with the extension until either side ends, or the phase `only` is behind us.

        Returns whether it has welcomed us.
        """
        connection = Connection(Role.PROCESS)
        with self.lock:  # hello first: another thread may register a hook at any moment, and tell
            self._socket, self._connection, self._unsent = peer, connection, b""
            self._inode = os.fstat(peer.fileno()).st_ino
            self._told = _hook_counts()
            self._send_locked(self._hello())
        try:
            while self._is_ours(peer) and (data := peer.recv(65536)):
                for message in connection.receive(data):
                    self._handle(message)
                    if only is not None and _is_behind(only, message):
                        return True
        except (OSError, RemoteProtocolError) as error:
            _debug(f"the connection to the extension broke: {error!r}")
        finally:
            with self.lock:
                self._socket = None
            if self._is_ours(peer):
                peer.close()
            else:
                peer.detach()
        return connection.their_state is State.OPEN

    def _is_ours(self, peer: socket.socket) -> bool:
        """Whether the descriptor is still our connection: daemons close what they find, and the number is used anew."""
        try:
            return os.fstat(peer.fileno()).st_ino == self._inode
        except OSError:
            return False

    def _hello(self) -> Hello:
        return Hello(
            protocol=PROTOCOL_VERSION,
            pid=os.getpid(),
            role=APP,
            client=CLIENT,
            name=_process.name(),
            hooks=self._told,
            generation=self.generation,
            forked=self._forked,
            signalled=self._answering is not None,
        )

    def _handle(self, message: Message) -> None:
        if isinstance(message, Welcome):
            with self._changed:
                self.phase, self.generation = message.phase, max(self.generation, message.generation)
                self.environment_id = message.environment_id or self.environment_id
                self._changed.notify_all()
        elif isinstance(message, BeforeSnapshot):
            self.phase = message.type
            self._answer(message, self._outcome(message))
            self.phase = "snapshot"
        elif isinstance(message, AfterRestore):
            self._after_restore(message)
        elif isinstance(message, Describe):
            self._send(Described(message.id, *_hook_names()))
        elif isinstance(message, Shutdown):
            self.phase = message.type

    def _after_restore(self, message: AfterRestore) -> None:
        self.phase = message.type
        self.environment_id, self.restored_at = message.environment_id, message.restored_at
        outcome = self._outcome(message)
        if outcome.error is None:
            with self._changed:  # before the answer: whoever is served next may ask is_restored()
                self.phase, self.generation = "ready", max(self.generation, message.generation)
                self._changed.notify_all()
        self._answer(message, outcome)

    def _outcome(self, message: BeforeSnapshot | AfterRestore) -> _runner.Outcome:
        """Run the hooks, or recall how that went: told twice of one boundary, they still run once."""
        key = (message.type, message.generation)
        if key not in self._outcomes:
            self.tell_hook_counts()  # those registered with snapshot_restore_py itself come to light here
            self._outcomes[key] = self._run_phase(message)
        return self._outcomes[key]

    def _run_phase(self, message: BeforeSnapshot | AfterRestore) -> _runner.Outcome:
        def on_start(hook: str) -> None:
            self._send(Running(message.id, hook))

        if not self._takes_part:
            return _runner.Outcome(0.0, (), None)
        try:
            with self._mask_of_the_app():
                if isinstance(message, BeforeSnapshot):
                    _process.let_imports_end(message.timeout_ms)
                    return _runner.run_before_snapshot(message.timeout_ms, on_start)
                if os.environ.get("SNAPEXT_RESEED") != "0":
                    reseed(message.environment_id)
                return _runner.run_after_restore(message.timeout_ms, on_start)
        except BaseException as error:  # ours, not a hook's; it must not look like success
            return _runner.Outcome(0.0, (), _runner.describe(error, None))

    @contextmanager
    def _mask_of_the_app(self) -> Iterator[None]:
        """What a hook starts inherits the signal mask: in our thread, which blocks all, it gets the one the app had."""
        if self._thread is not threading.current_thread():
            yield
            return
        # What it was, and not all: under gevent "our thread" is a greenlet, and the mask that of the app's main thread.
        own = _signal.pthread_sigmask(_signal.SIG_SETMASK, self._signal_mask)
        try:
            yield
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, own)

    def _answer(self, message: BeforeSnapshot | AfterRestore, outcome: _runner.Outcome) -> None:
        error = outcome.error
        done = Done(message.id, error is None, outcome.duration_ms, outcome.hooks, error)
        try:
            self._send(done)
        except LocalProtocolError:  # too much for one line: the answer matters, the timings and half a stack do not
            if error is not None:
                error = replace(error, stack=error.stack[-_runner.MAX_STACK_CHARS // 2 :])
            self._send(replace(done, hooks=(), error=error))

    def _send(self, message: Message) -> None:
        """Send from the link's own thread, which may wait for a slow extension; nobody waits for it meanwhile."""
        with self.lock:
            self._send_locked(message)
        while self._unsent:
            waiter = select.poll()
            peer = self._socket
            if peer is None or not self._is_ours(peer):
                self._unsent = b""
                return
            waiter.register(peer, select.POLLOUT)
            waiter.poll(1000)
            with self.lock:
                self._flush_locked()

    def _send_locked(self, message: Message) -> None:
        if self._socket is not None:
            self._unsent += self._connection.send(message)
            self._flush_locked()

    def _flush_locked(self) -> None:
        """Hand over what the socket takes at once. Never waits: a fork and the app's own threads need the lock."""
        if self._socket is None:
            return
        if not self._is_ours(self._socket):
            self._unsent = b""  # the thread's next read finds it out as well
            return
        try:
            sent = self._socket.send(self._unsent, AT_ONCE_AND_SILENTLY)
            self._unsent = self._unsent[sent:]
        except BlockingIOError:
            pass
        except OSError as error:
            _debug(f"the extension does not take what we send: {error!r}")
            self._unsent = b""  # the thread's next read sees the end of the connection

    def _report_no_extension(self) -> None:
        if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start" and not self.generation:
            _warn(
                f"no extension answers at {socket_path(os.environ, os.geteuid())} after {GIVE_UP_AFTER_S:.0f} s: "
                f"the hooks of process {os.getpid()} will not run; is the snapext layer attached?"
            )


def _is_behind(phase: str, message: Message) -> bool:
    """Whether, with this message, a phase that we were signalled for is done, or was not for us."""
    if isinstance(message, Welcome):
        return message.phase != phase or (phase == AfterRestore.type and message.generation > 0)
    return isinstance(message, (BeforeSnapshot, AfterRestore, Shutdown))


def _backoff() -> Iterator[float]:
    """Seconds to wait between attempts: short at first, and on Lambda not for ever."""
    wait_s, total_s = FIRST_RETRY_S, 0.0
    while total_s < GIVE_UP_AFTER_S:
        yield wait_s
        total_s += wait_s
        wait_s = min(wait_s * 2, MAX_RETRY_S)
    while "AWS_LAMBDA_RUNTIME_API" not in os.environ:
        yield LOCAL_RETRY_S


def _hook_counts() -> HookCounts:
    return HookCounts(len(_registry.get_before_snapshot()), len(_registry.get_after_restore()))


def _hook_names() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the hooks of each phase, in the order in which they run; as many as one message holds."""
    before = [_runner.hook_name(hook[0]) for hook in reversed(_registry.get_before_snapshot())]
    after = [_runner.hook_name(hook[0]) for hook in _registry.get_after_restore()]
    return tuple(before[:MAX_NAMES]), tuple(after[:MAX_NAMES])


_warned = False


def _warn(line: str) -> None:
    """One line in the life of a process, through `logging`, so that the app's own settings decide where it goes."""
    global _warned
    if _warned:
        return
    _warned = True
    import logging  # 15 ms, and most processes never warn

    logging.getLogger("snapext").warning("snapext: %s", line)


def _debug(line: str) -> None:
    if os.environ.get("SNAPEXT_LOG_LEVEL") == "debug":
        os.write(2, f"snapext: process {os.getpid()}: {line}\n".encode(errors="backslashreplace"))


# --- the link of this process ---------------------------------------------------------------------------------------

_link = Link()


def current() -> Link:
    """The link of this process."""
    return _link


def hook_registered() -> None:
    """A hook has been registered: link this process, and bind the loop that runs here, if one does."""
    _loops.bind_running_loop()
    join()
    _link.tell_hook_counts()


def join() -> None:
    """Link this process: by the thread, or, where it cannot have one, by handlers of the two signals."""
    if os.environ.get("SNAPEXT_TRANSPORT") != "signal":
        _link.start()
        return
    from snapext import _doorbell

    why_not = _doorbell.install(os.environ, lambda phase: current().answer_signal(phase))
    if why_not is not None:
        _warn(f"SNAPEXT_TRANSPORT=signal: {why_not}; hooks of process {os.getpid()} will not run")


def _before_fork() -> None:
    _link.lock.acquire()


def _after_fork_in_parent() -> None:
    _link.lock.release()


def _after_fork_in_child() -> None:
    global _link
    _loops.forget_loops()
    try:
        _link = _link.child()
    except Exception as error:  # a fork must not fail because of us
        _debug(f"a forked process is not linked: {error!r}")


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
