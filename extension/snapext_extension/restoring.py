"""Which restore goes straight, and how the lifecycle learns of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from snapext_extension.boundary import actions
from snapext_extension.boundary.lifecycle import Lifecycle
from snapext_extension.boundary.states import State
from snapext_extension.kernel.identity import identity_at
from snapext_extension.log import Log
from snapext_extension.peers.bridge import Bridge
from snapext_extension.peers.lines import read_done
from snapext_extension.reactor import Reactor, now_ms
from snapext_extension.rehearsal import rehearse
from snapext_extension.straight import Straight

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from snapext_extension.platform.gate import Gate
    from snapext_extension.straight import Crossing


class Restoring:
    """A restore about which nothing is unusual goes straight; as soon as something is, the lifecycle takes over.

    carry_out: does what the lifecycle wants done. gate: None where there is none. aside: see Straight.
    """

    def __init__(
        self,
        machine: Lifecycle,
        carry_out: Callable[[Sequence[actions.Action]], None],
        bridge: Bridge,
        reactor: Reactor,
        log: Log,
    ) -> None:
        self.gate: Gate | None = None
        self.aside = -1
        self._restored_monotonic: float | None = None
        self._machine = machine
        self._carry_out = carry_out
        self._bridge = bridge
        self._reactor = reactor
        self._log = log
        self._is_rehearsed = False
        self._straight: Straight | None = None  # how a restore would go from here
        self._crossing: Crossing | None = None  # how one went, of which the machine knows nothing yet

    @property
    def lifecycle(self) -> Lifecycle:
        """The machine. It hears of a restore that went straight when something else comes: mostly nothing does."""
        if self._crossing is not None:
            self._take_over(self._crossing)
        return self._machine

    @property
    def restored_monotonic(self) -> float | None:
        """When the restore was, by CLOCK_MONOTONIC in seconds. While it goes straight too: the clock is set then."""
        if self._straight is not None and self._straight.began_ms is not None:
            return self._straight.began_ms / 1000
        return self._restored_monotonic

    @restored_monotonic.setter
    def restored_monotonic(self, moment_s: float | None) -> None:
        self._restored_monotonic = moment_s

    def forget(self) -> None:
        """What was made ready holds no more."""
        self._straight = None

    def prepare(self, app_status: int) -> None:
        """Make ready what can be before the snapshot, if it is about to be taken. app_status: the gate's answer."""
        self._straight = None
        if self._machine.state is not State.SNAPSHOT or (plan := self._machine.plan()) is None:
            return
        peers = self._bridge.between_lines(plan.hooks)
        if peers is not None:
            if not self._is_rehearsed:
                self._is_rehearsed = True
                rehearse(self._bridge, self)
            self._straight = Straight(plan, self._bridge, peers, self._reactor, self.gate, app_status, self, self.aside)

    def goes_straight(self, *, by_check: bool) -> bool:
        """Carry out a restore. False, and nothing is done, if only the lifecycle can."""
        straight = self._straight
        if straight is None or straight.plan.by_check is not by_check or (crossing := straight.run()) is None:
            return False
        self._straight, self._crossing = None, crossing
        _, began_ms, ended_ms, durations_ms, _ = crossing
        self.restored_monotonic = began_ms / 1000
        measured = {} if straight.answers is None else self._measured(straight.answers)
        if ended_ms is None:
            self._take_over(crossing)
        else:
            duration_ms = round(ended_ms - began_ms, 3)
            self._log.write("info", "ready", processes=len(durations_ms), duration_ms=duration_ms, **measured)
        return True

    def restored(self, environment_id: str) -> None:
        """Of a restore that goes straight; only at the level `debug`."""
        self._log.write("debug", "restore", environment_id=environment_id)

    def answered(self, key: int, data: bytes) -> None:
        """The same."""
        done = read_done(data)
        assert done is not None, "BUG: it has been read before"  # noqa: S101
        report = self._machine.answer_of_plan(key, done)
        self._log.write(report.level, report.event, **report.fields)

    def _measured(self, answers: list[tuple[int, bytes]]) -> dict[str, Any]:
        done = [(key, read_done(data)) for key, data in answers]
        return self._machine.measured_in_plan([(key, answer) for key, answer in done if answer is not None])

    def _take_over(self, crossing: Crossing) -> None:
        self._crossing = None
        (moment, load), began_ms, ended_ms, durations_ms, odd = crossing
        identity = identity_at(moment, load)
        self._carry_out(self._machine.crossed(identity, began_ms, durations_ms, ended_ms or now_ms()))
        for key, peer, data, error in odd:
            self._bridge.received(key, peer, data, error)
