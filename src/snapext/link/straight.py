"""The straight way of a restore that goes as expected, prepared at the end of the phase before the snapshot.

A page that is touched first after the restore is a read from the snapshot, so this does little: it reads one line,
writes the name of each hook on the board, calls the hooks, and writes one line. Whatever is not as expected goes the
general way (`Orders`): at once where the line or the hooks are others, from there on where a hook does what few do.
Both ways say the same; tests compare them.

`take` is one function, and what it uses are its own variables: each further function, class or attribute that is
looked up would be a few pages more. Where it does what methods of other rooms do, it names them.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` makes enums of what it returns
import os
import sys
from _functools import partial  # type: ignore[import-not-found]  # `functools` takes 4 ms to import
from time import monotonic_ns, thread_time_ns

from snapext.guest import notice
from snapext.guest.primitives import get_ident
from snapext.hooks import around, checks, own_loops, registry, runner
from snapext.hooks.runner import Called, Course, Outcome
from snapext.link.told import Told
from snapext.link.view import View
from snapext.wire.board import EMPTY, written
from snapext.wire.json_text import quote
from snapext.wire.messages import MAX_LINE_BYTES, AfterRestore, HookTiming
from snapext.wire.phases import AFTER_RESTORE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from snapext.hooks.registry import Hook
    from snapext.hooks.runner import Caller
    from snapext.link.channel import Channel

GENERATION = 1
"""What an environment is restored to. (`snapext signal` counts on: its later rounds go the general way.)"""
MAX_ANSWER_BYTES = MAX_LINE_BYTES // 2
TIME_BYTES = 30
REHEARSALS = 3
REHEARSED = (
    b'{"type":"after_restore","id":1,"generation":1,"timeout_ms":1,"environment_id":"a","restored_at":1.5,'
    b'"restored_monotonic":1.5}\n'
)
NS = 1_000_000_000
SHORTEST_NS = round(own_loops.SHORTEST_MS * NS / 1000)


class Finished(Outcome):
    """A phase in which each hook ran to its end. The timings become records only if somebody asks once more."""

    __slots__ = ("_names", "times")

    def __init__(self, names: list[str]) -> None:
        self.error = self.raised = None
        self.registered = len(names)
        self._names = names
        self.times = [0]
        """In microseconds: of all, and of each hook."""

    @property
    def duration_ms(self) -> float:  # type: ignore[override]  # nobody sets it
        return self.times[0] / 1000

    @property
    def hooks(self) -> tuple[HookTiming, ...]:  # type: ignore[override]  # the same
        return tuple([HookTiming(name, us / 1000) for name, us in zip(self._names, self.times[1:], strict=True)])


def prepare(
    view: View, told: Told, channel: Channel, mask: set[int], conclude: Callable[..., None]
) -> Callable[[bytes], bool] | None:
    """What takes the line of the next restore, or None where only the general way will do. Never raises.

    mask: the signals that the app's threads block. conclude: ends the phase in the general way.
    """
    try:
        hooks = registry.get_after_restore()
        if channel.line is None or not told.takes_part:
            return None
        if os.environ.get("SNAPEXT_LOG_LEVEL") == "debug":  # each step is said there
            return None
        if any(checks.is_coroutine_function(hook[0]) for hook in hooks):
            return None
        parts = Parts(channel, channel.line.text, hooks)
        if len(parts.answer) + TIME_BYTES * len(hooks) > MAX_ANSWER_BYTES:
            return None
        _rehearse(channel, channel.line.text)
        parts.view, parts.told, parts.mask, parts.conclude = view, told, mask, conclude
        parts.renew, parts.post, parts.call = around.renewal(), channel.poster(), told.main.call
        parts.is_left_alone = told.main.settle()
        return _taker(parts)
    except Exception as error:  # a hook may be anything, also something that cannot be looked at
        notice.debug(f"the restore goes the general way: {error!r}")
        return None


class Parts:
    """What a restore works on and with. What is not given is a stand-in, which changes nothing.

    text: of our line of the board. kept: the names of `registry`. post: see `Channel.poster`. renew: see
    `around.renewal`. is_left_alone, call: see `MainThread`.
    """

    def __init__(self, channel: Channel, text: Any, hooks: list[Hook]) -> None:
        self.channel, self.text, self.hooks = channel, text, hooks
        self.names = [runner.hook_name(hook[0]) for hook in hooks]
        self.answer = _answer(self.names)
        self.view, self.told = View(), Told(takes_part=True)
        self.kept: dict[str, Any] = vars(registry)
        self.mask: set[int] = _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
        self.conclude: Callable[..., None] = _nothing
        self.renew = around.rehearsal()
        self.post: Callable[[bytes], object] = len
        self.is_left_alone = self.told.main.settle()
        self.call: Caller = runner.call_here


def _answer(names: list[str]) -> bytes:
    """`done` as a format: of the id, and of the microseconds that the phase and each hook have taken."""
    timings = ",".join([f'{{"name":{quote(name).replace("%", "%%")},"duration_ms":%de-3}}' for name in names])
    answer = f'{{"type":"done","id":%b,"ok":true,"duration_ms":%de-3,"hooks":[{timings}],"registered":{len(names)}}}\n'
    return answer.encode()


def _rehearse(channel: Channel, text: Any) -> None:
    """Run the code of a restore with stand-ins.

    What the interpreter has run some times it looks up no more, and each look-up would be a page or two.
    """
    for _ in range(REHEARSALS):
        parts = Parts(channel, type(text)(), [(_nothing, (), {})])
        parts.kept = {"_after_restore": parts.hooks}
        _taker(parts)(REHEARSED)
    post = channel.poster()
    with channel.lock:
        for _ in range(REHEARSALS):
            post(b"")


def _nothing() -> None:
    """A hook."""


def _taker(parts: Parts) -> Callable[[bytes], bool]:
    """One restore, as it is expected when this is made."""
    beginning, at_least = b'{"type":"after_restore","id":', 29
    after_id, after_timeout = b',"generation":%d,"timeout_ms":' % GENERATION, b',"environment_id":"'
    after_environment, after_time, end = b'","restored_at":', b',"restored_monotonic":', b"}\n"

    view, told, channel, conclude, mask = parts.view, parts.told, parts.channel, parts.conclude, parts.mask
    hooks, kept, names, answer, text, renew = (
        parts.hooks,
        parts.kept,
        parts.names,
        parts.answer,
        parts.text,
        parts.renew,
    )
    post, is_left_alone, call = parts.post, parts.is_left_alone, parts.call
    known, before, modules, line = list(hooks), registry.get_before_snapshot(), sys.modules, channel.line
    count, count_before, count_modules, pid = len(hooks), len(before), len(modules), os.getpid()
    steps = [(hook, written(GENERATION, name), name) for hook, name in zip(known, names, strict=True)]
    at_generators, nothing = written(GENERATION, around.GENERATORS), EMPTY
    main, finished, key, mine = told.main, Finished(names), (AFTER_RESTORE, GENERATION), object()
    state, outcomes, claims, asked = vars(view), told.outcomes, told.claims, told.asked
    awaited, awaited_view = told.ended.waiting, view.changes.waiting
    (lock, unlock), ours = view.lock.raw(), (get_ident(), object())
    size, getpid, now, cpu = len, os.getpid, monotonic_ns, thread_time_ns
    set_mask, set_all = _signal.pthread_sigmask, _signal.SIG_SETMASK
    own_mask, generation, phase = set_mask(_signal.SIG_BLOCK, ()), max(view.generation, GENERATION), AFTER_RESTORE

    def order(number: bytes, timeout_ms: bytes) -> AfterRestore:
        """From here on it goes the general way."""
        asked[key].insert(0, (channel, int(number)))
        return AfterRestore(int(number), GENERATION, int(timeout_ms), *view.restored())

    def go_on(order: AfterRestore, began: int, ran: int, called: Called | None) -> Outcome:
        """The rest of the phase in the general way, which takes up what the hooks have changed."""
        course = Course(began / NS, order.timeout_ms)
        course.times_ms = [us / 1000 for us in finished.times[1:]]
        course.names = names[: len(course.times_ms)]
        main.phase_begins()
        rest = runner.behind(known, ran, hooks)
        return runner.run(runner.go_on(rest, course, told.sayer(order), call, called))

    def take(data: bytes) -> bool:
        """Do what the line says, if it is the one that is expected, and answer. False: nothing has been done."""
        # Is it that line, in the one form in which our extension writes it?
        at_timeout = data.find(after_id, at_least)
        at_environment = data.find(after_timeout, at_timeout)
        at_time = data.find(after_environment, at_environment)
        at_clock = data.find(after_time, at_time)
        if at_clock < 0 or data[:at_least] != beginning or data[-2:] != end:
            return False
        number, timeout_ms = data[at_least:at_timeout], data[at_timeout + 29 : at_environment]
        environment, restored_at = data[at_environment + 19 : at_time], data[at_time + 16 : at_clock]
        monotonic = data[at_clock + 22 : -2]
        seconds, _, below_seconds = restored_at.partition(b".")
        clock, _, below_clock = monotonic.partition(b".")
        if not (environment.isalnum() and below_seconds.isdigit() and below_clock.isdigit()):
            return False
        for digits in (number, timeout_ms, seconds, clock):
            if not digits.isdigit() or size(digits) > 15 or digits[0] == 48:  # it may be too large, or begins with a 0
                return False

        # Are the hooks those of before? A module that has come may have others.
        if channel.line is not line or kept["_after_restore"] is not hooks or size(hooks) != count:
            return False
        if size(before) != count_before or size(modules) != count_modules or state["generation"] > generation:
            return False
        at = 0
        for hook in known:
            if hooks[at] is not hook:
                return False
            at += 1  # noqa: SIM113 - `enumerate` is a type, which would be two pages more

        # Told.claim and ask, View.restores
        if key in outcomes or key in asked or claims.setdefault(key, mine) is not mine:
            return False
        asked[key] = []
        state["phase"] = phase
        state["heard"] = environment, restored_at, monotonic

        set_mask(set_all, mask)
        began, times, ran, called, outcome = now(), finished.times, 0, None, None
        said, is_handed_over = None, False
        try:
            if renew is not None:
                if getpid() == pid:
                    text.raw = at_generators
                renew(environment)
                began = now()
            for (func, args, kwargs), at_hook, name in steps:
                if channel.line is None or hooks != known:  # forked, and this is the child; or there are others
                    break
                if getpid() == pid:
                    text.raw = at_hook
                result = raised = None
                is_unusual = False
                try:
                    is_alone = is_left_alone()
                except Exception:  # `call` looks again, and says what is odd about the main thread
                    is_alone = False
                hook_began, cpu_began = now(), cpu()
                try:
                    if is_alone:
                        result = func(*args, **kwargs)
                    else:
                        is_handed_over = True
                        main.phase_begins()
                        result = call(name, partial(func, *args, **kwargs))
                    if result is not None:
                        is_unusual = checks.is_unusual(result)
                except BaseException as error:  # SystemExit and KeyboardInterrupt must not end the thread
                    raised, is_unusual = error, True
                ran += 1
                if is_unusual:
                    called = Called(name, hook_began / NS, result, raised)
                    break
                took_ns = now() - hook_began
                # Reading pages from the snapshot takes time as well, but not the processor's: a loop takes that.
                if took_ns >= SHORTEST_NS and (not is_alone or cpu() - cpu_began >= SHORTEST_NS):
                    result = None  # ours would be the only reference to a connection that nobody keeps
                    own_loops.look(name, took_ns * 1000 / NS)
                times.append(took_ns // 1000)
            if ran < count or called is not None or channel.line is None or hooks != known:
                said = order(number, timeout_ms)
                outcome = go_on(said, began, ran, called)
        except BaseException as error:  # ours, not a hook's; it must not look like success
            outcome = Outcome(0.0, (), runner.describe(error, None))
        finally:
            set_mask(set_all, own_mask)
        if outcome is not None:
            conclude(said or order(number, timeout_ms), outcome, keep=channel)
            return True

        # Told.record, View.phase_ends: the next request to be served may ask is_restored()
        times[0] = (now() - began) // 1000
        if lock(0, ours) is not ours:
            view.lock.acquire()
        try:
            try:
                state["answering"], state["phase"], state["generation"] = True, "ready", generation
                outcomes[key] = finished
                del asked[key]
                if getpid() == pid:
                    text.raw = nothing
                is_sent = post(answer % (number, *times))
            finally:
                unlock()
            if awaited:
                told.ended.happened()
            if not is_sent:
                channel.flush()
        finally:
            state["answering"] = False
            if awaited_view:
                view.changes.happened()
        if is_handed_over:
            main.phase_is_answered()
        return True

    return take
