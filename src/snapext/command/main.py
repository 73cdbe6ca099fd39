"""The commands that run inside a function: `snapext checkpoint`, `done` and `status`. The standard library only.

A cold start, or a signal handler that the phase waits for, pays for each process of such a command.
"""

from __future__ import annotations

import errno
import os
import sys

from snapext.errors import CheckpointError, ControlError
from snapext.guest.own import is_off
from snapext.wire.place import UntrustedError, acknowledgement_path, check_pipe, socket_path

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
MAX_MESSAGE_BYTES = 2_000
"""With the pids of our parents before it, the line is short enough to be written in one piece (PIPE_BUF, pipe(7))."""
WATCH_INTERVAL_S = 1.0
USAGE = """usage: snapext checkpoint | done [--failed MESSAGE] | status [--json] [--watch]
snapext: on your own machine there are also
  layer build|install: pip install lambda-snapext
  simulate, doctor, attach, signal, layer publish: pip install 'lambda-snapext[tools]'"""


def main(arguments: list[str]) -> int:
    """Run one of them; returns the exit status. This is the `snapext` of the layer."""
    try:
        status = run(arguments)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    if status is None and arguments[:1] == ["signal"]:
        return fail("signal is for your own machine: on Lambda only the platform starts hooks", EXIT_USAGE)
    if status is None:
        os.write(2, USAGE.encode() + b"\n")
        return EXIT_USAGE
    return status


def run(arguments: list[str]) -> int | None:
    """Run one of them, or say the version; returns the exit status, or None when the arguments are not plainly such."""
    match arguments:
        case ["checkpoint"]:
            return checkpoint()
        case ["done"]:
            return done(None)
        case ["done", "--failed", message]:
            return done(message)
        case ["status", *options] if {"--json", "--watch"}.issuperset(options):
            return status(as_json="--json" in options, watch="--watch" in options)
        case ["--version"]:
            return version()
    return None


def checkpoint() -> int:
    from snapext.command.checkpoint import checkpoint as cross

    try:
        cross()
    except CheckpointError as error:
        return fail(str(error), error.exit_status)
    return 0


def done(failed: str | None) -> int:
    """Report that the handler that runs this command is done: the extension finds it among our ancestors."""
    if is_off(os.environ):
        say("SNAPEXT_MODE=off: snapext has sent no signal, and waits for no answer")
        return 0
    path = acknowledgement_path(socket_path(os.environ, os.geteuid()))
    if not path.startswith("/"):
        return fail(f"SNAPEXT_SOCKET={os.environ.get('SNAPEXT_SOCKET')!r} is not accepted: an absolute path")
    since, what = f" since {_start_ticks()}".encode(), b""
    if failed is not None:
        said = " ".join(failed.split()).encode(errors="replace")[:MAX_MESSAGE_BYTES]
        what = b" failed " + said.decode(errors="ignore").encode()  # no partial character at its end
    # Begin a new line: another writer may have left its own unfinished.
    line = b"\n" + ",".join(map(str, _ancestors())).encode() + since + what + b"\n"
    try:
        check_pipe(path, os.geteuid())
        pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        os.set_blocking(pipe, True)  # O_NONBLOCK was for a pipe without a reader; a full pipe is read in a moment
        os.write(pipe, line)
    except UntrustedError as error:
        return fail(f"{path} is not used: {error}")
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENXIO):
            return fail(f"no extension reads {path}: is SNAPEXT_SIGNALS set?")
        return fail(f"cannot write to {path}: {error.strerror}")
    return 0


def status(*, as_json: bool, watch: bool) -> int:
    """Print the status once, or every second until no extension answers. With SNAPEXT_MODE=off none does."""
    if is_off(os.environ):
        return _print_off(as_json)
    result = _print_status(as_json)
    if watch:
        import time

        while result == 0:
            time.sleep(WATCH_INTERVAL_S)
            result = _print_status(as_json)
    return result


def _print_status(as_json: bool) -> int:
    import json

    from snapext.command.status_report import lines
    from snapext.wire.ask import ask

    try:
        answer = ask("status")
    except ControlError as error:
        return fail(f"{error}: run this inside a function, or in a process of `snapext simulate`")
    found = answer["status"]
    return _print(json.dumps(found, indent=2) if as_json else "\n".join(lines(found)))


def _print_off(as_json: bool) -> int:
    if not as_json:
        return _print("mode off (SNAPEXT_MODE): no process is linked, and no hook runs")
    import json

    from snapext.command.status_report import OFF

    return _print(json.dumps(OFF, indent=2))


def _print(text: str) -> int:
    try:
        os.write(1, text.encode() + b"\n")
    except OSError as error:
        return fail(f"cannot write to standard output: {error.strerror}")
    return 0


def version() -> int:
    from snapext.wire import VERSION

    os.write(1, f"snapext, version {VERSION}\n".encode())
    return 0


def fail(message: str, status: int = EXIT_FAILED) -> int:
    say(message)
    return status


def say(message: str) -> None:
    os.write(2, f"snapext: {message}\n".encode(errors="backslashreplace"))


def _start_ticks() -> int:
    """When this command started, in clock ticks since boot: an answer begun before the restore does not count after."""
    with open("/proc/self/stat", "rb") as file:
        return start_ticks_in(file.read())


def _ancestors() -> list[int]:
    """Our parent, its parent, and so on. See proc(5)."""
    found = [os.getppid()]
    try:
        while found[-1] > 1:
            with open(f"/proc/{found[-1]}/stat", "rb") as file:
                found.append(parent_pid_in(file.read()))
    except (OSError, ValueError, IndexError):
        pass
    return [pid for pid in found if pid > 0]


# The extension reads these lines in kernel/processes.py, which a command does not import.


def start_ticks_in(stat_line: bytes) -> int:
    return int(stat_line.rpartition(b")")[2].split()[19])


def parent_pid_in(stat_line: bytes) -> int:
    return int(stat_line.rpartition(b")")[2].split()[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
