"""Run the hooks of one phase, which the caller gives, and say how it went. Knows nothing of sockets.

A phase is a generator: what an async hook has returned is handed out, and how awaiting it ended is handed in. So the
same code serves a thread that waits (`run`) and a task on the app's own loop (`run_here`).
"""

from __future__ import annotations

import sys
import time
from _functools import partial  # type: ignore[import-not-found]  # `functools` takes 4 ms to import

from snapext.guest.primitives import importing
from snapext.hooks import checks, loops, own_loops
from snapext.wire.messages import HookFailure, HookTiming
from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from types import TracebackType
    from typing import Any

    from snapext.hooks.registry import Hook

    Caller = Callable[[str, Callable[[], Any]], Any]
    Phase = Generator[tuple[Awaitable[Any], float], BaseException | None, "Outcome"]

# A failure must fit into one line of the protocol, even if JSON writes each of its characters as six. One that is
# mostly emoji takes twelve each, and its sender cuts it once more.
MAX_MESSAGE_CHARS = 1_000
MAX_STACK_CHARS = 8_000
MAX_NAME_CHARS = 100
OF_ANOTHER_LOOP = ("attached to a different loop", "bound to a different event loop")
RUNS_NOTHING = "HookRunsNothing"
"""The type of the failure of a hook that can be called, but does nothing."""


class Outcome:
    """How a phase ended in this process; `error` is None when every hook ran, `raised` is what the one raised.

    registered: how many hooks there were when we looked for the last time. One that another thread has registered since
    has not run, and the extension notices by this number. None where not all have run, or none was to.
    """

    __slots__ = ("duration_ms", "error", "hooks", "raised", "registered")

    def __init__(
        self,
        duration_ms: float,
        hooks: tuple[HookTiming, ...],
        error: HookFailure | None,
        raised: BaseException | None = None,
        registered: int | None = None,
    ) -> None:
        self.duration_ms = duration_ms
        self.hooks = hooks
        self.error = error
        self.raised = raised
        self.registered = registered


def call_here(_name: str, call: Callable[[], Any]) -> Any:
    """Make the call in this very thread."""
    return call()


def before_snapshot(
    hooks: list[Hook],
    after_restore_hooks: list[Hook],
    timeout_ms: int,
    on_start: Callable[[str], None],
    call: Caller = call_here,
) -> Phase:
    """The phase before the snapshot, the last registered hook first. See `_phase`.

    No hook runs if one of either phase would do nothing: after the snapshot it is too late to say so.
    """
    refused = _refuse(hooks, BEFORE_SNAPSHOT) or _refuse(after_restore_hooks, AFTER_RESTORE)
    if refused is not None:
        return Outcome(0.0, (), refused)
    return (yield from _phase(Pending(hooks, newest_first=True), timeout_ms, on_start, call))


def after_restore(
    hooks: list[Hook], timeout_ms: int, on_start: Callable[[str], None], call: Caller = call_here
) -> Phase:
    """The phase after the restore, in order of registration. See `_phase`."""
    return (yield from _phase(Pending(hooks), timeout_ms, on_start, call))


def run(phase: Phase) -> Outcome:
    """Run a phase in this thread, which waits for async hooks; they run on the app's loop, or on a private one."""
    ended: BaseException | None = None
    while True:
        try:
            awaitable, deadline = phase.send(ended)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome
        try:
            loops.run(awaitable, deadline)
            ended = None
        except BaseException as error:  # SystemExit and KeyboardInterrupt must not end the link's thread in silence
            ended = error


async def run_here(phase: Phase, in_hook: Callable[[bool], None]) -> Outcome:
    """Run a phase on the running loop, which goes on meanwhile. `in_hook` is told when a hook takes and leaves it."""
    ended: BaseException | None = None
    while True:
        in_hook(True)
        try:
            awaitable, deadline = phase.send(ended)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome
        finally:
            in_hook(False)
        try:
            await loops.run_here(awaitable, deadline)
            ended = None
        except BaseException as error:  # one of a hook, SystemExit too: the loop belongs to the app
            ended = error


