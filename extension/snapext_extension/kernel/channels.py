"""Why no channel of ours can have reached a Python process: judged from outside, by how it was started.

A channel brings the autostart into a process: a `sitecustomize` by PYTHONPATH, a .pth file by PYTHONUSERBASE, or the
.pth file that `snapext layer install` writes beside an interpreter's packages. Each can be lost, and then the hooks of
an app that never imports snapext run nowhere. What is said here may end an initialisation, so where nothing is certain,
nothing is said. The rules are Python's own (site.py, Modules/getpath.py); tests/process/?/test_channels.py tries them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from snapext.wire.place import socket_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast

AUTOSTART = "/opt/snapext/python/snapext/autostart"
MARKER = "_snapext_autostart.py"
PTH = "snapext.pth"
VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.13t", "3.14t")
IMPORT_IT = "`import snapext` in the app"
MAX_SHOWN = 200
MAX_FILE_CHARS = 100_000

_PYTHON = re.compile(r"(python|pypy)(3(?:\.\d+t?)?|2(?:\.\d+)?)?(?:d|-dbg)?")
_SYSTEM_SITE = re.compile(r"^\s*include-system-site-packages\s*=\s*true\s*$", re.IGNORECASE | re.MULTILINE)
_OUR_OWN = "sys._snapext_own = True"
"""In the command line of the extension itself, and of `snapext done` and its like (the layer's launcher)."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a process cannot be linked, and the line to change."""

    cause: str
    remedy: str


def is_python(executable: str) -> bool:
    """Whether a program is a Python interpreter, by its file's name. Programs that embed one are not."""
    return _PYTHON.fullmatch(_file_name(executable)) is not None


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
    process = _Process(argv, environ, executable, exists, read or _read)
    if "S" in process.options:
        return Cause("-S: Python reads neither sitecustomize nor .pth files", f"start it without -S, or {IMPORT_IT}")
    if process.program is None or process.has_pth() or process.user_site_works():
        return None
    return process.why_not_by_path()


def why_not_to_us(argv: Sequence[str], environ: Mapping[str, str], folder: str, uid: int) -> Cause | None:
    """Why a Python process that a channel has reached does not find the extension, whose socket is in `folder`."""
    if _is_beyond_judging(argv, environ):
        return None
    path = socket_path(environ, uid)
    if os.path.realpath(_parent(path)) == os.path.realpath(folder):
        return None
    cause = f"it looks for snapext at {_shown(path)}, and the extension is in {folder}"
    return Cause(cause, "pass SNAPEXT_SOCKET on to it, with the environment of the start command")


class _Process:
    """One process, and what Python's own rules make of the way it was started."""

    def __init__(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str],
        executable: str,
        exists: Callable[[str], bool],
        read: Callable[[str], str | None],
    ) -> None:
        self._environ, self._exists, self._read = environ, exists, read
        self._executable = executable.removesuffix(" (deleted)")
        self.options = _options(argv)
        self._pex = _pex(argv)
        self.ignores_environment = bool(self.options & {"E", "I"})
        self.program = self._find_program(argv[0])
        self._venv = self._find_venv()
        self._venv_is_closed = self._venv is not None and not self._shows_system_site(self._venv)

    def has_pth(self) -> bool:
        """Whether the .pth file of `snapext layer install` lies where this interpreter looks."""
        prefixes = [] if self._venv is None else [self._venv]
        if not self._venv_is_closed:
            prefixes.append(_parent(_parent(self._executable)))
        home = "" if self.ignores_environment else self._environ.get("PYTHONHOME", "")
        prefixes += [prefix for prefix in home.split(":") if prefix]
        return any(self._exists(f"{folder}/{PTH}") for prefix in prefixes for folder in self._site_folders(prefix))

    def user_site_works(self) -> bool:
        """Whether PYTHONUSERBASE is ours, and this interpreter has a user site. True also where that is not known."""
        return self._user_base() is not None and self._why_no_user_site() is None

    def why_not_by_path(self) -> Cause | None:
        """What is wrong with PYTHONPATH; None if our folder is on it and runs, or may run."""
        if "I" in self.options:
            cause = "-I ignores PYTHONPATH and the user site"
            if self._pex is not None:  # it starts the interpreter anew, with -I
                return Cause(cause, f"{self._pex} PEX_INHERIT_PATH=fallback, or {IMPORT_IT}")
            return Cause(cause, self._without("-I"))
        if self.ignores_environment:
            return Cause(f"-E ignores PYTHONPATH{self._and_no_user_site()}", self._without("-E"))
        value = self._environ.get("PYTHONPATH", "")
        hidden_by = None
        for entry in value.split(":"):
            if self._is_ours(entry):
                return None if hidden_by is None or self._may_run_the_next(hidden_by) else self._hidden(hidden_by)
            hidden_by = hidden_by or self._sitecustomize(entry)
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
        return "" if self._venv is None else f", or `snapext layer install / --venv {self._venv}` in the image's build"

    # --- the user site ---------------------------------------------------------------------------------------------

    def _user_base(self) -> str | None:
        base = self._environ.get("PYTHONUSERBASE", "").rstrip("/")
        return base if base and self._exists(f"{_parent(base)}/{MARKER}") else None

    def _why_no_user_site(self) -> str | None:
        # site.py reads PYTHONUSERBASE under -E as well; PYTHONNOUSERSITE is read elsewhere, and not then.
        if self.options & {"I", "s"}:
            return "-s turns the user site off"
        if self._environ.get("PYTHONNOUSERSITE") and not self.ignores_environment:
            return "PYTHONNOUSERSITE turns the user site off"
        if self._venv_is_closed:
            return f"the virtual environment {self._venv} has no user site"
        base = self._user_base()
        if base is None or any(self._exists(f"{base}/lib/{name}/site-packages/{PTH}") for name in self._names()):
            return None
        return f"snapext has no user site for {_file_name(self._executable)}"

    # --- PYTHONPATH ------------------------------------------------------------------------------------------------

    def _is_ours(self, entry: str) -> bool:
        entry = entry.rstrip("/")
        if not entry.startswith("/"):  # from its working directory, which we do not know: let it be what it says
            return entry.endswith("snapext/autostart")
        return self._exists(f"{entry}/{MARKER}") and self._exists(f"{entry}/sitecustomize.py")

    def _sitecustomize(self, entry: str) -> str | None:
        if not entry.startswith("/"):
            return None
        names = ("sitecustomize/__init__.py", "sitecustomize.py", "sitecustomize.pyc")
        paths = [f"{entry.rstrip('/')}/{name}" for name in names]
        return next((path for path in paths if self._exists(path)), None)

    def _may_run_the_next(self, path: str) -> bool:
        """Whether a sitecustomize may run the one that it hides, as those of ddtrace and newrelic do.

        To look for another one, it has to name it: by `sitecustomize`, or by its own `__name__`.
        """
        source = None if path.endswith(".pyc") else self._read(path)
        if source is None:
            return True
        import ast  # 3 ms, and hardly any function needs it

        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            return False  # Python cannot run it either
        except (RecursionError, MemoryError):
            return True  # nested too deeply for us, which says nothing of what it runs
        return any("sitecustomize" in word or word in ("__name__", "__spec__") for word in _words(tree))

    # --- the interpreter -------------------------------------------------------------------------------------------

    def _find_program(self, name: str) -> str | None:
        """The path by which Python calls itself: a link is not followed, so that a virtual environment is found.

        None if that is not known.
        """
        if name.startswith("/"):
            return name
        if "/" in name:  # from its working directory: where the shell that started it says that it was
            folders = [self._environ.get(variable, "") for variable in ("PWD", "LAMBDA_TASK_ROOT")]
        else:
            folders = self._environ.get("PATH", "").split(":")
        paths = [f"{folder.rstrip('/')}/{name}" for folder in folders if folder.startswith("/")]
        found = next((path for path in paths if self._exists(path)), None)
        return found if found is not None or "/" in name else self._executable

    def _find_venv(self) -> str | None:
        if self.program is None:
            return None
        folder = _parent(self.program)
        return next((place for place in (folder, _parent(folder)) if self._exists(f"{place}/pyvenv.cfg")), None)

    def _shows_system_site(self, venv: str) -> bool:
        return _SYSTEM_SITE.search(self._read(f"{venv}/pyvenv.cfg") or "") is not None

    def _names(self) -> tuple[str, ...]:
        """The names of this interpreter's folder below lib; more than one where its file does not say its version."""
        match = _PYTHON.fullmatch(_file_name(self._executable))
        if match is not None and match[2] is not None and "." in match[2]:
            return (f"{match[1]}{match[2]}",)
        return tuple(f"python{version}" for version in VERSIONS)

    def _site_folders(self, prefix: str) -> Iterator[str]:
        for name in self._names():
            yield f"{prefix}/lib/{name}/site-packages"
            yield f"{prefix}/lib64/{name}/site-packages"
            if prefix == "/usr":  # Debian's own
                yield f"/usr/local/lib/{name}/dist-packages"
                yield "/usr/lib/python3/dist-packages"


