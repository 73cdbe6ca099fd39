"""The machine, the versions and the commit of a run."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from bench.stage import REAL, has_awslambdaric
from snapext.wire import VERSION

_ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = ("uvicorn", "h11", "requests", "matplotlib")


def describe() -> dict[str, str]:
    """Name -> text, for the report's first table."""
    runtime_client = _version("awslambdaric") if has_awslambdaric() else "not measured: no wheel for this interpreter"
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {_memory()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "load before the run": f"{os.getloadavg()[0]:.2f}",
        "Python": f"{platform.python_version()}, {Path(sys.executable).resolve()}",
        "snapext": f"{VERSION}, commit {_commit()}",
        "web adapter": f"{REAL} (real), 1.1 (stand-in and bare)",
        "awslambdaric": runtime_client,
        **{name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    try:
        words = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
        done = subprocess.run(words, cwd=_ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else platform.machine()


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
