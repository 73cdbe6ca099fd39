"""Carry out SendSignals: find the function's processes that are not connected, and signal those with a handler."""

from __future__ import annotations

from snapext.wire import signal_names
from snapext.wire.phases import BEFORE_SNAPSHOT
from snapext.wire.place import acknowledgement_path, start_command_path
from snapext_extension.boundary.events import SignalsFailed, SignalsSent
from snapext_extension.boundary.failures import Process
from snapext_extension.kernel import processes
from snapext_extension.log import Log
from snapext_extension.peers.signals import SignalError, SignalTransport, candidates
from snapext_extension.reactor import Reactor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snapext_extension.boundary.actions import SendSignals
    from snapext_extension.peers.signals import SignalListener


class SignalSearch:
    """socket: the path of ours, beside which the answers arrive. numbers: the two signals, in the order of the phases.

    Raises SignalError if no answer could arrive.
    """

    def __init__(
        self, socket: str, numbers: tuple[int, int], uid: int, reactor: Reactor, log: Log, listener: SignalListener
    ) -> None:
        self._start_command = start_command_path(socket)
        self._numbers = numbers
        self._log = log
        self._transport = SignalTransport(acknowledgement_path(socket), uid, reactor, log, listener)
        self._exempt: set[int] = set()
        self._warned_of: set[tuple[int, str]] = set()

    def send(self, wanted: SendSignals) -> SignalsSent | SignalsFailed:
        """Signal those that catch the signal of this phase."""
        number = self._numbers[0 if wanted.phase == BEFORE_SNAPSHOT else 1]
        self._exempt.update(pid for caller in wanted.callers for pid in processes.ancestors(caller))
        try:
            found = candidates(self._start_command, wanted.left_alone, self._exempt, number)
            signalled = self._transport.send(found.told, number)
        except SignalError as error:
            return SignalsFailed(str(error))
        self._warn_of_those_that_wait(wanted.phase, number, found.waiting)
        told = tuple(Process(process.pid, process.name) for process in signalled)
        fleeting = bool(found.fleeting) and not wanted.accept_fleeting
        missing = None if fleeting else _first_alive(wanted.expected - {process.pid for process in signalled})
        return SignalsSent(told, signal_names.name(number), missing, fleeting)

    def close(self) -> None:
        self._transport.close()

    def _warn_of_those_that_wait(self, phase: str, number: int, waiting: list[processes.Stat]) -> None:
        """A process that waits for `snapext checkpoint` is not signalled: if it catches the signal, say so."""
        for stat in waiting:
            if (stat.pid, phase) not in self._warned_of and processes.catches(stat.pid, number):
                self._warned_of.add((stat.pid, phase))
                why = (
                    f"it waits for `snapext checkpoint`, and was not sent {signal_names.name(number)}, which it catches"
                )
                self._log.write("warning", "not_signalled", pid=stat.pid, name=stat.name, phase=phase, message=why)


def _first_alive(pids: frozenset[int]) -> Process | None:
    stats = (processes.stat(pid) for pid in sorted(pids))
    return next((Process(stat.pid, stat.name) for stat in stats if stat is not None and stat.state not in "ZX"), None)
