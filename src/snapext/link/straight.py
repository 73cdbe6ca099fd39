"""The straight way of a restore that goes as expected, prepared at the end of the phase before the snapshot.

A page that is touched first after the restore is a read from the snapshot, so this does little: it reads one line,
writes the name of each hook on the board, calls the hooks, and writes one line. Whatever is not as expected goes the
general way (`Orders`): at once where the line or the hooks are others, from there on where a hook does what few do.
Both ways say the same; tests compare them.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` makes enums of what it returns
import os
import sys
from _operator import is_
from time import monotonic

from snapext.guest import notice
from snapext.hooks import around, checks, own_loops, registry, runner
from snapext.hooks.runner import Called, Course, Outcome
from snapext.wire.board import written
from snapext.wire.fields import LIMIT
from snapext.wire.json_text import quote, scan
from snapext.wire.messages import MAX_LINE_BYTES, AfterRestore, HookTiming
from snapext.wire.phases import AFTER_RESTORE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from snapext.hooks.registry import Hook
    from snapext.link.board import Line
    from snapext.link.channel import Channel
    from snapext.link.told import Told
    from snapext.link.view import View

    Said = tuple[int, int, int, str, float, float]
    """The fields of AfterRestore, in its order."""
    Step = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], bytes, str]
    """A hook, what is written on the board for it, and its name."""

GENERATION = 1
"""What an environment is restored to. (`snapext signal` counts on: its later rounds go the general way.)"""
MAX_ANSWER_BYTES = MAX_LINE_BYTES // 2
TIME_BYTES = 30


class Finished(Outcome):
    """A phase in which each hook ran to its end. The timings become records only if somebody asks once more."""

    __slots__ = ("_names", "_times_ms")

    def __init__(self, duration_ms: float, names: list[str], times_ms: list[float]) -> None:
        self.duration_ms = duration_ms
        self.error = self.raised = None
        self.registered = len(names)
        self._names = names
        self._times_ms = times_ms

    @property
    def hooks(self) -> tuple[HookTiming, ...]:  # type: ignore[override]  # nobody sets it
        return tuple([HookTiming(*timing) for timing in zip(self._names, self._times_ms, strict=True)])


def prepare(
    view: View, told: Told, channel: Channel, mask: set[int], conclude: Callable[..., None]
) -> Callable[[bytes], bool] | None:
    """What takes the line of the next restore, or None where only the general way will do. Never raises."""
    try:
        hooks = registry.get_after_restore()
        if channel.line is None or os.environ.get("SNAPEXT_LOG_LEVEL") == "debug":  # each step is said there
            return None
        if any(checks.is_coroutine_function(hook[0]) for hook in hooks):
            return None
        straight = Straight(view, told, channel, mask, conclude, hooks)
        return straight.take if straight.answer_bytes <= MAX_ANSWER_BYTES else None
    except Exception as error:  # a hook may be anything, also something that cannot be looked at
        notice.debug(f"the restore goes the general way: {error!r}")
        return None


class Straight:
    """One restore, as it is expected when this is made.

    mask: the signals that the app's threads block. conclude: ends the phase in the general way.
    """

    def __init__(
        self,
        view: View,
        told: Told,
        channel: Channel,
        mask: set[int],
        conclude: Callable[..., None],
        hooks: list[Hook],
    ) -> None:
        self._view = view
        self._told = told
        self._channel = channel
        self._mask = mask
        self._conclude = conclude
        self._hooks = hooks
        self._known = list(hooks)
        self._before = registry.get_before_snapshot()
        self._known_before = len(self._before)
        self._modules = len(sys.modules)
        self._names = [runner.hook_name(hook[0]) for hook in hooks]
        self._steps: list[Step] = [
            (*hook, written(GENERATION, name), name) for hook, name in zip(hooks, self._names, strict=True)
        ]
        self._renew = around.renewal()
        self._at_generators = written(GENERATION, around.GENERATORS)
        timings = ",".join([f'{{"name":{quote(name).replace("%", "%%")},"duration_ms":%s}}' for name in self._names])
        self._answer = f'{{"type":"done","id":%s,"ok":true,"duration_ms":%s,"hooks":[{timings}]'
        self._answer += f',"registered":{len(hooks)}}}\n'
        self.answer_bytes = len(self._answer) + TIME_BYTES * len(hooks)
        told.main.settle()

    def take(self, data: bytes) -> bool:
        """Do what the line says, if it is the one that is expected, and answer. False: nothing has been done."""
        said, line, told = _read(data), self._channel.line, self._told
        if said is None or line is None or not self._is_as_before():
            return False
        number, _, timeout_ms, environment_id, restored_at, restored_monotonic = said
        if not told.begins(AFTER_RESTORE, GENERATION, self._channel, number):
            return False
        self._view.phase = AFTER_RESTORE
        self._view.restores(environment_id, restored_at, restored_monotonic)
        told.main.phase_begins()
        own_mask = _signal.pthread_sigmask(_signal.SIG_SETMASK, self._mask)
        try:
            if self._renew is not None:
                line.write(self._at_generators)
                self._renew(environment_id)
            course = Course(monotonic(), timeout_ms)
            left = self._run(line, course)
            outcome = None if left is None else self._go_on(AfterRestore(*said), course, *left)
        except BaseException as error:  # ours, not a hook's; it must not look like success
            outcome = Outcome(0.0, (), runner.describe(error, None))
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, own_mask)
        if outcome is None:
            self._finish(number, course)
        else:
            self._conclude(AfterRestore(*said), outcome, keep=self._channel)
        return True

    def _is_as_before(self) -> bool:
        """Whether the hooks are those that were prepared, and no module has come that may have others."""
        hooks, known = self._hooks, self._known
        return (
            registry.get_after_restore() is hooks
            and len(hooks) == len(known)
            and all(map(is_, hooks, known))
            and len(self._before) == self._known_before
            and len(sys.modules) == self._modules
        )

    def _run(self, line: Line, course: Course) -> tuple[int, Called | None] | None:
        """Call the hooks. Returns None when all have run to their end, and nothing else has come of them.

        Else how many have been called, up to the one that has registered another, say, or has forked and this is its
        child. With it comes the last one if what it has returned or raised is still to be judged.
        """
        main, channel, times_ms = self._told.main, self._channel, course.times_ms
        hooks, known, ran = self._hooks, self._known, 0
        for func, args, kwargs, at_hook, name in self._steps:
            if channel.line is None or hooks != known:
                return ran, None
            line.write(at_hook)
            result = raised = None
            began = monotonic()
            try:
                if main.is_left_alone():
                    result = func(*args, **kwargs)
                else:
                    result = main.call(name, lambda: func(*args, **kwargs))  # noqa: B023 - it is made at once
                is_unusual = result is not None and checks.is_unusual(result)
            except BaseException as error:  # SystemExit and KeyboardInterrupt must not end the thread
                raised, is_unusual = error, True
            ran += 1
            if is_unusual:
                return ran, Called(name, began, result, raised)
            duration_ms = round((monotonic() - began) * 1000, 3)
            if duration_ms >= own_loops.SHORTEST_MS:
                result = None  # ours would be the only reference to a connection that nobody keeps
                own_loops.look(name, duration_ms)
            times_ms.append(duration_ms)
        return (ran, None) if channel.line is None or hooks != known else None

    def _go_on(self, order: AfterRestore, course: Course, ran: int, called: Called | None) -> Outcome:
        """The rest of the phase in the general way, which takes up what the hooks have changed."""
        course.names = self._names[: len(course.times_ms)]
        rest = runner.behind(self._known, ran, self._hooks)
        return runner.run(runner.go_on(rest, course, self._told.sayer(order), self._told.main.call, called))

    def _finish(self, number: int, course: Course) -> None:
        """Each hook has run to its end: say so, in the line that is made but for the times."""
        told, times_ms = self._told, course.times_ms
        duration_ms = round((monotonic() - course.started) * 1000, 3)

        def answer() -> None:
            told.ends(AFTER_RESTORE, GENERATION, Finished(duration_ms, self._names, times_ms))
            self._channel.send_line((self._answer % (number, duration_ms, *times_ms)).encode())
            told.main.phase_is_answered()

        self._view.phase_ends(AFTER_RESTORE, GENERATION, ok=True, answer=answer)


def _read(data: bytes) -> Said | None:
    """What `data` says, if it is one after_restore, all of it, as our extension writes it."""
    try:
        text = data.decode()
        message, end = scan(text, 0)
    except (ValueError, StopIteration, RecursionError):
        return None
    if end + 1 != len(text) or text[end] != "\n" or type(message) is not dict:
        return None
    get = message.get
    number, generation, timeout_ms = get("id"), get("generation"), get("timeout_ms")
    environment_id, at, monotonic_at = get("environment_id"), get("restored_at"), get("restored_monotonic")
    if (
        get("type") == AFTER_RESTORE
        and type(number) is type(generation) is type(timeout_ms) is int
        and generation == GENERATION
        and 0 <= number < LIMIT
        and 0 <= timeout_ms < LIMIT
        and type(environment_id) is str
        and type(at) is type(monotonic_at) is float
        and 0 <= at < LIMIT
        and 0 <= monotonic_at < LIMIT
    ):
        return number, generation, timeout_ms, environment_id, at, monotonic_at
    return None
