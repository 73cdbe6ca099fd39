"""Write the layer down: as a zip, or below a root folder. All of it or nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from snapext_layer.interpreters import PTH_LINE
from snapext_layer.tree import FILE_MODE, PACKAGES, PROGRAM_MODE, Entry, LayerError

# The earliest date that a zip can hold: the same commit gives the same bytes, whenever it is built.
DATE = (1980, 1, 1, 0, 0, 0)
# Folders below /opt in which every file is ours; the latter two are where an older layer had its packages.
OURS = (PACKAGES, "python/snapext", "python/snapext_extension")
FORWARDER = "python/snapext/__init__.py"


def write_zip(entries: Sequence[Entry], target: Path, *, replace: bool = False) -> None:
    """Write the zip to `target`. Raises LayerError if it exists (unless `replace`) or cannot be written."""
    if target.exists() and not target.is_file():
        raise LayerError(f"{target} is not a regular file; name another")
    if target.exists() and not replace:
        raise LayerError(f"{target} exists already; name another file, or say --force to replace it")
    try:
        fd, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise LayerError(f"{target} cannot be written: {error.strerror}") from error
    temporary = Path(name)
    try:
        with os.fdopen(fd, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for entry in entries:
                info = zipfile.ZipInfo(entry.path, DATE)
                info.create_system = 3  # Unix: the mode bits below count
                info.external_attr = (0o100000 | entry.mode) << 16
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, entry.content, compresslevel=9)
        temporary.chmod(0o644)
        temporary.replace(target)
    except OSError as error:
        raise LayerError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def install(entries: Sequence[Entry], root: Path, pth_files: Sequence[Path] = ()) -> Path:
    """Lay the tree under `root`/opt, beside what is there; returns that folder.

    pth_files: where to write the line that links the processes of a Python, see interpreters.py.
    An older snapext is replaced. Raises LayerError, with nothing changed, if something else is in the way.
    """
    if not root.is_dir():
        raise LayerError(f"{root} is not a folder")
    opt = root / "opt"
    for entry in entries:
        _check_free(entry, opt)
    for path in pth_files:
        if path.exists() and not (path.is_file() and b"snapext" in path.read_bytes()):
            raise LayerError(f"{path} is in the way: it is not snapext's")
    try:
        _make_folders(opt)
        staged = Path(tempfile.mkdtemp(dir=opt, prefix=".snapext-"))
    except OSError as error:
        raise LayerError(f"{opt} cannot be written: {error.strerror}") from error
    try:
        for entry in entries:
            path = staged / entry.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(entry.content)
            path.chmod(entry.mode)
        for entry in entries:
            path = opt / entry.path
            _make_folders(path.parent)
            (staged / entry.path).replace(path)
        _remove_leftovers(entries, opt)
    except OSError as error:
        raise LayerError(f"{opt} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    for path in pth_files:
        _write_pth(path)
    return opt


def _remove_leftovers(entries: Sequence[Entry], opt: Path) -> None:
    """What an older snapext has left in our folders. Its compiled files, above all: Python does not check those."""
    wanted = {opt / entry.path for entry in entries}
    for folder in OURS:
        for path in sorted((opt / folder).rglob("*"), reverse=True):  # what is in a folder comes before the folder
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path not in wanted:
                path.unlink()
        if (opt / folder).is_dir() and not any((opt / folder).iterdir()):
            (opt / folder).rmdir()


def _write_pth(path: Path) -> None:
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(PTH_LINE)
        temporary.chmod(FILE_MODE)
        temporary.replace(path)
    except OSError as error:
        raise LayerError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _make_folders(folder: Path) -> None:
    """Whatever the umask says: the function runs as another user than the image's build."""
    if not folder.exists():
        _make_folders(folder.parent)
        folder.mkdir()
        folder.chmod(0o755)


def _check_free(entry: Entry, opt: Path) -> None:
    path = opt / entry.path
    for parent in path.relative_to(opt).parents:
        there = opt / parent
        if there.exists() and not there.is_dir():
            raise LayerError(f"{there} is in the way: it is not a folder")
    if path.is_dir():
        raise LayerError(f"{path} is in the way: it is a folder")
    if entry.mode == PROGRAM_MODE and path.exists() and b"snapext" not in path.read_bytes():
        raise LayerError(f"{path} is in the way: it is not snapext's, another layer has brought it")
    if entry.path == FORWARDER and path.exists() and not _is_ours(path.read_bytes()):
        raise LayerError(f"{path} is in the way: it is another project of that name, which another layer has brought")


def _is_ours(source: bytes) -> bool:
    return b"/snapext/python" in source or b"register_before_snapshot" in source  # the latter in an older layer
