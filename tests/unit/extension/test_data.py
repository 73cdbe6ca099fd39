"""Values with names: what a dataclass promises, of the class that takes its place."""

from __future__ import annotations

import pytest

from snapext_extension.boundary.actions import AnswerReadiness, CancelTimer, SendSignals, SetTimer, TimerName
from snapext_extension.boundary.failures import Process
from snapext_extension.data import Data


class Point(Data):
    """With a default."""

    x: int
    y: int = 2


def test_values_are_given_by_place_or_by_name() -> None:
    """A default fills in what is left out."""
    assert [Point(1), Point(1, 2), Point(x=1), Point(1, y=2), Point(5).replace(x=1)] == [Point(y=2, x=1)] * 5
    assert Point(1, 3) != Point(1)


def test_what_does_not_fit_is_refused() -> None:
    """Too few, too many, twice, or by another name."""
    calls = (lambda: Point(), lambda: Point(1, 2, 3), lambda: Point(1, x=1), lambda: Point(1, z=3))  # type: ignore[call-arg,misc]
    for call in calls:
        with pytest.raises(TypeError, match="Point takes x, y"):
            call()  # type: ignore[no-untyped-call]


def test_it_does_not_change() -> None:
    """Not its values, and it has no others."""
    point = Point(1)
    with pytest.raises(AttributeError, match=r"Point\.x does not change"):
        point.x = 3  # type: ignore[misc]
    with pytest.raises(AttributeError, match=r"Point\.y does not change"):
        del point.y
    assert not hasattr(point, "__dict__")


def test_equal_ones_are_one_key() -> None:
    """Of one class alone: an action without values is no other such action."""
    assert {Process(1, "a"): 5}[Process(1, "a")] == 5
    assert {AnswerReadiness(), AnswerReadiness()} == {AnswerReadiness()}
    assert CancelTimer(TimerName.LOOK) != (TimerName.LOOK,)
    assert repr(SetTimer(TimerName.LOOK, 5)).startswith("SetTimer(timer=<TimerName.LOOK")


def test_it_can_be_matched_by_place() -> None:
    """As the shell does with actions."""
    match SendSignals("after_restore", frozenset({1}), frozenset()):
        case SendSignals(phase, left_alone, accept_fleeting=fleeting):
            assert (phase, left_alone, fleeting) == ("after_restore", {1}, False)
        case _:
            pytest.fail("it does not match")