def _refuse(hooks: list[Hook], phase: str) -> HookFailure | None:
    """The failure of the first hook that would run nothing."""
    for func, _, _ in list(hooks):
        why = checks.why_it_runs_nothing(func)
        if why is not None:
            name = hook_name(func)
            return HookFailure(RUNS_NOTHING, f"the {phase} hook {name} {why}"[:MAX_MESSAGE_CHARS], "", name)
    return None


def hook_name(func: Callable[..., Any]) -> str:
    """`module.qualified_name` of a hook; of what a functools.partial wraps; of the class of another callable."""
    if isinstance(func, partial):
        func = func.func
    try:
        qualname = getattr(func, "__qualname__", None) or type(func).__qualname__
        return f"{getattr(func, '__module__', None) or '?'}.{qualname}"[:MAX_NAME_CHARS]
    except Exception:  # an object that cannot be asked for its name is still to be run
        return f"?.{type(func).__qualname__}"[:MAX_NAME_CHARS]


def behind(known: list[Hook], ran: int, hooks: list[Hook]) -> Pending:
    """What is to run of `hooks`, once `ran` of those that there were have run."""
    pending = Pending(known)
    del pending.waiting[:ran]
    pending.registry = hooks
    return pending


class Pending:
    """The hooks that have not run yet, each once, in the order of the registry, or with `newest_first` against it.

    Those that a hook registers meanwhile come last, or next, as in the managed runtime. None is lost if one is removed.
    """

    def __init__(self, registry: list[Hook], *, newest_first: bool = False) -> None:
        self.registry = registry
        self.waiting = list(registry)
        self._next = -1 if newest_first else 0
        self._last = list(registry)
        self._seen = {id(hook): hook for hook in registry}

    @property
    def registered(self) -> int:
        """How many there were when we looked for the last time."""
        return len(self._last)

    def __iter__(self) -> Pending:
        return self

    def __next__(self) -> Hook:
        self._add_new()
        if not self.waiting:
            raise StopIteration
        return self.waiting.pop(self._next)

    def _add_new(self) -> None:
        """Have what has come into the registry run in its place there: an integration puts its own in front."""
        if self.registry == self._last:
            return
        self._last = list(self.registry)
        place = len(self.waiting)
        for hook in reversed(self._last):
            if id(hook) in self._seen:
                place = next((at for at, waiting in enumerate(self.waiting) if waiting is hook), place)
            else:
                self._seen[id(hook)] = hook
                self.waiting.insert(place, hook)


def _phase(hooks: Pending, timeout_ms: int, on_start: Callable[[str], None], call: Caller) -> Phase:
    """Call each hook; the first that raises ends the phase. `on_start` gets the name of each before it runs.

    `call` gets the name as well, and makes the call in the thread where a plain hook belongs.
    """
    return (yield from go_on(hooks, Course(time.monotonic(), timeout_ms), on_start, call))


class Course:
    """How far a phase has come. times_ms: of the hooks that have run to their end."""

    __slots__ = ("deadline", "names", "started", "times_ms")

    def __init__(self, started: float, timeout_ms: int) -> None:
        self.started = started
        self.deadline = started + timeout_ms / 1000
        self.names: list[str] = []
        self.times_ms: list[float] = []

    def outcome(self, error: HookFailure | None, raised: BaseException | None, registered: int) -> Outcome:
        timings = tuple([HookTiming(*timing) for timing in zip(self.names, self.times_ms, strict=True)])
        return Outcome(_ms_since(self.started), timings, error, raised, registered if error is None else None)


class Called:
    """A hook that has been called, and what it has returned or raised."""

    __slots__ = ("name", "raised", "result", "started")

    def __init__(self, name: str, started: float, result: Any, raised: BaseException | None) -> None:
        self.name = name
        self.started = started
        self.result = result
        self.raised = raised


