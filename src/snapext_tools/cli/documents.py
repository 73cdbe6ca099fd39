"""What `snapext simulate` leaves of a life, however it ends: the document of --json, the page and the trace."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from snapext_tools.simulator.recorder import Trouble
from snapext_tools.simulator.report.page import page_of
from snapext_tools.simulator.report.trace import trace_of
from snapext_tools.simulator.terminal import Page

REPORT, TRACE = "--report", "--trace"
_MAKERS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {REPORT: page_of, TRACE: trace_of}


@dataclass(frozen=True, slots=True)
class Documents:
    """What is asked for. report, trace: absolute paths."""

    as_json: bool = False
    report: Path | None = None
    trace: Path | None = None

    def write(self, document: Mapping[str, Any]) -> bool:
        """Write all that is asked for. False if one could not be written; standard error says which, and why."""
        if self.as_json:
            Page(sys.stdout, os.environ).write_raw(json.dumps(document, indent=2))
        done = [
            _write(option, path, _MAKERS[option](document))
            for option, path in ((REPORT, self.report), (TRACE, self.trace))
            if path is not None
        ]
        return all(done)


def asked_for(given: Mapping[str, str], *, as_json: bool) -> Documents:
    """What the options ask for, where wrong usage keeps the others from being parsed."""
    paths: dict[str, Path] = {}
    for option in {REPORT, TRACE} & set(given):
        with contextlib.suppress(click.UsageError):
            paths[option] = writable(given[option])
    if paths.get(REPORT) == paths.get(TRACE):
        return Documents(as_json)
    return Documents(as_json, paths.get(REPORT), paths.get(TRACE))


def no_life(error: click.ClickException) -> dict[str, Any]:
    """The document where no life began."""
    return {"ok": False, "errors": [error_of("usage", "UsageError", error.format_message())]}


def error_of(phase: str, kind: str, message: str) -> dict[str, Any]:
    return Trouble(phase, None, None, kind, message, "").as_document()


def writable(name: str) -> Path:
    """The absolute path of a file that can be written. Raises click.BadParameter; whatever is there stays as it is."""
    if name in ("", "-"):
        raise click.BadParameter(f"{name!r} is not the name of a file")
    path = Path(os.path.abspath(name))
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not path.exists() or path.is_file():
            path = Path(os.path.realpath(path))
        if not path.exists():
            _beside(path).unlink()
        elif not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"cannot write {name!r}: {_reason(error)}") from None
    return path


def _write(option: str, path: Path, text: str) -> bool:
    """Write a file whole, or leave the one that is there."""
    data = text.encode("utf-8", "backslashreplace")
    try:
        if path.exists() and not (path.is_file() and os.access(path.parent, os.W_OK)):
            path.write_bytes(data)  # a pipe, a device, or in a folder that takes no new file
            return True
        draft = _beside(path)
        try:
            draft.write_bytes(data)
            draft.chmod(stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        click.echo(f"Error: cannot write {option} {path}: {_reason(error)}", err=True)
        return False
    return True


def _beside(path: Path) -> Path:
    """A new file in the folder of another."""
    number, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    os.close(number)
    return Path(name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
