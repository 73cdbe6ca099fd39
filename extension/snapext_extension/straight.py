"""A restore about which nothing is unusual, in one function: what runs then for the first time is a page to be read.

What is not as it was expected to be ends it: it is left to the lifecycle, with all that was done so far.
"""

from __future__ import annotations

from snapext_extension.boundary.straight import Plan
from snapext_extension.kernel.identity import moment, read_load
from snapext_extension.peers.lines import beginning_of_line, done_in, rest_of_line
from snapext_extension.reactor import now_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from snapext_extension.boundary.member import Key
    from snapext_extension.kernel.identity import Moment
    from snapext_extension.peers.bridge import Bridge, Peer
    from snapext_extension.platform.gate import Gate

    class Debugger(Protocol):
        """Logs each step, where the log's level asks for it."""

        def restored(self, environment_id: str) -> None: ...
        def answered(self, key: int, data: bytes) -> None: ...

    class Waiter(Protocol):
        """The reactor, as far as it is needed."""

        def wait(self, until_ms: float, /) -> list[tuple[int, int]]: ...
        def call(self, fd: int) -> None: ...

    Odd = tuple[int, Peer, bytes, str | None]
    """What a peer has said that is no plain answer: arguments of Bridge.received."""
    Crossing = tuple[tuple[Moment, bytes], float, float | None, dict[Key, float], list[Odd]]
    """The moment of the restore and the load then, when it was and when it ended by now_ms (None: it goes on), how long
    the phase took in the members that have answered, and what else came."""


class Straight:
    """One restore, made ready before the snapshot.

    peers: the members by their descriptors, each with its key. status: what the gate is answered with. aside: a
    descriptor that has nothing to do with the boundary: the clock's, which is set after most restores.
    answers: what each member has said, with its key; None without metrics. began_ms: when the restore was, by now_ms;
    None until it is.
    """

    __slots__ = (
        "_aside",
        "_beginning",
        "_bridge",
        "_debugger",
        "_exchanges",
        "_gate",
        "_peers",
        "_reactor",
        "_status",
        "answers",
        "began_ms",
        "plan",
    )

    def __init__(
        self,
        plan: Plan,
        bridge: Bridge,
        peers: dict[int, tuple[int, Peer]],
        reactor: Waiter,
        gate: Gate | None,
        status: int,
        debugger: Debugger,
        aside: int,
    ) -> None:
        self.plan = plan
        self._bridge = bridge
        self._exchanges = bridge.exchanges
        self._peers = peers
        self._reactor = reactor
        self._gate = gate
        self._status = status
        self._aside = aside
        self._debugger = debugger if plan.debug else None
        self._beginning = beginning_of_line(plan.id, plan.timeout_ms)
        self.answers: list[tuple[int, bytes]] | None = [] if plan.metrics else None
        self.began_ms: float | None = None

    def run(self) -> Crossing | None:
        """Tell all members, take their answers, and answer the gate: until that is done, or something else comes.

        None, and nothing is done, if the peers are not where they were when it was made ready.
        """
        bridge, waited_for, number = self._bridge, self._peers, self.plan.id
        if bridge.exchanges != self._exchanges:
            return None
        new = moment()
        environment_id, wall_us, monotonic_us, _ = new
        bridge.send_line(waited_for.values(), rest_of_line(self._beginning, environment_id, wall_us, monotonic_us))
        restored = new, read_load()
        if self._debugger is not None:
            self._debugger.restored(environment_id)
        hooks, wait, began_ms = self.plan.hooks, self._reactor.wait, monotonic_us / 1000
        until_ms = began_ms + self.plan.timeout_ms
        self.began_ms = began_ms
        durations_ms: dict[Key, float] = {}
        odd: list[Odd] = []
        is_plain = True
        while waited_for and is_plain:
            ready = wait(until_ms)
            is_plain = bool(ready)
            for fd, _ in ready:
                member = waited_for.pop(fd, None)
                if member is None:
                    if fd == self._aside:
                        self._reactor.call(fd)
                    else:
                        is_plain = False
                    continue
                key, peer = member
                try:
                    data = peer.socket.recv(65536)
                except BlockingIOError:  # there is room for the rest of what it is told
                    waited_for[fd] = member
                    is_plain = False
                    continue
                except OSError as error:
                    odd.append((key, peer, b"", str(error)))
                    continue
                done = done_in(data)
                if done is not None and done["id"] == number and done.get("registered", hooks[key]) >= hooks[key]:
                    durations_ms[key] = float(done["duration_ms"])
                    if self.answers is not None:
                        self.answers.append((key, data))
                    if self._debugger is not None:
                        self._debugger.answered(key, data)
                else:
                    odd.append((key, peer, data, None))
            is_plain = is_plain and not odd
        if waited_for or odd:
            return restored, began_ms, None, durations_ms, odd
        ended_ms = now_ms()
        if self._gate is not None:
            self._gate.open(self._status)
        return restored, began_ms, ended_ms, durations_ms, odd
