"""A control group with a share of one CPU, of either version, where the machine allows one."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

PERIOD_US = 100_000
_numbers = itertools.count()


class NoLimitError(Exception):
    """No control group can be made here; the text says why."""


@contextlib.contextmanager
def cpu_limit(percent: int) -> Iterator[Path]:
    """Make a group that gets `percent` of one CPU, and yield its cgroup.procs: write a pid there to add a process.

    Raises NoLimitError where that is not possible.
    """
    group = _parent() / f"snapext-lives-{os.getpid()}-{next(_numbers)}"
    try:
        group.mkdir()
    except OSError as error:
        raise NoLimitError(f"a CPU limit needs a control group: {error}") from error
    try:
        try:
            change_limit(group / "cgroup.procs", percent)
        except OSError as error:
            raise NoLimitError(f"a CPU limit needs a control group with the CPU controller: {error}") from error
        yield group / "cgroup.procs"
    finally:
        _end(group)


def change_limit(procs: Path, percent: int) -> None:
    """From now on the group gets `percent` of one CPU."""
    _limit(procs.parent, PERIOD_US * percent // 100)


def entering(procs: Path, command: Sequence[str]) -> list[str]:
    """The command that enters the group and then becomes `command`, under the same pid."""
    return ["/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"', str(procs), *command]


def throttled_s(procs: Path) -> float:
    """How long the group has been kept from running so far."""
    for line in (procs.parent / "cpu.stat").read_text().splitlines():
        name, value = line.split()
        if name in ("throttled_time", "throttled_usec"):
            return int(value) / (1e9 if name == "throttled_time" else 1e6)
    return 0.0


def _end(group: Path) -> None:
    """Remove the group, and with it whatever a life that was cut off has left in it."""
    deadline = time.monotonic() + 10
    while left := (group / "cgroup.procs").read_text().split():
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        if time.monotonic() > deadline:
            raise TimeoutError(f"the processes {left} in {group} do not end")
        time.sleep(0.01)
    group.rmdir()


def _limit(group: Path, quota_us: int) -> None:
    if (group / "cpu.cfs_quota_us").exists():
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        return
    if not (group / "cpu.max").exists():
        (group.parent / "cgroup.subtree_control").write_text("+cpu")
    (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")


def _parent() -> Path:
    """Our own group in the hierarchy that has the CPU controller."""
    own: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path))
    for mount in Path("/proc/self/mounts").read_text().splitlines():
        _device, folder, kind, options, *_ = mount.split()
        if kind == "cgroup" and "cpu" in options.split(",") and "cpu" in own:
            return _existing(Path(folder), own["cpu"])
    for mount in Path("/proc/self/mounts").read_text().splitlines():
        _device, folder, kind, *_ = mount.split()
        if kind == "cgroup2" and "" in own:
            return _existing(Path(folder), own[""])
    raise NoLimitError("a CPU limit needs a control group, and no hierarchy of them is mounted here")


def _existing(mount: Path, path: str) -> Path:
    """In a container the path may be the host's, of which only the end is mounted."""
    folder = mount / path.lstrip("/")
    return folder if folder.is_dir() else mount
