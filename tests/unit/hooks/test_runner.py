"""The runner: order, failures, async hooks, names and stacks, in this process."""

import asyncio
import functools
import os
import signal

import pytest

import snapext
from helpers import LIMIT_S, for_each, wait_until
from phases import failure, forget_loops, no_hooks, run_after_restore, run_before_snapshot, turning_loop
from snapext.hooks import loops, runner
from snapext.hooks.runner import hook_name

PHASES = [
    pytest.param(snapext.register_before_snapshot, run_before_snapshot, id="before_snapshot"),
    pytest.param(snapext.register_after_restore, run_after_restore, id="after_restore"),
]
after_restore_only = pytest.mark.parametrize(("register", "run"), PHASES[1:])
both_phases = pytest.mark.parametrize(("register", "run"), PHASES)


@pytest.fixture(autouse=True)
def clean():
    """No hooks and no loops before and after each test, and no link to anything."""
    with no_hooks():
        yield
    forget_loops()


@pytest.fixture
def app_loop():
    """An event loop that turns in a thread of its own, bound as the app's."""
    with turning_loop() as loop:
        yield loop


@pytest.fixture(params=["bound", "private"])
def any_loop(request):
    """Once with the app's own loop, once with a private one."""
    return request.getfixturevalue("app_loop") if request.param == "bound" else None


def outcome(run, timeout_ms=10_000):
    started = []
    return run(timeout_ms, started.append), started


# --- order -----------------------------------------------------------------------------------------------------------


def test_before_snapshot_runs_backwards_and_after_restore_forwards():
    """The last before-snapshot hook runs first; after-restore hooks run in order; the registries stay as they are."""
    ran = []
    for number in range(3):
        snapext.register_before_snapshot(ran.append, number)
        snapext.register_after_restore(ran.append, number)
    run_before_snapshot(1_000, lambda _: None)
    run_after_restore(1_000, lambda _: None)

    assert ran == [2, 1, 0, 0, 1, 2]
    assert 3 == len(snapext.get_before_snapshot()) == len(snapext.get_after_restore())


@both_phases
def test_a_hook_gets_its_arguments(register, run):
    """Positional and keyword arguments of the registration reach the hook."""
    got = []
    register(lambda *args, **kwargs: got.append((args, kwargs)), 1, [2], three=3)
    run(1_000, lambda _: None)

    assert got == [((1, [2]), {"three": 3})]


@both_phases
def test_hooks_registered_during_the_phase_run_too(register, run):
    """What a hook registers for its own phase still runs in it, once, and before older hooks that run backwards."""
    ran = []

    def registers():
        ran.append("registers")
        register(ran.append, "late 1")
        register(ran.append, "late 2")

    if run is run_before_snapshot:
        register(ran.append, "old")
        register(registers)
        expected = ["registers", "late 2", "late 1", "old"]
    else:
        register(registers)
        register(ran.append, "old")
        expected = ["registers", "old", "late 1", "late 2"]
    result, started = outcome(run)

    assert expected == ran
    assert 4 == len(result.hooks) == len(started)


@both_phases
def test_the_first_failure_ends_the_phase(register, run):
    """Hooks after the one that raised do not run; those before it are reported with their times."""
    ran = []
    hooks = [functools.partial(ran.append, "fine"), lambda: 1 / 0, functools.partial(ran.append, "never")]
    for hook in hooks if run is run_after_restore else reversed(hooks):
        register(hook)
    result, started = outcome(run)

    assert (ran, len(result.hooks), len(started)) == (["fine"], 1, 2)
    assert result.error.type == "ZeroDivisionError"


def test_no_hooks_are_a_success():
    """A process without hooks is done at once."""
    assert (outcome(run_after_restore)[0].error, outcome(run_after_restore)[0].hooks) == (None, ())


# --- failures --------------------------------------------------------------------------------------------------------


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class ExitsWhenPrintedError(Exception):
    def __str__(self):
        raise SystemExit(3)


def raise_(error):
    raise error


async def raise_async_after(seconds):
    await asyncio.sleep(seconds)
    raise ValueError("late")


async def raise_async(error):
    await asyncio.sleep(0)
    raise error


ERRORS = [
    ValueError("boom"),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    StopIteration(7),
    UnprintableError(),
    ExitsWhenPrintedError(),
    asyncio.CancelledError(),
    ExceptionGroup("both", [ValueError("a"), OSError("b")]),
    UnicodeEncodeError("ascii", "\ud800", 0, 1, "\ud800"),
    type("Ü🦀" * 5_000, (Exception,), {})("\x00\ud800" * 100_000),
    RecursionError(),
    MemoryError(),
    TimeoutError("of the hook's own making"),
]


def error_id(error):
    return type(error).__name__[:20].encode("ascii", "replace").decode()


