"""The kernel's figures about a process: its memory, the pages it touched, the time it ran."""

from __future__ import annotations

import os
import re
from pathlib import Path

PAGE_KB = 4
_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ (\d+)", re.MULTILINE)
_REFERENCED = re.compile(r"^Referenced:\s+(\d+) kB$", re.MULTILINE)
_PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)


def pss_mb(pid: int) -> float:
    """Its share of memory: its own pages, and its part of the shared ones."""
    found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8"))
    return int(found[1]) / 1024 if found else 0.0


def forget_references(pid: int) -> None:
    """Reset the kernel's record of the pages that the process touches (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("1", encoding="utf-8")


def touched_pages(pid: int) -> tuple[int, int]:
    """The pages that it touched since `forget_references`: its own, and those of files."""
    return referenced(Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8"))


def referenced(smaps: str) -> tuple[int, int]:
    """Pages marked Referenced, in mappings without and with a file behind them (an inode)."""
    anonymous = of_files = 0
    starts = [*_MAPPING.finditer(smaps)]
    ends = [*(mapping.start() for mapping in starts[1:]), len(smaps)]
    for mapping, end in zip(starts, ends, strict=True):
        found = _REFERENCED.search(smaps, mapping.end(), end)
        pages = int(found[1]) // PAGE_KB if found else 0
        if mapping[1] == "0":
            anonymous += pages
        else:
            of_files += pages
    return anonymous, of_files


def waits(pid: int) -> int:
    """How often the main thread of a process has begun to wait so far (proc(5), voluntary_ctxt_switches)."""
    status = Path(f"/proc/{pid}/task/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("voluntary_ctxt_switches"))


def cpu_ms(pid: int) -> float:
    """How long its threads have run so far; the kernel counts nanoseconds, exact enough for a restore."""
    return _schedstat_ms(pid, 1)


def demand_ms(pid: int) -> float:
    """How long its threads have run so far, or waited for a processor to run on; 0 if the process is gone."""
    try:
        return _schedstat_ms(pid, 2)
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def _schedstat_ms(pid: int, fields: int) -> float:
    total_ns = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        words = Path(f"/proc/{pid}/task/{thread}/schedstat").read_text(encoding="ascii").split()
        total_ns += sum(map(int, words[:fields]))
    return total_ns / 1e6