def go_on(
    hooks: Pending,
    course: Course,
    on_start: Callable[[str], None],
    call: Caller,
    called: Called | None = None,
) -> Phase:
    """The rest of a phase, of which the hooks have run that `course` has. called: one of which nothing has come yet."""
    error: HookFailure | None = None
    raised: BaseException | None = None
    while True:
        if called is None:
            hook = next(hooks, None)
            if hook is None:
                break
            called = _called(hook, on_start, call)
        name, hook_started, raised = called.name, called.started, called.raised
        why = awaitable = None
        if raised is None:
            try:
                why = checks.why_result_ran_nothing(called.result)
                awaitable = called.result if checks.is_awaitable(called.result) else None
            except BaseException as error_of_result:  # it may be anything, also what cannot be looked at
                raised = error_of_result
        called = None  # ours would be the only reference to a connection that nobody keeps
        if awaitable is not None:
            raised = yield awaitable, course.deadline
        duration_ms = _ms_since(hook_started)
        if awaitable is None and raised is None:
            own_loops.look(name, duration_ms)
        if why is not None:
            error = HookFailure(RUNS_NOTHING, f"{name}: {why}"[:MAX_MESSAGE_CHARS], "", name, duration_ms)
        elif raised is not None:
            error = _failure(raised, name, duration_ms, course.deadline)
        if error is not None:
            break
        course.names.append(name)
        course.times_ms.append(duration_ms)
    return course.outcome(error, raised, hooks.registered)


def _called(hook: Hook, on_start: Callable[[str], None], call: Caller) -> Called:
    func, args, kwargs = hook
    name = hook_name(func)
    on_start(name)
    started, result = time.monotonic(), None
    try:
        if checks.is_coroutine_function(func):
            result = func(*args, **kwargs)  # runs nothing yet
        else:
            result = call(name, lambda: func(*args, **kwargs))
    except BaseException as error_of_hook:  # SystemExit and KeyboardInterrupt must not end the thread in silence
        return Called(name, started, None, error_of_hook)
    return Called(name, started, result, None)


def _failure(error: BaseException, name: str, duration_ms: float, deadline: float) -> HookFailure:
    message = None
    if isinstance(error, TimeoutError) and time.monotonic() >= deadline:
        message = f"still running after {duration_ms:.0f} ms, when the phase's budget was used up"
    elif isinstance(error, RuntimeError) and any(words in _text(error) for words in OF_ANOTHER_LOOP):
        message = f"{_text(error)[: MAX_MESSAGE_CHARS // 2]}. {loops.BIND}"
    return describe(error, name, message, duration_ms)


def describe(
    error: BaseException, hook: str | None, message: str | None = None, duration_ms: float | None = None
) -> HookFailure:
    """An exception as a report: its stack begins at the hook, not in frames of ours or of what drives async hooks."""
    with importing:
        import traceback  # costs 20 ms, and only a failure needs it

        if sys.version_info >= (3, 13):
            import ast  # noqa: F401 - it would import that while it formats

    stack = "".join(traceback.format_exception(type(error), error, from_the_hook_on(error.__traceback__)))
    return HookFailure(
        type=type(error).__name__[:MAX_NAME_CHARS],
        message=(_text(error) if message is None else message)[:MAX_MESSAGE_CHARS],
        stack=stack[-MAX_STACK_CHARS:],
        hook=hook,
        duration_ms=duration_ms,
    )


def from_the_hook_on(stack: TracebackType | None) -> TracebackType | None:
    """A stack without the frames of ours, and of what drives async hooks, that come before the hook."""
    while stack is not None and _is_between_us_and_a_hook(stack.tb_frame.f_globals):
        stack = stack.tb_next
    return stack


def _is_between_us_and_a_hook(module_globals: dict[str, Any]) -> bool:
    return str(module_globals.get("__name__")).partition(".")[0] in ("snapext", "asyncio", "concurrent")


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # an exception whose own text fails is still to be reported
        return "(its text cannot be had)"


def _ms_since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)