def _is_beyond_judging(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether a process is our own, or shows a title in place of its command line.

    The title is written over the command line and the environment behind it.
    """
    if not argv or any(_OUR_OWN in word for word in argv):
        return True
    return not any(environ.values()) and not is_python(argv[0])


def _options(argv: Sequence[str]) -> set[str]:
    """The interpreter's own options, by their letters. What comes behind -c, -m or the script is the program's."""
    found: set[str] = set()
    words = iter(argv[1:])
    for word in words:
        if not word.startswith("-") or word in ("-", "--"):
            break
        if word.startswith("--"):
            if word == "--check-hash-based-pycs":
                next(words, None)
            continue
        for position, letter in enumerate(word[1:], start=2):
            if letter in "cm":
                return found
            if letter in "WX":  # the value is the rest of the word, or the next one
                if position == len(word):
                    next(words, None)
                break
            found.add(letter)
    return found


def _pex(argv: Sequence[str]) -> str | None:
    """How to have a PEX take what the environment says; None if none runs."""
    for word in argv[1:]:
        if word.endswith(".pex") or "/unzipped_pexes/" in word:
            return "set"
        if word.endswith("/pex"):  # in a virtual environment that it has made itself
            return "build the PEX without --venv and set"
    return None


def _words(tree: ast.Module) -> Iterator[str]:
    """Every name and string of a source, but its docstring and comments."""
    import ast

    body = tree.body
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    for node in (inner for statement in body for inner in ast.walk(statement)):
        for _, value in ast.iter_fields(node):
            if isinstance(value, str):
                yield value


def _file_name(path: str) -> str:
    return path.removesuffix(" (deleted)").rpartition("/")[2]


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


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
