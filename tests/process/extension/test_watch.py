"""Real processes that are watched: they live, end, fork, and execute another program."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from helpers import App, Loop, clean_environ, wait_until
from snapext_extension.kernel import processes
from snapext_extension.kernel import watch as watch_module
from snapext_extension.kernel.watch import ProcessWatch, image

LIVES = "import sys; print('up', flush=True); sys.stdin.readline()"
EXECUTES = f"""
    import os, sys
    print("up", flush=True); sys.stdin.readline()
    os.execv(sys.executable, [sys.executable, "-c", {LIVES!r}])
"""
Start = Callable[[str], App]


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def ended() -> list[int]:
    return []


@pytest.fixture
def watch(loop: Loop, ended: list[int]) -> Iterator[ProcessWatch]:
    watch = loop.call(lambda: ProcessWatch(loop.reactor, ended.append))
    yield watch
    loop.call(watch.close)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program that says `up` in its first line; it is ended with the test."""
    with ExitStack() as stack:

        def start(code: str) -> App:
            app = stack.enter_context(App(code, clean_environ()))
            assert app.line() == "up"
            return app

        yield start


@pytest.fixture(params=["by a descriptor", "by looking"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to watch must have the same result."""
    if request.param == "by looking":
        monkeypatch.setattr(watch_module, "MAX_DESCRIPTORS", 0)
    return str(request.param)


def pidfds(*pids: int) -> int:
    """How many descriptors of these processes we hold. Other kinds come and go with what earlier tests left to the
    garbage collector."""
    held = []
    for info in Path("/proc/self/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # the one that lists them
            held += [int(line.split()[1]) for line in info.read_text().splitlines() if line.startswith("Pid:")]
    return sum(pid in pids for pid in held)


def start_ticks(pid: int) -> int:
    stat = processes.stat(pid)
    assert stat is not None
    return stat.start_ticks


# --- the end ---------------------------------------------------------------------------------------------------------


def test_the_end_is_told_once(loop: Loop, watch: ProcessWatch, ended: list[int], start: Start, how: str) -> None:
    """However often the process was given, and of no other; afterwards it is not watched."""
    app, other = start(LIVES), start(LIVES)
    for _ in range(3):
        assert loop.call(lambda: watch.watch(app.process.pid))
    assert loop.call(lambda: watch.watch(other.process.pid))
    app.process.kill()
    wait_until(lambda: ended)
    app.process.wait()
    assert not loop.call(lambda: watch.watch(app.process.pid))

    other.process.kill()
    wait_until(lambda: len(ended) == 2)
    assert ended == [app.process.pid, other.process.pid]


def test_a_zombie_has_ended(loop: Loop, watch: ProcessWatch, ended: list[int], start: Start, how: str) -> None:
    """Its parent has not asked for its status, and may never do."""
    app = start(LIVES)
    app.process.kill()
    wait_until(lambda: (seen := processes.stat(app.process.pid)) is not None and seen.state == "Z")
    assert not loop.call(lambda: watch.watch(app.process.pid))
    assert ended == []


def test_a_process_whose_main_thread_has_ended_lives(
    loop: Loop, watch: ProcessWatch, ended: list[int], start: Start, how: str
) -> None:
    """It looks like a zombie, and works on in another thread."""
    code = """
        import ctypes, sys, threading
        def work():
            sys.stdin.readline()
        threading.Thread(target=work).start()
        print("up", flush=True)
        ctypes.CDLL(None).pthread_exit(None)
    """
    app = start(code)
    wait_until(lambda: (seen := processes.stat(app.process.pid)) is not None and seen.state == "Z")
    assert loop.call(lambda: watch.watch(app.process.pid))
    marker = start(LIVES)
    loop.call(lambda: watch.watch(marker.process.pid))
    marker.process.kill()
    wait_until(lambda: ended)
    assert ended == [marker.process.pid]


def test_another_process_of_the_same_number_is_not_watched(
    loop: Loop, watch: ProcessWatch, ended: list[int], start: Start, how: str
) -> None:
    """Their start times differ, and the one watched before has ended."""
    app = start(LIVES)
    pid, ticks = app.process.pid, start_ticks(app.process.pid)
    assert not loop.call(lambda: watch.watch(pid, start_ticks=ticks - 1))
    assert loop.call(lambda: watch.watch(pid, start_ticks=ticks))
    assert loop.call(lambda: watch.watch(pid))
    assert ended == []
    assert not loop.call(lambda: watch.watch(pid, start_ticks=ticks + 1))
    assert ended == [pid]


def test_one_that_is_dropped_is_not_told(
    loop: Loop, watch: ProcessWatch, ended: list[int], start: Start, how: str
) -> None:
    """It has come back, and its descriptors are closed."""
    app, marker = start(LIVES), start(LIVES)
    for process in (app, marker):
        assert loop.call(lambda process=process: watch.watch(process.process.pid))  # type: ignore[misc]
    assert pidfds(app.process.pid) == (how == "by a descriptor")
    loop.call(lambda: watch.drop(app.process.pid))
    loop.call(lambda: watch.drop(app.process.pid))
    assert pidfds(app.process.pid) == 0
    app.process.kill()
    app.process.wait()
    marker.process.kill()
    wait_until(lambda: ended)
    assert ended == [marker.process.pid]


def test_closing_gives_everything_back(loop: Loop, ended: list[int], start: Start, how: str) -> None:
    """The descriptors, and the timer."""
    app = start(LIVES)
    watch = loop.call(lambda: ProcessWatch(loop.reactor, ended.append))
    loop.call(lambda: watch.watch(app.process.pid))
    assert pidfds(app.process.pid) == (how == "by a descriptor")
    loop.call(watch.close)
    assert pidfds(app.process.pid) == 0
    assert loop.reactor._timers == {}


def test_however_many_they_are_all_are_watched(loop: Loop, watch: ProcessWatch, ended: list[int]) -> None:
    """The 101st is treated like the first, and they take a bounded number of descriptors."""
    sleepers = [subprocess.Popen(["sleep", "60"]) for _ in range(130)]
    try:
        for sleeper in sleepers:
            assert loop.call(lambda sleeper=sleeper: watch.watch(sleeper.pid))  # type: ignore[misc]
        assert pidfds(*(sleeper.pid for sleeper in sleepers)) == watch_module.MAX_DESCRIPTORS
        assert ended == []
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()
    wait_until(lambda: len(ended) == len(sleepers))
    assert sorted(ended) == sorted(sleeper.pid for sleeper in sleepers)


def test_a_process_that_comes_and_goes_takes_one_descriptor(
    monkeypatch: pytest.MonkeyPatch, loop: Loop, watch: ProcessWatch, start: Start
) -> None:
    """Each return gives it back, so the hundredth loss is noticed as the first is."""
    monkeypatch.setattr(watch_module, "MAX_DESCRIPTORS", 1)
    app = start(LIVES)
    for _ in range(100):
        assert loop.call(lambda: watch.watch(app.process.pid))
        assert pidfds(app.process.pid) == 1
        loop.call(lambda: watch.drop(app.process.pid))
        assert pidfds(app.process.pid) == 0


def test_those_who_come_do_not_put_off_the_look_at_those_who_are_there(
    loop: Loop, watch: ProcessWatch, ended: list[int], start: Start, how: str
) -> None:
    """An end is noticed although new processes are added all the time."""
    app, other = start(LIVES), start(LIVES)
    loop.call(lambda: watch.watch(app.process.pid))
    app.process.kill()

    def come_and_go() -> list[int]:
        loop.call(lambda: watch.watch(other.process.pid))
        loop.call(lambda: watch.drop(other.process.pid))
        return ended

    assert wait_until(come_and_go) == [app.process.pid]


def test_a_number_that_was_given_to_another_process_is_noticed_by_looking(
    monkeypatch: pytest.MonkeyPatch, loop: Loop, watch: ProcessWatch, ended: list[int], start: Start
) -> None:
    """The kernel gives numbers anew when it has been through all of them: here we remember another start."""
    monkeypatch.setattr(watch_module, "MAX_DESCRIPTORS", 0)
    app = start(LIVES)
    loop.call(lambda: watch.watch(app.process.pid))
    watch._watched[app.process.pid].start_ticks = start_ticks(app.process.pid) - 1
    assert wait_until(lambda: ended) == [app.process.pid]


def test_without_descriptors_nobody_is_taken_for_dead(
    loop: Loop, watch: ProcessWatch, ended: list[int], start: Start
) -> None:
    """Not even /proc can be read then: that a process is there is known, and its end is noticed."""
    app, gone = start(LIVES), start(LIVES)
    gone.process.kill()
    gone.process.wait()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        assert loop.call(lambda: watch.watch(app.process.pid, start_ticks=1))  # nobody can say that it is another
        assert not loop.call(lambda: watch.watch(gone.process.pid))
        assert loop.call(watch.changed) == []
        loop.call(lambda: watch.drop(app.process.pid))
        assert loop.call(lambda: watch.watch(app.process.pid))
        app.process.kill()
        os.waitpid(app.process.pid, 0)
        wait_until(lambda: ended)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    app.process.returncode = -signal.SIGKILL
    assert ended == [app.process.pid]


# --- another program -------------------------------------------------------------------------------------------------


def test_a_process_that_executes_another_program_has_changed(
    loop: Loop, watch: ProcessWatch, ended: list[int], start: Start, how: str
) -> None:
    """Even if it is the same interpreter with the same arguments; it did not end."""
    app, other = start(EXECUTES), start(LIVES)
    for process in (app, other):
        assert loop.call(lambda process=process: watch.watch(process.process.pid))  # type: ignore[misc]
    assert loop.call(watch.changed) == []
    app.go()
    assert app.line() == "up"

    assert loop.call(watch.changed) == [app.process.pid]
    assert ended == []


def test_the_image_can_be_that_of_an_earlier_time(loop: Loop, watch: ProcessWatch, start: Start, how: str) -> None:
    """It was taken when the process joined; by the time that it is watched it has executed something else."""
    app = start(EXECUTES)
    joined = image(app.process.pid)
    assert joined is not None
    app.go()
    assert app.line() == "up"
    assert loop.call(lambda: watch.watch(app.process.pid))
    assert loop.call(watch.changed) == []
    assert loop.call(lambda: watch.watch(app.process.pid, joined))
    assert loop.call(watch.changed) == [app.process.pid]
    assert loop.call(lambda: watch.watch(app.process.pid))  # without one, what was known is kept
    assert loop.call(watch.changed) == [app.process.pid]


def test_a_fork_has_the_image_of_its_parent(start: Start) -> None:
    """Until it executes something itself."""
    app = start(
        """
        import os, sys
        child = os.fork()
        if child == 0:
            sys.stdin.readline()
            os.execv("/bin/sleep", ["sleep", "60"])
        print("up", flush=True); print(child, flush=True)
        os.waitpid(child, 0)
        """
    )
    child = int(app.line())
    assert image(child) == image(app.process.pid)
    app.go()
    wait_until(lambda: processes.program(child) == "sleep")
    assert wait_until(lambda: image(child)) != image(app.process.pid)  # in the middle of exec(2) there is none
    os.kill(child, signal.SIGKILL)


def test_a_title_of_its_own_is_no_other_program(loop: Loop, watch: ProcessWatch, start: Start) -> None:
    """Servers give themselves one: in comm, and over the words that they were started with."""
    code = """
        import ctypes, sys
        print("up", flush=True); sys.stdin.readline()
        open("/proc/self/comm", "w").write("worker 1")
        begin, end = map(int, open("/proc/self/stat").read().rpartition(")")[2].split()[45:47])
        ctypes.memset(begin, ord("x"), end - begin)
        print("up", flush=True); sys.stdin.readline()
    """
    app = start(code)
    assert loop.call(lambda: watch.watch(app.process.pid))
    app.go()
    assert app.line() == "up"
    with open(f"/proc/{app.process.pid}/cmdline") as words:
        assert words.read().startswith("xxx")
    assert loop.call(watch.changed) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_may_not_be_read_is_never_a_change(start: Start) -> None:
    """A process that we may not look into has no image that we know, before and after."""
    app = start(EXECUTES)
    code = f"""
        import os, sys
        from snapext_extension.reactor import Reactor
        from snapext_extension.kernel.watch import ProcessWatch, image
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        watch = ProcessWatch(Reactor(), print)
        assert watch.watch({app.process.pid}, (4096, 4096))
        assert image({app.process.pid}) is None
        print(watch.changed())
    """
    with App(code, clean_environ(PYTHONPATH=":".join(filter(None, sys.path)))) as other:
        assert other.end() == ("[]\n", "")


@pytest.mark.parametrize("content", [b"", b"1 (x) R 1 2\n", b"1 (x) " + b"x " * 60])
def test_what_is_not_understood_is_not_the_end(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """A file in /proc that is not as documented says nothing."""
    monkeypatch.setattr(watch_module, "read", lambda _: content)
    assert image(os.getpid()) is None
