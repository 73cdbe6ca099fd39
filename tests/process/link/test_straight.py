"""The straight way of a restore against the general one: they do the same and say the same, whatever comes."""

from __future__ import annotations

import json
import os
import random
import re
import select
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from helpers import AFTER, BEFORE, HELLO, ROOT, WELCOME
from snapext.errors import RemoteProtocolError
from snapext.guest.primitives import Lock
from snapext.hooks import generators, registry
from snapext.link import board, straight
from snapext.link.channel import Channel
from snapext.link.orders import Orders
from snapext.link.view import View
from snapext.wire.connection import Connection, Side
from snapext.wire.json_text import encode
from snapext.wire.messages import AfterRestore, to_wire

RESTORE = to_wire(AFTER.replace(restored_monotonic=81.5))
TIME = re.compile(rb'("duration_ms":)[0-9.e-]+')


def line(message: dict[str, Any]) -> bytes:
    return encode(message).encode() + b"\n"


@pytest.fixture(scope="module")
def memory() -> Iterator[int]:
    """A board with two lines."""
    descriptor = os.memfd_create("board", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, 512)
    import fcntl

    fcntl.fcntl(descriptor, 1033, 7)
    yield descriptor
    os.close(descriptor)


@pytest.fixture(autouse=True)
def no_other_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_before_snapshot", registry._Registry())
    monkeypatch.setattr(registry, "_after_restore", registry._Registry())
    monkeypatch.setattr(registry, "when_registered", lambda: None)


class Played:
    """What came of it in a process."""

    def __init__(self) -> None:
        self.said = b""
        self.ran: list[str] = []
        self.boards: list[bytes] = []
        self.verdict = ""
        self.state: tuple[Any, ...] = ()
        self.straight = 0

    def compared(self) -> tuple[Any, ...]:
        return TIME.sub(rb"\g<1>0", self.said), self.ran, self.boards, self.verdict, self.state


Make = Callable[[Played], list[tuple[Any, ...]]]


def register_late() -> None:
    registry._after_restore.append((lambda: None, (), {}))


class LateLock(Lock):
    def raw(self) -> Any:
        take, leave = super().raw()
        return lambda *how: register_late() or take(*how), leave


