"""What the messages are declared with: values that do not change, a constructor that notices mistakes, clear errors."""

import copy
import pickle

import pytest

from helpers import HELLO, for_each
from snapext.errors import RemoteProtocolError
from snapext.wire.messages import (
    BeforeSnapshot,
    Checkpoint,
    Described,
    Done,
    Hello,
    HookCounts,
    HookFailure,
    Hooks,
    HookTiming,
    Running,
    StatusRequest,
    Welcome,
    to_wire,
)

FAILURE = {"type": "OSError", "message": "no route", "stack": "", "hook": None}


def test_a_message_does_not_change():
    """No value can be set or taken away, neither a declared one nor a new one."""
    running = Running(1, "hook")
    for name in ("id", "type", "colour"):
        with pytest.raises(AttributeError):
            setattr(running, name, 2)
    with pytest.raises(AttributeError):
        del running.id
    assert running == Running(1, "hook")


def test_equal_are_messages_of_one_type_with_equal_values():
    """Messages of two types are different even where they say the same, and equal ones have one hash."""
    assert Done(1, True, 0.0) == Done(id=1, ok=True, duration_ms=0.0, hooks=(), error=None)
    assert hash(Done(1, True, 0.0)) == hash(Done(ok=True, duration_ms=0.0, id=1))
    assert Running(1, "hook") != Running(2, "hook")
    assert Checkpoint() != StatusRequest()
    assert len({Checkpoint(), Checkpoint(), StatusRequest(), HookCounts(), HookCounts(0, 0)}) == 3
    assert Checkpoint() != {}
    assert all((Checkpoint(), HookCounts()))


def test_a_copy_is_equal():
    """Through `replace`, which changes what it is told to, `copy` and `pickle`."""
    assert HELLO.replace(role="control").replace(role=HELLO.role) == HELLO
    assert HELLO.replace(pid=3).pid == 3
    for again in (copy.copy(HELLO), copy.deepcopy(HELLO), pickle.loads(pickle.dumps(HELLO))):
        assert again == HELLO


@for_each(
    "values, named",
    [
        ((1,), {}),
        ((1, "hook", 3), {}),
        ((1, "hook"), {"id": 1}),
        ((1,), {"id": 1}),
        ((1,), {"colour": "red"}),
        ((1, "hook"), {"colour": "red"}),
    ],
)
def test_a_constructor_takes_its_fields_and_nothing_else(values, named):
    """Too few, too many, twice, unknown: the error names the class and its fields."""
    with pytest.raises(TypeError, match="Running takes id, hook"):
        Running(*values, **named)


def test_a_message_shows_what_it_says():
    """In a failed test, and in a log."""
    shown = "Hooks(hooks=HookCounts(before_snapshot=1, after_restore=0), importing=False, passed=None)"
    assert repr(Hooks(HookCounts(1))) == shown


def test_what_says_nothing_is_left_out():
    """Readers that are older than a field do not see it before it says something."""
    assert to_wire(BeforeSnapshot(1, 0, 5)) == {"type": "before_snapshot", "id": 1, "generation": 0, "timeout_ms": 5}
    assert to_wire(BeforeSnapshot(1, 0, 5, serving=True))["serving"] is True
    assert {"board", "importing", "passed"} == {*vars(HELLO)} - {*to_wire(HELLO)}
    assert {"error", "registered"} == {*vars(Done(1, True, 0.0))} - {*to_wire(Done(1, True, 0.0))}
    assert HookFailure(**FAILURE).write() == FAILURE
    assert HookFailure(**FAILURE, duration_ms=0.0).write() == {**FAILURE, "duration_ms": 0.0}
    assert to_wire(Welcome(1, "init", 0, None))["environment_id"] is None


@for_each(
    "kind, changes, error",
    [
        (Hello, {"pid": ...}, "hello: the field 'pid' is missing"),
        (Hello, {"pid": "7"}, "hello: 'pid' must be int"),
        (Hello, {"pid": True}, "hello: 'pid' must be int"),
        (Hello, {"pid": -1}, "hello: 'pid' must not be negative, nor 2**63 or more"),
        (Hello, {"role": "root"}, "hello: 'role' must be app or control"),
        (Hello, {"forked": 1}, "hello: 'forked' must be bool"),
        (Hello, {"hooks": []}, "hello: 'hooks' must be dict"),
        (Hello, {"hooks": {"before_snapshot": 1}}, "hooks: the field 'after_restore' is missing"),
        (Welcome, {"environment_id": 1}, "welcome: 'environment_id' must be str or null"),
        (Done, {"duration_ms": None}, "done: 'duration_ms' must be int or float"),
        (Done, {"duration_ms": 2**63}, "done: 'duration_ms' must be a finite number, not negative"),
        (Done, {"hooks": [1]}, "done: 'hooks' must be a list of objects"),
        (Done, {"hooks": [{"name": "h"}]}, "a hook of done: the field 'duration_ms' is missing"),
        (Done, {"ok": False}, "done: the field 'error' is missing"),
        (Done, {"ok": False, "error": None}, "done: 'error' must be dict"),
        (Done, {"ok": False, "error": {**FAILURE, "hook": 1}}, "the error of done: 'hook' must be str or null"),
        (Described, {"after_restore": [None]}, "described: 'after_restore' must be a list of strings"),
    ],
)
def test_an_error_names_the_type_and_the_field(kind, changes, error):
    """The author of a client in another language need not guess."""
    said = {
        Hello: HELLO,
        Welcome: Welcome(1, "init", 0, None),
        Done: Done(1, True, 0.0, (HookTiming("h", 1.0),)),
        Described: Described(1, (), ()),
    }[kind]
    data = {name: value for name, value in {**to_wire(said), **changes}.items() if value is not ...}

    with pytest.raises(RemoteProtocolError) as refused:
        kind.read(data)
    assert str(refused.value) == error


def test_an_error_is_read_only_where_something_failed():
    """With `ok` true it may be anything, and a failure may say how long its hook ran."""
    assert Done.read({"type": "done", "id": 1, "ok": True, "duration_ms": 0, "error": 7}).error is None
    failed = {"type": "done", "id": 1, "ok": False, "duration_ms": 0}
    for duration_ms, taken in ((None, None), (2, 2.0)):
        error = {**FAILURE, "duration_ms": duration_ms}
        assert Done.read({**failed, "error": error}).error == HookFailure(**FAILURE, duration_ms=taken)
