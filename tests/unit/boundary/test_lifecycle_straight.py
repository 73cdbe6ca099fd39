"""When a restore may go straight. That it says and leaves the same then, the twin of each driver sees to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from lifecycle_driver import ONE_OF_EACH, Driver, settings
from snapext.wire.messages import Checkpoint, Done, HookCounts
from snapext_extension.boundary.actions import TimerName
from snapext_extension.boundary.events import (
    CommandJoined,
    Event,
    Left,
    ReadinessAsked,
    RestoreReturned,
    Said,
    SignalsSent,
    TimerFired,
)
from snapext_extension.boundary.settings import RestoreCaller
from snapext_extension.boundary.states import State


def before_its_restore(
    hooks: HookCounts = ONE_OF_EACH,
    *,
    members: int = 2,
    asks_event: bool = True,
    after: Sequence[Event] = (),
    **changes: object,
) -> Driver:
    """A life in front of its restore, when its members are done and these events have come."""
    driver = Driver(settings(**changes))
    for _ in range(members):
        driver.join(hooks=hooks)
    driver.app_ready_and_settled()
    for key in range(1, members + 1):
        driver.done(key)
    if asks_event:
        driver.handle(TimerFired(TimerName.EVENT_NEXT))
    for event in after:
        driver.handle(event)
    return driver


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("caller", [RestoreCaller.EXTENSION, RestoreCaller.ADAPTER])
def test_a_plain_restore_may_and_opens_the_gate(caller: RestoreCaller, debug: bool) -> None:
    """With the adapter or us asking for restore/next, and at each level of the log."""
    driver = before_its_restore(restore_caller=caller, debug=debug, checks_before_snapshot=1, asks_event=False)
    by_adapter = caller is RestoreCaller.ADAPTER
    if by_adapter:
        driver.handle(ReadinessAsked())  # the one before the snapshot
    else:
        driver.handle(TimerFired(TimerName.EVENT_NEXT))
    driver.handle(ReadinessAsked() if by_adapter else RestoreReturned(200, ""))
    driver.pass_ms(5)
    driver.done(1)
    driver.pass_ms(5)
    assert driver.state is State.AFTER_RESTORE
    driver.done(2)
    assert (driver.state, driver.went_straight, driver.twin) == (State.READY, 1, None)


ODD: dict[str, Callable[[Driver], object]] = {
    "a process joins": lambda driver: driver.join(),
    "a process ends": lambda driver: driver.handle(Left(2)),
    "a link is lost": lambda driver: driver.handle(Left(2, alive=True)),
    "a hook fails": lambda driver: driver.fail(2, "a.hook", "ValueError", "no"),
    "a hook is named": lambda driver: driver.hook_started(2, "a.hook"),
    "an answer to something else": lambda driver: driver.done(2, id_offset=1),
    "a hook was registered late": lambda driver: driver.handle(Said(2, Done(2, True, 1.0, registered=0))),
    "a second answer": lambda driver: driver.done(1),
    "the phase takes too long": lambda driver: driver.pass_ms(9_000),
    "a command comes": lambda driver: driver.handle(CommandJoined(901, 5901)),
    "another check": lambda driver: driver.handle(ReadinessAsked()),
}


@pytest.mark.parametrize("odd", ODD)
def test_what_is_unusual_is_taken_from_there_as_it_would_have_been(odd: str) -> None:
    """One member of two has answered."""
    driver = before_its_restore()
    driver.handle(RestoreReturned(200, ""))
    driver.pass_ms(7)
    driver.done(1)
    driver.pass_ms(7)
    assert driver.twin is not None
    ODD[odd](driver)
    assert driver.twin is None


SIGNALLED = [SignalsSent((), "RTMIN+4", None, False), TimerFired(TimerName.EVENT_NEXT)]
COMMAND = [CommandJoined(901, 5901), Said(901, Checkpoint())]
LEFT_TO_EVENTS: dict[str, Callable[[], Driver]] = {
    "nobody has joined": lambda: before_its_restore(members=0),
    "processes may have to be signalled": lambda: before_its_restore(asks_event=False, after=SIGNALLED, signals=True),
    "event/next has not been asked for": lambda: before_its_restore(asks_event=False),
    "a link was lost": lambda: before_its_restore(after=[Left(1, alive=True)]),
    "a process without hooks has hung up": lambda: before_its_restore(HookCounts(1, 0), after=[Left(1, alive=True)]),
    "a command waits": lambda: before_its_restore(
        after=[CommandJoined(901, 5901), Said(901, Checkpoint())], gate=False
    ),
    "it was refused": lambda: before_its_restore(),
}


@pytest.mark.parametrize("why", LEFT_TO_EVENTS)
def test_a_restore_is_left_to_the_events_where_something_is_unusual_before_it(why: str) -> None:
    """What a command does that has left, for example, is of no importance: that does not count."""
    driver = LEFT_TO_EVENTS[why]()
    assert driver.state is State.SNAPSHOT
    driver.handle(RestoreReturned(403 if why == "it was refused" else 200, ""))
    assert driver.went_straight == 0