class Late(View):
    """Another thread registers a hook when we have looked for the last time whether there is one, before we answer."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = LateLock()

    def phase_ends(self, phase: str, generation: int, *, ok: bool, answer: Callable[[], None]) -> None:
        if phase == "after_restore":
            register_late()
        elif not registry._after_restore:  # else the restore would go the general way
            registry._before_snapshot.append((lambda: None, (), {}))
        super().phase_ends(phase, generation, ok=ok, answer=answer)


def play(
    memory: int,
    make: Make,
    pieces: list[bytes],
    *,
    general: bool = False,
    meanwhile: Any = None,
    takes_part: bool = True,
    kind: type[View] = View,
    tell: Callable[[socket.socket], None] = lambda _: None,
) -> Played:
    """One process across the boundary: it is told the first phase, then what `pieces` hold, each read on its own."""
    played, view = Played(), kind()
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    channel, extension = Channel(ours, view.lock), Connection(Side.EXTENSION)
    channel.line = board.line(memory, 1)
    assert channel.line is not None
    channel.line.write(b"\0" * 256)
    obeying = Orders(
        *(view, set()),
        takes_part=takes_part,
        tell_hook_counts=lambda: tell(theirs),
        imports_are_over=lambda: None,
        hang_up=lambda _: None,
    )
    registry._before_snapshot[:] = []
    registry._after_restore[:] = make(played)
    channel.post(HELLO)
    extension.send(WELCOME)
    waiting = [line(to_wire(WELCOME)) + line(to_wire(BEFORE)), *pieces]

    def before_waiting() -> None:
        if select.select([ours], [], [], 0)[0]:
            return  # it has not read all of the last one
        if waiting:
            theirs.sendall(waiting.pop(0))
        else:
            theirs.shutdown(socket.SHUT_WR)

    try:
        messages = channel.messages(before_waiting)
        for message in messages:
            if message.type == "before_snapshot":
                obeying.obey(message, channel, by_signal=False)
                if channel.straight is not None:
                    channel.straight = None if general else counting(played, channel.straight, before_waiting)
                if meanwhile is not None:
                    meanwhile()
            elif isinstance(message, AfterRestore):
                obeying.obey(message, channel, by_signal=False)
    except RemoteProtocolError as error:
        played.verdict = str(error)
    channel.close()
    while data := theirs.recv(65536):
        played.said += data
    theirs.close()
    status = view.status(connected=False)
    played.state = (status.phase, status.generation, status.environment_id, os.pread(memory, 256, 256).split(b"\0")[0])
    return played


def counting(played: Played, take: Callable[[bytes], bool], next_piece: Callable[[], None]) -> Callable[[bytes], bool]:
    def counted(data: bytes) -> bool:
        taken = take(data)
        if taken:
            played.straight += 1
            next_piece()  # it is read on without a look at anything
        return taken

    return counted


def both(memory: int, make: Make, pieces: list[bytes], meanwhile: Any = None, kind: type[View] = View) -> Played:
    """Play it on both ways, and return what came of the straight one."""
    on_straight = play(memory, make, pieces, meanwhile=meanwhile, kind=kind)
    on_general = play(memory, make, pieces, general=True, meanwhile=meanwhile, kind=kind)
    assert on_straight.compared() == on_general.compared()
    return on_straight


# --- hooks -----------------------------------------------------------------------------------------------------------


async def coroutine(played: Played) -> None:
    played.ran.append("coroutine")


class Odd:
    """What cannot be compared, and has a name that JSON and a format have to quote."""

    def __init__(self, played: Played) -> None:
        self.played = played

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")

    __hash__ = None  # type: ignore[assignment]

    def __call__(self) -> None:
        self.played.ran.append("odd")


Odd.__qualname__ = '%s "Öd" \\ {} 🦀 \ud800'


def hook(kind: str, number: int, played: Played, hooks: list[Any]) -> Any:
    name = f"{kind}{number}"

    def ran() -> None:
        line = os.pread(MEMORY[0], 256, 256).split(b"\0")[0]
        played.boards.append(line)
        played.ran.append(name)

    def plain() -> None:
        ran()

    def returns() -> object:
        ran()
        return [name]

    def generates() -> Iterator[int]:
        yield 1

    def gives_a_generator() -> object:
        ran()
        return (number for number in range(3))

    def gives_an_awaitable() -> object:
        ran()
        return coroutine(played)

    def awaitable_that_registers() -> object:
        async def late() -> None:
            hooks.append((partial(played.ran.append, f"late of {name}"), (), {}))

        return late()

    def fails() -> None:
        ran()
        raise ValueError(name)

    def exits() -> None:
        ran()
        raise SystemExit(3)

    def registers() -> None:
        ran()
        hooks.append((partial(played.ran.append, f"late of {name}"), (), {}))

    def registers_in_front() -> None:
        ran()
        hooks.insert(0, (partial(played.ran.append, f"front of {name}"), (), {}))

    def unregisters() -> None:
        ran()
        hooks.pop()

    def exchanges() -> None:
        ran()
        hooks[-1] = (partial(played.ran.append, f"instead by {name}"), (), {})

    def clears() -> None:
        ran()
        hooks.clear()

    def is_hostile() -> object:
        ran()

        class Hostile:
            def __getattr__(self, name: str) -> object:
                raise RuntimeError(name)

        return Hostile()

    async def is_async() -> None:
        ran()

    made: dict[str, Any] = {k: v for k, v in locals().items() if callable(v)}
    made["odd"] = Odd(played)
    made["print"] = partial(played.ran.append, name)
    return made[kind]


KINDS = (
    *("plain", "plain", "plain", "returns", "gives_a_generator", "gives_an_awaitable", "awaitable_that_registers"),
    *("fails", "exits", "registers", "registers_in_front", "unregisters", "exchanges", "clears", "is_hostile"),
    *("is_async", "odd", "print"),
)
MEMORY = [0]


def making(kinds: list[str]) -> Make:
    def make(played: Played) -> list[tuple[Any, ...]]:
        hooks = registry._after_restore
        return [(hook(kind, number, played, hooks), (), {}) for number, kind in enumerate(kinds)]

    return make


# --- lines -----------------------------------------------------------------------------------------------------------

CHANGES: dict[str, Callable[[], Any]] = {
    "as it is": lambda: line(RESTORE),
    "another id": lambda: line({**RESTORE, "id": 77}),
    "unknown field": lambda: line({**RESTORE, "new": {"a": [1]}}),
    "no monotonic": lambda: line({k: v for k, v in RESTORE.items() if k != "restored_monotonic"}),
    "null": lambda: line({**RESTORE, "restored_monotonic": None}),
    "whole seconds": lambda: line({**RESTORE, "restored_at": 5}),
    "generation 2": lambda: line({**RESTORE, "generation": 2}),
    "true": lambda: line({**RESTORE, "generation": True}),
    "negative": lambda: line({**RESTORE, "timeout_ms": -1}),
    "too large": lambda: line({**RESTORE, "id": 2**63}),
    "infinite": lambda: line(RESTORE).replace(b"81.5", b"1e999"),
    "not a number": lambda: line(RESTORE).replace(b"81.5", b"NaN"),
    "a zero in front": lambda: line(RESTORE).replace(b'"id":2', b'"id":02'),
    "a zero in front of seconds": lambda: line(RESTORE).replace(b"81.5", b"081.5"),
    "digits that Python alone takes": lambda: line(RESTORE).replace(b"81.5", b"8_1.5"),
    "a sign": lambda: line(RESTORE).replace(b"81.5", b"+81.5"),
    "no fraction": lambda: line(RESTORE).replace(b"81.5", b"81."),
    "two points": lambda: line(RESTORE).replace(b"81.5", b"81.5.5"),
    "an exponent": lambda: line(RESTORE).replace(b"81.5", b"8.15e1"),
    "an id with an escape": lambda: line(RESTORE).replace(b'"environment_id":"', b'"environment_id":"\\u0062'),
    "an empty id": lambda: line({**RESTORE, "environment_id": ""}),
    "fields in another order": lambda: line(dict(sorted(RESTORE.items()))),
    "no time left": lambda: line({**RESTORE, "timeout_ms": 0}),
    "id of bytes": lambda: line({**RESTORE, "environment_id": 7}),
    "surrogate": lambda: line({**RESTORE, "environment_id": "\ud800"}),
    "twice a key": lambda: line(RESTORE)[:-2] + b',"id":9}\n',
    "spaces": lambda: b" " + line(RESTORE)[:-1] + b" \r\n",
    "two lines": lambda: line(RESTORE) + line({**RESTORE, "id": 8}),
    "not UTF-8": lambda: b"\xff\n",
    "no JSON": lambda: b"{\n",
    "a list": lambda: b"[1]\n",
    "nothing": lambda: b"\n",
    "deep": lambda: b"[" * 2_000 + b"\n",
    "describe": lambda: b'{"type":"describe","id":1}\n',
    "type of another kind": lambda: b'{"type":["after_restore"]}\n',
    "half": lambda: line(RESTORE)[:30],
    "the other half": lambda: line(RESTORE)[30:],
}


GO_STRAIGHT = {"as it is", "another id"}


@pytest.fixture(scope="module", autouse=True)
def board_of_all(memory: int) -> None:
    MEMORY[0] = memory


UNHEEDED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]  # the latter: a busy machine


@settings(max_examples=120, deadline=None, suppress_health_check=UNHEEDED)
@given(
    kinds=st.lists(st.sampled_from(KINDS), max_size=6),
    changes=st.lists(st.sampled_from(sorted({*CHANGES} - {"no time left", "deep"})), min_size=1, max_size=3),
)
@example(kinds=[], changes=["as it is", "another id"])
@example(kinds=[], changes=["generation 2", "another id"])
@example(kinds=["awaitable_that_registers"], changes=["as it is"])
@example(kinds=["plain", "gives_an_awaitable", "plain"], changes=["as it is"])
@example(kinds=["odd", "registers", "fails"], changes=["half", "the other half"])
def test_both_ways_do_and_say_the_same(memory: int, kinds: list[str], changes: list[str]) -> None:
    """The hooks that run, the board, each byte but for the times, the verdict on a bad line, and what status() says."""
    both(memory, making(kinds), [CHANGES[change]() for change in changes])


def test_a_restore_that_is_as_expected_goes_straight(memory: int) -> None:
    """Each hook once, in order, each named on the board before it runs; asked again it answers the same."""
    played = both(memory, making(["plain", "returns", "odd"]), [CHANGES["as it is"](), CHANGES["another id"]()])

    assert (played.straight, played.ran) == (1, ["plain0", "returns1", "odd"])
    assert played.boards == [b"1 test_straight.hook.<locals>." + name for name in (b"plain", b"returns")]
    first, second = (json.loads(text) for text in played.said.splitlines()[-2:])
    assert (first.pop("id"), second.pop("id")) == (2, 77)
    assert first == second
    assert played.state[:3] == ("ready", 1, AFTER.environment_id)


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_another_line_goes_the_general_way(memory: int, change: str) -> None:
    """Whatever is not the line that our extension writes, also what is malformed."""
    played = both(memory, making(["plain"]), [CHANGES[change]()])

    assert played.straight == (change in GO_STRAIGHT)


def vectors() -> list[dict[str, Any]]:
    files = sorted((ROOT / "tests" / "vectors").glob("*.jsonl"))
    return [json.loads(text) for path in files for text in path.read_text("utf-8").splitlines()]


def test_the_vectors_get_the_same_verdict(memory: int) -> None:
    """Each line that an extension may send, or must not send."""
    for vector in vectors():
        if vector["from"] == "extension":
            data = bytes.fromhex(vector["hex"]) if "hex" in vector else vector["line"].encode()
            data = data.replace(b"*", b"x" * vector["repeat"]) if "repeat" in vector else data
            pieces = [(data + b"\n")[at : at + 60_000] for at in range(0, len(data) + 1, 60_000)]
            played = both(memory, making(["plain"]), pieces)
            assert not played.straight or vector["message"]["type"] == "after_restore", vector["about"]


def exchange_one() -> None:
    func, args, kwargs = registry._after_restore[0]
    registry._after_restore[0] = (func, args, dict(kwargs))


@pytest.mark.parametrize("meanwhile", [register_late, exchange_one, lambda: registry._before_snapshot.append(0)])
def test_hooks_that_have_changed_since_the_snapshot_go_the_general_way(memory: int, meanwhile: Any) -> None:
    """Registered, exchanged for one that looks alike, or of the other phase."""
    assert both(memory, making(["plain"]), [line(RESTORE)], meanwhile).straight == 0


def test_a_module_that_was_imported_since_goes_the_general_way(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be the one of AWS, whose hooks are to be shared."""
    assert (
        both(
            memory,
            making(["plain"]),
            [line(RESTORE)],
            lambda: monkeypatch.setitem(__import__("sys").modules, f"of_{os.urandom(4).hex()}", os),
        ).straight
        == 0
    )


