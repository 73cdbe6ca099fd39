"""Why no channel of ours can have reached a Python process: judged from outside, by how it was started.

A channel loads the autostart in a process: a `sitecustomize` by PYTHONPATH, a .pth file by PYTHONUSERBASE, or the
.pth file that `snapext layer install` writes beside an interpreter's packages. Each can be lost, and then the hooks of
an app that never imports snapext run nowhere. What is said here may end an initialisation, so where nothing is certain,
nothing is said. tests/process/starts/test_channel_verdicts.py tries every way to start a Python.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from snapext.wire.place import socket_path
from snapext_extension.data import Data
from snapext_extension.kernel.interpreter import Interpreter, is_python_name, parent

AUTOSTART = "/opt/snapext/python/snapext/autostart"
MARKER = "_snapext_autostart.py"
PTH = "snapext.pth"
IMPORT_IT = "`import snapext` in the app"
MAX_SHOWN = 200
MAX_FILE_CHARS = 100_000

_OUR_OWN = "sys._snapext_own = True"
"""In the command line of the extension itself, and of `snapext done` and its like (the layer's launcher)."""


class Cause(Data):
    """Why a process cannot be linked, and the line to change."""

    cause: str
    remedy: str


def why_unlinked(
    argv: Sequence[str],
    environ: Mapping[str, str] | None,
    executable: str,
    exists: Callable[[str], bool],
    read: Callable[[str], str | None] | None = None,
) -> Cause | None:
    """Why no channel can have reached a Python process; None if one has, or if nothing certain can be said.

    argv, environ: what /proc/PID/cmdline and /proc/PID/environ hold; None for an environment that may not be read.
    executable: where the link /proc/PID/exe leads. exists: os.path.exists. read: gives a small file's text (the
    pyvenv.cfg of a virtual environment, a sitecustomize), None if it cannot be read.
    """
    if environ is None or _is_beyond_judging(argv, environ):
        return None
    python = Interpreter(argv, environ, executable, exists, read or _read)
    if "S" in python.options:
        return Cause("-S: Python reads neither sitecustomize nor .pth files", f"start it without -S, or {IMPORT_IT}")
    channels = _Channels(python, environ, exists, _pex(argv))
    if python.program is None or channels.has_pth() or channels.user_site_works():
        return None
    return channels.why_not_by_path()


def why_not_to_us(argv: Sequence[str], environ: Mapping[str, str], folder: str, uid: int) -> Cause | None:
    """Why a Python process that a channel has reached does not find the extension's socket, which is in `folder`."""
    if _is_beyond_judging(argv, environ):
        return None
    path = socket_path(environ, uid)
    if os.path.realpath(parent(path)) == os.path.realpath(folder):
        return None
    cause = f"it looks for snapext at {_shown(path)}, and the extension is in {folder}"
    return Cause(cause, "pass SNAPEXT_SOCKET on to it, with the environment of the start command")


class _Channels:
    """Our channels into one interpreter. pex: how to have it take PYTHONPATH, if it was started by a PEX."""

    def __init__(
        self, python: Interpreter, environ: Mapping[str, str], exists: Callable[[str], bool], pex: str | None
    ) -> None:
        self._python, self._environ, self._exists, self._pex = python, environ, exists, pex

    def has_pth(self) -> bool:
        """Whether the .pth file of `snapext layer install` lies where this interpreter looks."""
        return any(self._exists(f"{folder}/{PTH}") for folder in self._python.site_folders())

    def user_site_works(self) -> bool:
        """Whether PYTHONUSERBASE is ours, and this interpreter has a user site. True also where that is not known."""
        return self._user_base() is not None and self._why_no_user_site() is None

    def why_not_by_path(self) -> Cause | None:
        """What is wrong with PYTHONPATH; None if our folder is on it and runs, or may run."""
        if "I" in self._python.options:
            cause = "-I ignores PYTHONPATH and the user site"
            if self._pex is not None:  # it starts the interpreter anew, with -I
                return Cause(cause, f"{self._pex} PEX_INHERIT_PATH=fallback, or {IMPORT_IT}")
            return Cause(cause, self._without("-I"))
        if self._python.ignores_environment:
            return Cause(f"-E ignores PYTHONPATH{self._and_no_user_site()}", self._without("-E"))
        value = self._environ.get("PYTHONPATH", "")
        hidden_by = None
        for entry in value.split(":"):
            if self._is_ours(entry):
                if hidden_by is None or self._python.may_run_the_next(hidden_by):
                    return None
                return self._hidden(hidden_by)
            hidden_by = hidden_by or self._python.sitecustomize_in(entry)
        return self._not_on_path(value)

    # --- what is said ----------------------------------------------------------------------------------------------

    def _without(self, option: str) -> str:
        return f"start it without {option}, or {IMPORT_IT}{self._or_pth()}"

    def _hidden(self, by: str) -> Cause:
        cause = f"{by} comes before snapext's on its PYTHONPATH, and does not run it{self._and_no_user_site()}"
        return Cause(cause, f"{IMPORT_IT}{self._or_pth()}")

    def _not_on_path(self, value: str) -> Cause:
        also = self._and_no_user_site()
        wrapper = self._environ.get("AWS_LAMBDA_EXEC_WRAPPER", "")
        wrapped = wrapper.endswith("/snapext/bootstrap") or self._user_base() is not None
        if not value and not wrapped and "AWS_LAMBDA_RUNTIME_API" not in self._environ:
            return Cause(
                "it was started with an environment of its own (env -i, or a supervisor that clears it)",
                f"pass PYTHONPATH, PYTHONUSERBASE and SNAPEXT_SOCKET on to it, or {IMPORT_IT}{self._or_pth()}",
            )
        if not wrapped:
            seen = f"its PYTHONPATH, {_shown(value)}, has no folder of snapext's" if value else "it has no PYTHONPATH"
            line = f"PYTHONPATH={AUTOSTART}{':$PYTHONPATH' if value else ''}"
            return Cause(
                f"{seen}{also}",
                f"set AWS_LAMBDA_EXEC_WRAPPER=/opt/snapext/bootstrap (in an image ENV {line}), "
                f"or {IMPORT_IT}{self._or_pth()}",
            )
        if not value:
            return Cause(
                f"its PYTHONPATH was removed{also}",
                f"leave PYTHONPATH as the start command has it, or {IMPORT_IT}{self._or_pth()}",
            )
        return Cause(
            f"its PYTHONPATH was replaced: {_shown(value)} has no folder of snapext's{also}",
            "where it is started (run.sh), write PYTHONPATH=...:$PYTHONPATH instead of PYTHONPATH=..., "
            f"or {IMPORT_IT}{self._or_pth()}",
        )

    def _and_no_user_site(self) -> str:
        why = self._why_no_user_site()
        if why is None and self._environ.get("PYTHONUSERBASE") and self._user_base() is None:
            why = f"PYTHONUSERBASE={_shown(self._environ['PYTHONUSERBASE'])} is not snapext's"
        return f"; {why}" if why else ""

    def _or_pth(self) -> str:
        venv = self._python.venv
        return "" if venv is None else f", or `snapext layer install / --venv {venv}` in the image's build"

    # --- the user site ---------------------------------------------------------------------------------------------

    def _user_base(self) -> str | None:
        base = self._environ.get("PYTHONUSERBASE", "").rstrip("/")
        return base if base and self._exists(f"{parent(base)}/{MARKER}") else None

    def _why_no_user_site(self) -> str | None:
        # site.py reads PYTHONUSERBASE under -E as well; PYTHONNOUSERSITE is read elsewhere, and not then.
        if self._python.options & {"I", "s"}:
            return "-s turns the user site off"
        if self._environ.get("PYTHONNOUSERSITE") and not self._python.ignores_environment:
            return "PYTHONNOUSERSITE turns the user site off"
        if self._python.venv_is_closed:
            return f"the virtual environment {self._python.venv} has no user site"
        base = self._user_base()
        names = self._python.lib_names()
        if base is None or any(self._exists(f"{base}/lib/{name}/site-packages/{PTH}") for name in names):
            return None
        return f"snapext has no user site for {self._python.name}"

    # --- PYTHONPATH ------------------------------------------------------------------------------------------------

    def _is_ours(self, entry: str) -> bool:
        entry = entry.rstrip("/")
        if not entry.startswith("/"):  # from its working directory, which we do not know: let it be what it says
            return entry.endswith("snapext/autostart")
        return self._exists(f"{entry}/{MARKER}") and self._exists(f"{entry}/sitecustomize.py")


def _is_beyond_judging(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether a process is our own, or shows a title in place of its command line.

    The title is written over the command line and the environment behind it.
    """
    if not argv or any(_OUR_OWN in word for word in argv):
        return True
    return not any(environ.values()) and not is_python_name(argv[0])


def _pex(argv: Sequence[str]) -> str | None:
    """How to have a PEX take what the environment says; None if none runs."""
    for word in argv[1:]:
        if word.endswith(".pex") or "/unzipped_pexes/" in word:
            return "set"
        if word.endswith("/pex"):  # in a virtual environment that it has made itself
            return "build the PEX without --venv and set"
    return None


def _shown(value: str) -> str:
    return value if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}…"


def _read(path: str) -> str | None:
    """A file, whole or not at all: of half a source nothing could be said."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(MAX_FILE_CHARS + 1)
    except OSError:
        return None
    return text if len(text) <= MAX_FILE_CHARS else None
