"""psutil as an optional part of the layer: from its wheels, one for each processor, beside each other."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from snapext_layer.tree import FILE_MODE, Entry, LayerError

MACHINES = ("x86_64", "aarch64")


def psutil_entries(wheels: Sequence[Path]) -> Iterator[Entry]:
    """psutil out of `wheels`, as `snapext/psutil/MACHINE/psutil/…`: the folder named like `uname -m` goes on a path.

    Raises LayerError when a wheel is none of psutil's for Linux, or two are for the same processor.
    """
    seen: set[str] = set()
    for wheel in wheels:
        machine = _machine(wheel)
        if machine in seen:
            raise LayerError(f"{wheel}: another psutil for {machine} was given before")
        seen.add(machine)
        try:
            with zipfile.ZipFile(wheel) as archive:
                for info in archive.infolist():
                    if _belongs(PurePosixPath(info.filename)):
                        path = f"snapext/psutil/{machine}/{info.filename}"
                        yield Entry(path, archive.read(info), FILE_MODE)
        except (OSError, zipfile.BadZipFile) as error:
            raise LayerError(f"{wheel} cannot be read: {error}") from error


def _machine(wheel: Path) -> str:
    name = wheel.name
    for machine in MACHINES:
        if name.startswith("psutil-") and "abi3-manylinux" in name and name.endswith(f"{machine}.whl"):
            return machine
    raise LayerError(f"{wheel} is not a wheel of psutil for Linux on {' or '.join(MACHINES)}, with the stable ABI")


def _belongs(path: PurePosixPath) -> bool:
    return (path.parts[0] == "psutil" and "tests" not in path.parts) or path.name == "LICENSE"
