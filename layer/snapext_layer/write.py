"""Write the layer down: as a zip, or below a root folder. All of it or nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from snapext_layer.tree import PROGRAM_MODE, Entry, LayerError

# The earliest date that a zip can hold: the same commit gives the same bytes, whenever it is built.
DATE = (1980, 1, 1, 0, 0, 0)


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


def install(entries: Sequence[Entry], root: Path) -> Path:
    """Lay the tree under `root`/opt, beside what is there; returns that folder.

    An older snapext is replaced. Raises LayerError, with nothing changed, if something else is in the way.
    """
    if not root.is_dir():
        raise LayerError(f"{root} is not a folder")
    opt = root / "opt"
    for entry in entries:
        _check_free(entry, opt)
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
    except OSError as error:
        raise LayerError(f"{opt} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return opt


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
