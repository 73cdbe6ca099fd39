"""The Pythons of an image, and the .pth file that links their processes, whatever those were started with.

Python reads the .pth files of its site-packages under -E, -I and an empty environment too, and in a virtual environment
that has one; not under -S. The line costs a process that imports no hook module some 0.5 ms, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from snapext_layer.tree import AUTOSTART, LayerError

PTH = "snapext.pth"
# In silence if /opt is not there: a virtual environment may be copied into another image.
PTH_LINE = (
    f'import sys; sys.path.insert(0, "/opt/{AUTOSTART}"); '
    'exec("try: import _snapext_autostart\\nexcept Exception: pass"); sys.path.pop(0)\n'
)
OLDEST = (3, 11)

_HOMES = ("root", "home/*")
_LIBRARIES = (
    "usr/local/lib",
    "usr/local/lib64",
    "usr/lib",
    "usr/lib64",
    "var/lang/lib",  # AWS's own images
    "opt/*/lib",
    *(f"{place}/versions/*/lib" for place in ("opt/pyenv", "usr/local/pyenv", *(f"{home}/.pyenv" for home in _HOMES))),
    *(f"{place}/*/lib" for place in ("opt/uv/python", *(f"{home}/.local/share/uv/python" for home in _HOMES))),
)


def pth_files(root: Path, venvs: Sequence[Path] = ()) -> list[Path]:
    """Where the .pth file belongs: for each Python from 3.11 on below `root`, and for the virtual environments named.

    venvs: as they are called in the image, or from the working directory. Raises LayerError if one is none.
    """
    folders: dict[Path, Path] = {}
    for folder in (*_of_interpreters(root), *(_of_venv(root, venv) for venv in venvs)):
        folders.setdefault(folder.resolve(), folder)
    inside = root.resolve()
    # A link that leads out of the image leads into the machine that it is built on.
    return [folder / PTH for place, folder in folders.items() if place.is_relative_to(inside)]


def _of_interpreters(root: Path) -> Iterator[Path]:
    for pattern in _LIBRARIES:
        for library in sorted(root.glob(pattern)):
            for python in _pythons(library):
                if not (python / "os.py").is_file():
                    continue  # no standard library, so no interpreter's own: another one only looks here, too
                # Debian's interpreter has one folder for all versions, and reads no site-packages.
                candidates = (
                    python / "site-packages",
                    library / "python3" / "dist-packages",
                    root / "usr" / "local" / "lib" / python.name / "dist-packages",
                )
                yield from [folder for folder in candidates if folder.is_dir()][:1]


def _of_venv(root: Path, venv: Path) -> Path:
    place = root / venv.relative_to("/") if venv.is_absolute() else Path.cwd() / venv
    if not (place / "pyvenv.cfg").is_file():
        raise LayerError(f"{place} is not a virtual environment: there is no pyvenv.cfg in it")
    for python in _pythons(place / "lib"):
        if (python / "site-packages").is_dir():
            return python / "site-packages"
    raise LayerError(f"{place} has no Python from {'.'.join(map(str, OLDEST))} on")


def _pythons(library: Path) -> list[Path]:
    """The folders pythonX.Y of a version that we support."""
    found = []
    for path in sorted(library.glob("python3.*")):
        version = re.fullmatch(r"python3\.(\d+)t?", path.name)
        if version is not None and (3, int(version[1])) >= OLDEST:
            found.append(path)
    return found
