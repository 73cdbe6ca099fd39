"""The files of the layer: what stands where below /opt, with which mode. Made in memory; others write it down."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from snapext.errors import SnapextError

FILE_MODE, PROGRAM_MODE = 0o644, 0o755
PACKAGES = "snapext/python"
"""Where both packages are, below /opt. Not in python/, which other layers share: that has a forwarder."""
AUTOSTART = f"{PACKAGES}/snapext/autostart"
FOR_TESTS = ("snapext/testing/", "snapext/pytest_plugin.py")
"""Left out, as no function runs its tests. These import the first by its name; pytest loads the second without it."""


class LayerError(SnapextError):
    """The layer cannot be made. The text is one line that says what is in the way."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the layer; `path` is relative to /opt."""

    path: str
    content: bytes
    mode: int


def layer_tree(precompile: Sequence[str] = ()) -> list[Entry]:
    """Every file of the layer, sorted by path.

    precompile: interpreters to compile every module with. /opt is read-only on Lambda, so a module without its compiled
    form is compiled anew in every environment, and in every process of the app that imports it: 250 ms of CPU in the
    extension, 100 ms before the first hook. For three interpreters it makes the zip five times as large (1.5 MB), of
    which a start reads only what it imports. It also holds no docstrings, which would stay in memory.
    """
    entries = {entry.path: entry for entry in (*_programs(), *_packages())}
    sources = [entry for entry in entries.values() if entry.path.endswith(".py")]
    for interpreter in precompile:
        compiled = {entry.path: entry for entry in _compiled(interpreter, sources)}
        if len(compiled) != len(sources):
            raise LayerError(f"{interpreter} compiles nothing: is it a Python?")
        entries |= compiled
    return sorted(entries.values(), key=lambda entry: entry.path)


def _programs() -> Iterator[Entry]:
    root = Path(__file__).parent / "opt"
    for path in root.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            mode = FILE_MODE if path.suffix else PROGRAM_MODE
            yield Entry(path.relative_to(root).as_posix(), path.read_bytes(), mode)


def _packages() -> Iterator[Entry]:
    """The one copy of both packages, which the app and the extension share."""
    for name in ("snapext", "snapext_extension"):
        root = _folder_of(name)
        for path in root.rglob("*"):
            inside = f"{name}/{path.relative_to(root).as_posix()}"
            if inside.startswith(FOR_TESTS):
                continue
            if path.is_file() and path.suffix in (".py", ".pth", ".typed"):
                yield Entry(f"{PACKAGES}/{inside}", path.read_bytes(), FILE_MODE)


def _folder_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise LayerError(f"the package {package} is not installed, so there is nothing to put into the layer")
    return Path(next(iter(spec.submodule_search_locations)))


_COMPILE = """
import importlib._bootstrap_external as external, importlib.util, sys
for line in sys.stdin.buffer.read().split(b"\\0")[:-1]:
    path, _, source = line.partition(b"\\n")
    where = "/opt/" + path.decode()
    code = compile(source, where, "exec", dont_inherit=True, optimize=2)  # no docstrings: a quarter less
    data = external._code_to_hash_pyc(code, importlib.util.source_hash(source), False)
    name = importlib.util.cache_from_source(path.decode(), optimization="")
    sys.stdout.buffer.write(name.encode() + b"\\n" + str(len(data)).encode() + b"\\n" + data)
"""


def _compiled(interpreter: str, sources: Sequence[Entry]) -> Iterator[Entry]:
    """Compile for one interpreter. Keyed by hash and never checked: no clock and no file date goes into the result."""
    given = b"".join(entry.path.encode() + b"\n" + entry.content + b"\0" for entry in sources)
    try:
        done = subprocess.run([interpreter, "-I", "-S", "-c", _COMPILE], input=given, capture_output=True, check=True)
    except OSError as error:
        raise LayerError(f"{interpreter} cannot be started: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise LayerError(f"{interpreter} cannot compile the layer: {last}") from error
    rest = done.stdout
    while rest:
        path, size, rest = rest.split(b"\n", 2)
        content, rest = rest[: int(size)], rest[int(size) :]
        yield Entry(path.decode(), content, FILE_MODE)
