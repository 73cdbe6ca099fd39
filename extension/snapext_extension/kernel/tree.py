"""Which processes are the function's: those of its start command, or of its environment where nobody has named that.

Nothing here raises for a process that has ended or may not be read.
"""

from __future__ import annotations

import os
import stat as file_modes
from collections.abc import Iterable, Mapping

from snapext_extension.kernel.processes import Stat, ancestors, command, environment, parse_stat, stat, user

_MAX_LINE_BYTES = 1 << 16
_ENDED = "ZX"
_RUNTIMES_OWN = ("_HANDLER", "AWS_EXECUTION_ENV", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR")
"""The variables that Lambda gives to the runtime and to no extension."""
_RUNTIME_API = "AWS_LAMBDA_RUNTIME_API"


def with_descendants(root: Stat) -> list[Stat]:
    """A living process and its living descendants; none if `root` has ended, even if its pid is in use again."""
    alive = _living()
    return _collect([alive[root.pid]], alive) if _is(root, alive) else []


def function_tree(start_command_path: str, extensions_folder: str, own_uid: int) -> list[Stat]:
    """The living processes of the start command: the one that the file names, and all its descendants.

    A daemon has left that tree, and belongs to it all the same. Where there is no such file (an image need not use our
    wrapper), or that process has ended: every process of our user in this environment, but no extension, nothing that
    an extension has started, neither ourselves nor our ancestors.
    """
    alive = _living()
    try:
        root = parse_stat(read_start_command(start_command_path))
    except ValueError:
        root = None
    if root is not None and _is(root, alive):
        return _collect([alive[root.pid], *_daemons(alive)], alive)
    return _without_start_command(alive, os.path.normpath(extensions_folder), own_uid)


def read_start_command(path: str) -> bytes:
    """The file that names the start command's process; empty if it is no regular file of ours.

    Another program may have put a pipe or an endless device in its place: neither must stop us.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        status = os.fstat(file)
        ours = file_modes.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        return os.read(file, _MAX_LINE_BYTES) if ours else b""
    except OSError:
        return b""
    finally:
        os.close(file)


def is_extension(
    command: Iterable[str], environ: Mapping[str, str], folder: str, own_environ: Mapping[str, str]
) -> bool:
    """Whether a process is an extension: it names a file of that folder, or has what Lambda gives to an extension.

    Many a file there is a script that executes a program elsewhere, and then the command line says nothing.
    """
    if any(os.path.dirname(word) == folder for word in command):
        return True
    known = _RUNTIME_API in own_environ and not all(name in own_environ for name in _RUNTIMES_OWN)
    same_platform = environ.get(_RUNTIME_API) == own_environ.get(_RUNTIME_API)
    return known and same_platform and not _is_runtimes_own(environ, own_environ)


def _living() -> dict[int, Stat]:
    """Every process that is alive, by its pid; none if /proc itself cannot be read."""
    found = {}
    try:
        entries = os.listdir("/proc")
    except OSError:
        return {}
    for entry in entries:
        if entry.isdigit():
            process = stat(int(entry))
            if process is not None and process.state not in _ENDED and not process.is_kernel_thread:
                found[process.pid] = process
    return found


def _is(process: Stat, alive: Mapping[int, Stat]) -> bool:
    same = alive.get(process.pid)
    return same is not None and same.start_ticks == process.start_ticks


def _collect(roots: Iterable[Stat], alive: Mapping[int, Stat]) -> list[Stat]:
    children: dict[int, list[Stat]] = {}
    for process in alive.values():
        children.setdefault(process.parent_pid, []).append(process)
    found = {process.pid: process for process in roots}
    pending = list(found.values())
    for process in pending:  # grows while it is read
        for child in children.get(process.pid, ()):
            if child.pid not in found:
                found[child.pid] = child
                pending.append(child)
    return pending


def _daemons(alive: Mapping[int, Stat]) -> list[Stat]:
    """What the start command has started and an ancestor of ours has adopted, by what Lambda gave the runtime alone."""
    above = {1, *ancestors(os.getpid())}
    return [
        process
        for process in alive.values()
        if process.parent_pid in above
        and process.pid not in above
        and _is_runtimes_own(environment(process.pid), os.environ)
    ]


def _without_start_command(alive: Mapping[int, Stat], extensions_folder: str, own_uid: int) -> list[Stat]:
    above = {*ancestors(os.getpid())}
    ours = [process for process in alive.values() if process.pid not in above and user(process.pid) == own_uid]
    environs = {process.pid: environment(process.pid) for process in ours}
    api = os.environ.get(_RUNTIME_API)
    # On Lambda our parent has started everything; on a developer's machine our user runs other things as well.
    here = [p for p in alive.values() if p.pid == os.getppid()]
    here += [p for p in ours if api is not None and environs[p.pid].get(_RUNTIME_API) == api]
    inside = {process.pid for process in _collect(here, alive)} if os.getppid() else alive
    extensions = [p for p in ours if is_extension(command(p.pid), environs[p.pid], extensions_folder, os.environ)]
    left_out = {os.getpid(), *(process.pid for process in _collect(extensions, alive))}
    return [process for process in ours if process.pid in inside and process.pid not in left_out]


def _is_runtimes_own(environ: Mapping[str, str], own_environ: Mapping[str, str]) -> bool:
    """Whether a variable is there that Lambda gives to the runtime alone. Variables that an image sets, both have."""
    api = own_environ.get(_RUNTIME_API)
    marks = (name for name in _RUNTIMES_OWN if name not in own_environ)
    return api is not None and environ.get(_RUNTIME_API) == api and any(name in environ for name in marks)
