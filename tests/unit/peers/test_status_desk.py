"""The desk that answers `snapext status`: it asks the processes for names, and never waits for one in vain."""

from __future__ import annotations

from typing import Any

import pytest

from snapext.command.status_report import lines
from snapext.errors import LocalProtocolError
from snapext.wire.connection import Connection, Side
from snapext.wire.messages import Describe, Described, Message, Result, Welcome, to_wire
from snapext_extension.peers.status import StatusDesk
from snapext_extension.reactor import Reactor

ASKER = 900


def process(how: str = "socket", **more: Any) -> dict[str, Any]:
    hooks = {"before_snapshot": 1, "after_restore": 2}
    return {
        "pid": 7,
        "name": "app",
        "how": how,
        "hooks": hooks,
        "running": None,
        "connected": True,
        "durations_ms": {},
        **more,
    }


class Office:
    """A desk, what it has sent, and what the lifecycle would say."""

    def __init__(self, processes: dict[int, dict[str, Any]], limit: int = 100_000) -> None:
        self.processes = processes
        self.limit = limit
        self.more: dict[str, Any] = {}
        self.sent: list[tuple[int, Message]] = []
        self.reactor = Reactor()
        self.desk = StatusDesk(self._describe, self._send, self.reactor)

    def _describe(self) -> dict[str, Any]:
        about = {"mode": "gate", "phase": "ready", "generation": 1, "environment_id": "ab" * 16, "boundary": {}}
        return {**about, "processes": dict(self.processes), **self.more}

    def _send(self, key: int, message: Message) -> None:
        if len(str(to_wire(message))) > self.limit:
            raise LocalProtocolError("too long")
        self.sent.append((key, message))

    @property
    def asked(self) -> list[int]:
        return [key for key, message in self.sent if isinstance(message, Describe)]

    @property
    def answers(self) -> list[dict[str, Any]]:
        return [dict(message.status or {}) for _, message in self.sent if isinstance(message, Result)]

    def name(self, key: int) -> None:
        number = [message.id for k, message in self.sent if k == key and isinstance(message, Describe)][-1]
        self.desk.described(key, Described(number, ("app.close",), ("app.open", "app.renew")))

    def time_is_up(self) -> None:
        """Fire the timers, as the reactor does when they are due."""
        for name, (_, callback) in list(self.reactor._timers.items()):
            del self.reactor._timers[name]
            callback()


@pytest.fixture
def office() -> Office:
    return Office({1: process(), 2: process(), -77: process("RTMIN+4")})


def test_the_answer_waits_for_the_names(office: Office) -> None:
    """Those of the processes on the socket: nobody else has any."""
    office.desk.ask(ASKER)
    assert office.asked == [1, 2]
    office.name(1)
    assert office.answers == []
    office.name(2)
    (status,) = office.answers
    names = {"before_snapshot": ["app.close"], "after_restore": ["app.open", "app.renew"]}
    assert [one["hook_names"] for one in status["processes"]] == [names, names, None]


def test_a_process_that_does_not_say_is_shown_with_its_counts(office: Office) -> None:
    """It runs a hook, or speaks no describe."""
    office.desk.ask(ASKER)
    office.name(2)
    office.time_is_up()
    (status,) = office.answers
    assert [one["hook_names"] is None for one in status["processes"]] == [True, False, True]
    assert "1 (no names)" in "\n".join(lines(status))


def test_a_process_that_does_not_read_is_not_filled_up(office: Office) -> None:
    """It is asked again when it has answered."""
    for _ in range(5):
        office.desk.ask(ASKER)
        office.time_is_up()
    assert office.asked == [1, 2]
    office.name(1)
    office.desk.ask(ASKER)
    assert office.asked == [1, 2, 1]


def test_one_question_at_a_time(office: Office) -> None:
    """A peer that asks without end gets an answer to one, and costs no more."""
    for _ in range(1000):
        office.desk.ask(ASKER)
    assert office.asked == [1, 2]
    office.time_is_up()
    assert len(office.answers) == 1


def test_a_process_that_is_dropped_because_it_was_asked_is_no_trouble() -> None:
    """The bridge hangs up on one that does not read, in the middle of our sending."""
    office = Office({1: process(), 2: process()})
    send = office._send

    def drop(key: int, message: Message) -> None:
        send(key, message)
        if isinstance(message, Describe):
            office.desk.left(key)

    office.desk = StatusDesk(office._describe, drop, office.reactor)
    office.desk.ask(ASKER)
    assert len(office.answers) == 1


def test_nobody_is_answered_who_has_left(office: Office) -> None:
    """And nothing is kept of it."""
    office.desk.ask(ASKER)
    office.desk.left(ASKER)
    office.time_is_up()
    assert office.answers == []


def test_what_does_not_fit_into_a_line_is_left_out_and_counted() -> None:
    """First the names, then processes; the number that is missing is said."""
    office = Office({key: process() for key in range(1, 301)}, limit=20_000)
    office.desk.ask(ASKER)
    for key in range(1, 301):
        office.name(key)
    (status,) = office.answers
    assert 0 < len(status["processes"]) < 300
    assert status["processes_left_out"] == 300 - len(status["processes"])
    assert f"and {status['processes_left_out']} more" in "\n".join(lines(status))


def test_many_processes_that_cannot_be_linked_do_not_keep_the_desk_busy_for_ever() -> None:
    """Their causes hold what the app has in its PYTHONPATH: as JSON each character may take twelve times its room."""
    office = Office({1: process(how="RTMIN+4")})
    connection = Connection(Side.EXTENSION)
    connection.send(Welcome(1, "init", 0, None))

    def send(key: int, message: Message) -> None:
        connection.send(message)
        office._send(key, message)

    office.desk = StatusDesk(office._describe, send, office.reactor)
    unlinked = {"pid": 7, "name": "python", "cause": "é" * 500, "remedy": "\N{GRINNING FACE}" * 500}
    office.more = {"waiting": "\N{GRINNING FACE}" * 4000, "not_linked": [unlinked] * 20}
    office.desk.ask(ASKER)
    (status,) = office.answers
    assert len(status["processes"]) == 1
    assert len(status["not_linked"]) + status["not_linked_left_out"] == 20
    assert f"and {status['not_linked_left_out']} more" in "\n".join(lines(status))
