"""Tell running processes on this machine one phase, without a platform: only the bridge and the signals.

No snapshot is taken here, so nothing is held back, and every process named is told.
"""

from __future__ import annotations

import fnmatch
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psutil

from snapext.errors import ConfigError, SnapextError
from snapext.wire import signal_names
from snapext.wire.messages import CONTROL, PROTOCOL_VERSION, AfterRestore, BeforeSnapshot, Done, Hello, Message, Welcome
from snapext.wire.phases import BEFORE_SNAPSHOT
from snapext.wire.place import ENV_SOCKET, acknowledgement_path
from snapext_extension.config import Config
from snapext_extension.kernel import processes
from snapext_extension.kernel.identity import new_identity
from snapext_extension.log import Log
from snapext_extension.peers.bridge import Bridge
from snapext_extension.peers.signals import SignalTransport
from snapext_extension.reactor import Reactor, now_ms
from snapext_tools.simulator.errors import SimulationError

JOIN_WINDOW_MS = 1_500
"""A process that has found no extension tries again once a second."""
COME_TIMEOUT_MS = 5_000


@dataclass(frozen=True, slots=True)
class Whom:
    """Which processes: by pid, by a pattern for the name, or every process that takes part."""

    pids: frozenset[int] = frozenset()
    pattern: str | None = None

    def includes(self, pid: int, *names: str) -> bool:
        if self.pids or self.pattern is not None:
            return pid in self.pids or any(fnmatch.fnmatchcase(name, self.pattern or "") for name in names)
        return True


@dataclass(slots=True)
class Told:
    """One process and its result. `outcome` is a sentence; `ok` is None while the result is unknown."""

    pid: int
    name: str
    how: str
    at_ms: float
    comes: bool = False  # the signal only wakes it: it connects to the socket for the rest
    ok: bool | None = None
    outcome: str = "told; without --wait nothing waits for its answer"