def test_what_is_prepared_changes_nothing(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code is run before the snapshot with stand-ins: no hook, no generator, no line of the board is touched."""
    renewed: list[int] = []
    monkeypatch.setattr(generators, "_registered", [(renewed, lambda: renewed.append(1))])
    seen: list[object] = []
    random.seed(7)
    state = random.getstate()

    def meanwhile() -> None:
        line = os.pread(memory, 256, 256).split(b"\0")[0]
        seen.append((renewed[:], random.getstate() == state, line.startswith(b"1 "), signal.pthread_sigmask(0, ())))

    own_mask = signal.pthread_sigmask(0, ())
    played = play(memory, making(["plain"]), [line(RESTORE)], meanwhile=meanwhile)

    assert seen == [([], True, False, own_mask)]
    assert (played.straight, played.ran, renewed) == (1, ["plain0"], [1])
    assert random.getstate() != state


def test_a_process_that_takes_no_part_runs_nothing(memory: int) -> None:
    """A hook has forked it: it would run the very hook."""
    played = play(memory, making(["plain"]), [line(RESTORE)], takes_part=False)

    assert (played.straight, played.ran) == (0, [])
    assert json.loads(played.said.splitlines()[-1])["ok"] is True


def test_each_step_is_said_at_the_level_debug(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for it wants to see where each hook ran."""
    monkeypatch.setenv("SNAPEXT_LOG_LEVEL", "debug")

    assert both(memory, making(["plain"]), [line(RESTORE)]).straight == 0


def test_an_answer_that_might_not_fit_goes_the_general_way(memory: int) -> None:
    """Which leaves the timings out."""
    played = both(memory, making(["plain"] * 1_500), [line(RESTORE)])

    assert played.straight == 0
    assert json.loads(played.said.splitlines()[-1])["hooks"] == []


def test_a_fault_of_ours_fails_the_restore(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not look like success (a fake fault: none is known)."""

    def broken(_environment_id: str) -> None:
        raise LookupError("a fault of ours")

    monkeypatch.setattr(straight.around, "renewal", lambda: broken)
    played = play(memory, making(["plain"]), [line(RESTORE)])
    done = json.loads(played.said.splitlines()[-1])

    assert (played.straight, played.ran) == (1, [])
    assert (done["ok"], done["error"]["type"], done["error"]["hook"]) == (False, "LookupError", None)


@pytest.mark.parametrize("kinds", [[], ["plain"]])
def test_a_hook_that_the_renewal_registers_runs_in_its_place(
    memory: int, monkeypatch: pytest.MonkeyPatch, kinds: list[str]
) -> None:
    """An app's own `reseed` function may do that, also where there was no hook."""

    def first() -> None:
        """A hook."""

    def renew(_environment_id: str) -> None:
        registry.insert(registry.get_after_restore(), 0, (first, (), {}))

    monkeypatch.setattr(straight.around, "renewal", lambda: renew)
    played = both(memory, making(kinds), [line(RESTORE)])
    hooks = json.loads(played.said.splitlines()[-1])["hooks"]

    assert played.straight == 1
    assert [hook["name"].rpartition(".")[2] for hook in hooks] == ["first", *kinds]


@pytest.mark.parametrize(("kind", "hooks"), [("plain", 2), ("registers", 3)])
def test_what_another_thread_registers_in_the_end_does_not_count_as_run(memory: int, kind: str, hooks: int) -> None:
    """By the number the extension sees that there is one which has not run."""
    played = both(memory, making(["plain", kind]), [line(RESTORE)], kind=Late)
    done = json.loads(played.said.splitlines()[-1])

    assert (played.straight, len(registry._after_restore)) == (1, hooks + 1)
    assert (done["registered"], len(done["hooks"])) == (hooks, hooks)


def test_nor_does_it_before_the_snapshot(memory: int) -> None:
    """There it fails the version."""
    played = both(memory, making([]), [], kind=Late)
    done = json.loads(played.said.splitlines()[-1])

    assert (done["registered"], done["hooks"], len(registry._before_snapshot)) == (0, [], 1)


def test_the_hooks_are_told_once_more_behind_the_answer(memory: int) -> None:
    """Those that were registered while the extension was too slow to be told."""
    answered = []

    def tell(theirs: socket.socket) -> None:
        answered.append(b'"done"' in theirs.recv(65536, socket.MSG_PEEK))

    play(memory, making([]), [], tell=tell)
    assert answered == [False, True]