@both_phases
@pytest.mark.parametrize("error", ERRORS, ids=error_id)
def test_whatever_a_hook_raises_is_reported(register, run, error):
    """Nothing that a hook raises escapes, and the report names the hook and the type, and shows where."""
    register(raise_, error)
    reported = failure(run)

    assert reported.hook == "test_runner.raise_"
    assert type(error).__name__.startswith(reported.type)
    assert len(reported.type) <= runner.MAX_NAME_CHARS
    assert len(reported.message) <= runner.MAX_MESSAGE_CHARS
    assert len(reported.stack) <= runner.MAX_STACK_CHARS


@pytest.mark.parametrize("error", [e for e in ERRORS if not isinstance(e, StopIteration)], ids=error_id)
def test_whatever_an_async_hook_raises_is_reported(any_loop, error):
    """The same holds for async hooks, on the app's loop, which goes on turning, and on a private one."""
    snapext.register_after_restore(raise_async, error)
    reported = failure(run_after_restore)

    assert reported.hook == "test_runner.raise_async"
    assert type(error).__name__.startswith(reported.type)
    if any_loop is not None:
        assert asyncio.run_coroutine_threadsafe(asyncio.sleep(0, 1), any_loop).result(LIMIT_S) == 1


def test_a_timeout_of_the_hooks_own_keeps_its_message():
    """Only when the phase's budget is used up is a TimeoutError taken for ours."""
    snapext.register_after_restore(raise_, TimeoutError("the pool is empty"))

    assert failure(run_after_restore).message == "the pool is empty"


@pytest.mark.parametrize("func", [None, 7, "hook"])
def test_what_cannot_be_called_is_reported_as_such(func):
    """Registering nonsense is not an error; running it is, with a report."""
    snapext.register_after_restore(func)

    assert failure(run_after_restore).type == "TypeError"


def outer_hook():
    inner_helper()


def inner_helper():
    raise ValueError("deep")


async def outer_async_hook():
    await asyncio.sleep(0)
    inner_helper()


def test_a_stack_begins_at_the_hook():
    """The stack shows the hook and what it called, and no frame of ours."""
    snapext.register_after_restore(outer_hook)
    stack = failure(run_after_restore).stack.splitlines()
    frames = [line for line in stack if line.startswith("  File")]

    assert [frame.rpartition(" in ")[2] for frame in frames] == ["outer_hook", "inner_helper"]
    assert stack[-1] == "ValueError: deep"


def test_the_stack_of_an_async_hook_begins_at_the_hook(any_loop):
    """Frames of asyncio, of concurrent.futures and of ours between us and an async hook are left out."""
    snapext.register_after_restore(outer_async_hook)
    frames = [line for line in failure(run_after_restore).stack.splitlines() if line.startswith("  File")]

    assert [frame.rpartition(" in ")[2] for frame in frames] == ["outer_async_hook", "inner_helper"]


def test_the_end_of_a_long_stack_is_kept():
    """Of a stack that is too long the end is kept, where the error is."""

    def recurse_in_turn(depth):  # two functions in turn, so that the traceback is not folded
        return recurse_2(depth - 1) if depth else inner_helper()

    def recurse_2(depth):
        return recurse_in_turn(depth)

    snapext.register_after_restore(recurse_in_turn, 100)
    stack = failure(run_after_restore).stack

    assert len(stack) == runner.MAX_STACK_CHARS
    assert stack.endswith("ValueError: deep\n")


# --- names -----------------------------------------------------------------------------------------------------------


class CallableObject:
    func = None  # a callable object may have any attribute, also this one

    def __call__(self):
        pass

    def method(self):
        pass


class Hostile:
    """Anything may be registered, even what cannot be looked at."""

    def __getattr__(self, name):
        raise RuntimeError(name)

    def __call__(self):
        raise ValueError("ran")


@for_each(
    "func, name",
    [
        (raise_, "test_runner.raise_"),
        (functools.partial(raise_, 1), "test_runner.raise_"),
        (functools.partial(functools.partial(raise_), 1), "test_runner.raise_"),
        (CallableObject(), "test_runner.CallableObject"),
        (CallableObject().method, "test_runner.CallableObject.method"),
        (functools.partial(CallableObject().method), "test_runner.CallableObject.method"),
        (CallableObject, "test_runner.CallableObject"),
        (lambda: None, "test_runner.<lambda>"),
        ([].append, "?.list.append"),
        (print, "builtins.print"),
        (None, "?.NoneType"),
    ],
)
def test_a_hook_has_the_name_a_person_would_look_for(func, name):
    """A hook is named by its module and qualified name, a partial by what it wraps, another callable by its class."""
    assert name == hook_name(func)


def test_a_name_is_never_too_long():
    """A generated name of any length fits into a message."""
    func = lambda: None  # noqa: E731
    func.__qualname__ = "x" * 1_000

    assert len(hook_name(func)) == runner.MAX_NAME_CHARS


def test_a_hook_without_a_name_still_runs():
    """An object that raises when it is asked for its name is run and reported like any other."""
    snapext.register_after_restore(Hostile())

    assert (failure(run_after_restore).type, failure(run_after_restore).message) == ("ValueError", "ran")


# --- async hooks -----------------------------------------------------------------------------------------------------