class Telling:
    """One phase for one choice of processes.

    config: the timeouts and the socket, as the extension reads them. wait: run until all have answered.
    """

    def __init__(self, phase: str, whom: Whom, config: Config, *, wait: bool) -> None:
        self._phase = phase
        self._whom = whom
        self._config = config
        self._wait = wait
        self._began = False
        self._told: dict[int, Told] = {}
        self._joined: dict[int, tuple[int, Hello]] = {}
        self._environment_id = new_identity().environment_id
        self._reactor = Reactor()

    def run(self) -> list[Told]:
        """Tell the processes, and return the result of each.

        Raises SimulationError when an extension is already running, or the socket cannot be made.
        """
        log, uid, path = Log("error", fd=2), os.geteuid(), self._config.socket_path
        try:
            self._bridge = Bridge(path, uid, self._reactor, log, self)
        except SnapextError as error:
            raise SimulationError(f"{error} (an extension that runs here starts the hooks itself)") from error
        try:
            self._signals = SignalTransport(acknowledgement_path(path), uid, self._reactor, log, self)
            self._reactor.set_timer("begin", JOIN_WINDOW_MS, self._begin)
            try:
                self._reactor.run()
            finally:
                self._signals.close()
        finally:
            self._bridge.close()
        return sorted(self._told.values(), key=lambda told: told.pid)

    # --- who there is ----------------------------------------------------------------------------------------------

    def joined(self, key: int, pid: int, hello: Hello) -> None:
        self._bridge.send(key, Welcome(PROTOCOL_VERSION, self._phase, 0, None))
        if hello.role == CONTROL:
            return
        self._joined[key] = (pid, hello)
        known = self._told.get(pid)
        if known is not None and known.comes:
            self._tell(key)
        elif not self._began and self._whom.pids and self._whom.pids <= {pid for pid, _ in self._joined.values()}:
            self._reactor.set_timer("begin", 0, self._begin)

    def _begin(self) -> None:
        self._began = True
        for key, (pid, hello) in list(self._joined.items()):
            if self._whom.includes(pid, hello.name, *_names(pid)):
                self._told[pid] = Told(pid, hello.name, "socket", now_ms())
                self._tell(key)
        self._signal_processes()
        for pid in self._whom.pids - set(self._told):
            silent = "it is not on the socket, and does not catch the signal"
            why = silent if psutil.pid_exists(pid) else "there is no such process"
            self._told[pid] = Told(pid, (*_names(pid), "?")[0], "-", now_ms(), ok=False, outcome=f"not told: {why}")
        timeout_ms = self._timeout_ms if self._wait else COME_TIMEOUT_MS
        self._reactor.set_timer("end", timeout_ms, lambda: self._end(timeout_ms))
        self._end_if_done()

    def _signal_processes(self) -> None:
        """Signal processes that are not on the socket, and ask for signals in their variables or are named by pid."""
        on_socket = {pid for pid, _ in self._joined.values()}
        above_us = set(processes.ancestors(os.getpid()))
        for pid in psutil.pids():
            named = pid in self._whom.pids
            stat = processes.stat(pid)
            if stat is None or pid in on_socket or pid == os.getpid() or (pid in above_us and not named):
                continue
            variables = processes.environment(pid)
            if not named and variables.get(ENV_SOCKET, self._config.socket_path) != self._config.socket_path:
                continue  # it belongs to another function, such as one that is being simulated
            number = _signal_of(variables, self._phase, anyway=named)
            if number is None or not self._whom.includes(pid, stat.name, *_names(pid)):
                continue
            if self._signals.send([stat], number):
                comes = variables.get(signal_names.ENV_TRANSPORT) == "signal"
                self._told[pid] = Told(pid, stat.name, signal_names.name(number), now_ms(), comes)

    # --- what they say ---------------------------------------------------------------------------------------------

    @property
    def _timeout_ms(self) -> int:
        before = self._phase == BEFORE_SNAPSHOT
        return self._config.before_snapshot_timeout_ms if before else self._config.after_restore_timeout_ms

    def _tell(self, key: int) -> None:
        pid, hello = self._joined[key]
        self._told[pid].comes = False
        message: BeforeSnapshot | AfterRestore = BeforeSnapshot(key, hello.generation, self._timeout_ms)
        if self._phase != BEFORE_SNAPSHOT:
            generation = hello.generation + 1
            message = AfterRestore(key, generation, self._timeout_ms, self._environment_id, time.time())
        self._bridge.send(key, message)
        self._end_if_done()

    def done(self, key: int, done: Done) -> None:
        self.said(key, done)

    def said(self, key: int, message: Message) -> None:
        if not isinstance(message, Done) or key not in self._joined:
            return
        pid, _ = self._joined[key]
        hooks = ", ".join(f"{hook.name} {hook.duration_ms:.1f} ms" for hook in message.hooks)
        if message.error is None:
            self._settle(pid, ok=True, outcome=f"done in {message.duration_ms:.1f} ms ({hooks or 'no hooks'})")
        else:
            what = f"{message.error.hook or 'it'} failed: {message.error.type}: {message.error.message}"
            self._settle(pid, ok=False, outcome=f"{what}, after {message.duration_ms:.1f} ms")

    def acknowledged(self, pids: tuple[int, ...], error: str | None, _since_ticks: int | None) -> None:
        for pid in pids:
            if pid in self._told:
                took_ms = now_ms() - self._told[pid].at_ms
                ok = error is None
                self._settle(pid, ok=ok, outcome=f"{'acknowledged' if ok else f'failed: {error}'}, {took_ms:.1f} ms")
                return

    def left(self, key: int, pid: int) -> None:
        """A killed process loses its connection before it is gone: the kernel says when it is (pidfd_open(2))."""
        self._joined.pop(key, None)
        if pid not in self._told or self._told[pid].ok is not None:
            return
        try:
            process = os.pidfd_open(pid)
        except OSError:  # gone already
            self.signalled_ended(pid)
            return

        def ended() -> None:
            self._reactor.unwatch(process)
            os.close(process)
            self.signalled_ended(pid)

        self._reactor.watch(process, ended)

    def signalled_ended(self, pid: int) -> None:
        self._settle(pid, ok=False, outcome="ended before it answered")

    def crowded(self, limit: int) -> None:
        raise SimulationError(f"more than {limit} processes connected to the socket")

    def _settle(self, pid: int, *, ok: bool, outcome: str) -> None:
        told = self._told.get(pid)
        if told is not None and told.ok is None:
            told.ok, told.outcome = ok, outcome
            self._end_if_done()

    def _end_if_done(self) -> None:
        open_ones = [told for told in self._told.values() if told.ok is None and (self._wait or told.comes)]
        if self._began and not open_ones:
            self._reactor.stop()

    def _end(self, timeout_ms: int) -> None:
        for told in self._told.values():
            if told.ok is None and (self._wait or told.comes):
                told.ok, told.outcome = False, f"no answer after {timeout_ms} ms"
        self._reactor.stop()


def _names(pid: int) -> Iterable[str]:
    """The names that a person may use for a process: its command, and the script that it runs."""
    try:
        process = psutil.Process(pid)
        return [process.name(), *(os.path.basename(word) for word in process.cmdline()[:3])]
    except psutil.Error:
        return []


def _signal_of(variables: Mapping[str, str], phase: str, *, anyway: bool) -> int | None:
    """The signal that a process asks for in its own variables; a process named by pid needs no variable."""
    asked = {**variables} if signal_names.ENV_SIGNALS in variables else {}
    if not asked and (anyway or variables.get(signal_names.ENV_TRANSPORT) == "signal"):
        asked = {signal_names.ENV_SIGNALS: "1"}
    try:
        numbers = signal_names.parse(asked)
    except ConfigError:
        return None
    return None if numbers is None else numbers[0 if phase == BEFORE_SNAPSHOT else 1]