def test_an_async_hook_runs_on_the_apps_own_loop(app_loop):
    """What an async hook makes belongs to the loop on which the app will use it."""
    loops = []

    async def hook():
        loops.append(asyncio.get_running_loop())

    snapext.register_before_snapshot(hook)
    snapext.register_after_restore(hook)
    results = [outcome(run)[0].error for run in (run_before_snapshot, run_after_restore)]

    assert ([app_loop] * 2, [None, None]) == (loops, results)


def test_without_a_bound_loop_both_phases_share_a_private_one():
    """What a before-snapshot hook made on the private loop, an after-restore hook can still use."""
    loops = []

    async def hook():
        loops.append(asyncio.get_running_loop())

    snapext.register_before_snapshot(hook)
    snapext.register_after_restore(hook)
    run_before_snapshot(1_000, lambda _: None)
    run_after_restore(1_000, lambda _: None)

    assert loops[0] is loops[1]


def test_a_bound_loop_that_has_stopped_is_not_waited_for():
    """After the app's loop has ended, async hooks run on a private one."""
    loop = asyncio.new_event_loop()
    snapext.bind_loop(loop)
    loop.close()
    snapext.register_after_restore(asyncio.sleep, 0)

    assert None is outcome(run_after_restore)[0].error


def test_any_awaitable_is_awaited(any_loop):
    """A plain function that returns an awaitable is an async hook too, and so is a partial of one."""
    ran = []

    class Awaitable:
        def __await__(self):
            ran.append("object")
            yield from asyncio.sleep(0).__await__()

    async def hook(name):
        ran.append(name)

    snapext.register_after_restore(lambda: hook("lambda"))
    snapext.register_after_restore(functools.partial(hook, "partial"))
    snapext.register_after_restore(Awaitable)

    assert (outcome(run_after_restore)[0].error, ran) == (None, ["lambda", "partial", "object"])


def test_a_hook_registered_while_a_loop_runs_binds_it(monkeypatch):
    """An app that registers within its lifespan need not call bind_loop."""

    async def lifespan():
        loops.bind_running_loop()
        return asyncio.get_running_loop()

    loop = asyncio.run(lifespan())

    assert loop is loops._bound
    loops.bind_running_loop()  # none runs here, which is no error
    assert loop is loops._bound


@pytest.fixture
def unbound_loop(app_loop):
    """A loop of the app that turns in another thread, and that we have not been told."""
    loops._bound = None
    return app_loop


def test_an_async_hook_on_a_private_loop_beside_the_apps_own_is_warned_of(unbound_loop, monkeypatch):
    """The app cannot use what it opens there: the line names the hook and what to call."""
    said = []
    monkeypatch.setattr(loops.notice, "once", lambda _, line: said.append(line))
    snapext.register_after_restore(raise_async_after, 0)
    run_after_restore(1_000, lambda _: None)

    (line,) = said
    assert "the async hook raise_async_after runs on a loop of snapext's own" in line
    assert "snapext.bind_loop()" in line


def test_without_a_loop_of_the_app_nobody_is_warned(monkeypatch):
    """A private loop is then as good as any."""
    said = []
    monkeypatch.setattr(loops.notice, "once", lambda _, line: said.append(line))
    snapext.register_after_restore(asyncio.sleep, 0)
    run_after_restore(1_000, lambda _: None)

    assert said == []


def test_what_belongs_to_another_loop_is_explained():
    """asyncio's own message says what is wrong; ours adds what to do."""
    other = asyncio.new_event_loop()
    future = other.create_future()

    async def waits():
        await future

    snapext.register_after_restore(waits)
    message = failure(run_after_restore).message
    other.close()

    assert "attached to a different loop" in message
    assert message.endswith("Call snapext.bind_loop() where the app's loop runs, in an ASGI lifespan say")


def test_a_plain_hook_is_called_where_the_caller_says_and_a_coroutine_function_here():
    """The caller gets its name; what only makes a coroutine needs no other thread."""
    called = []

    def call(name, call):
        called.append(name)
        return call()

    snapext.register_after_restore(raise_async_after, 0)
    snapext.register_after_restore(called.append, "itself")
    hooks = snapext.get_after_restore()
    runner.run(runner.after_restore(hooks[1:], 1_000, lambda _: None, call))
    runner.run(runner.after_restore(hooks[:1], 1_000, lambda _: None, call))

    assert called == ["?.list.append", "itself"]


def test_bind_loop_needs_a_loop():
    """Calling bind_loop where no loop runs is the caller's mistake and says so."""
    with pytest.raises(RuntimeError, match="no running event loop"):
        snapext.bind_loop()


def test_signals_do_not_cut_a_hook_short():
    """A signal that arrives while a hook runs is the app's business."""
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    try:
        snapext.register_after_restore(os.kill, os.getpid(), signal.SIGUSR1)
        assert None is outcome(run_after_restore)[0].error
        wait_until(lambda: seen)
    finally:
        signal.signal(signal.SIGUSR1, before)
