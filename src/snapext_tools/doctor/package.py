"""A function's package on this machine, a folder or a zip: the hook module in it, and the handler script."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from snapext_tools.doctor.settings import Bundled, Opaque, Place, Script, Setting
from snapext_tools.doctor.start import read_start

MODULE = "snapshot_restore_py"
_REQUIREMENT = re.compile(r"\s*snapshot[-_.]restore[-_.]py(?![\w.-])", re.IGNORECASE)
_FOREIGN = re.compile(r"\s*snapext\s*(?:\[[^\]]*\]\s*)?(?:[=<>!~;#,\\]|$)", re.IGNORECASE)
_OURS = "snapext/wire"
_MOST_BYTES = 1 << 20
"""A longer script is none that a person has written."""


class Package:
    """The files of a function, by their names in it."""

    def __init__(self, path: Path, *, is_zip: bool) -> None:
        self.path = path
        self._entries: dict[str, zipfile.ZipInfo] | None = None
        if is_zip:
            with zipfile.ZipFile(path) as archive:
                self._entries = {entry.filename: entry for entry in archive.infolist()}

    def has(self, name: str) -> bool:
        """Whether there is a file, or a folder, of this name."""
        if self._entries is not None:
            return name in self._entries or any(entry.startswith(f"{name}/") for entry in self._entries)
        return (self.path / name).exists()

    def is_file(self, name: str) -> bool:
        return name in self._entries if self._entries is not None else (self.path / name).is_file()

    def is_executable(self, name: str) -> bool:
        """Whether its mode lets anybody execute it, which is what the zip keeps for Lambda."""
        if self._entries is not None:
            return bool((self._entries[name].external_attr >> 16) & 0o111)
        return os.access(self.path / name, os.X_OK)

    def text(self, name: str) -> str:
        """The file as text; empty when it cannot be read, or is a program."""
        try:
            if self._entries is not None:
                with zipfile.ZipFile(self.path) as archive, archive.open(name) as file:
                    content = file.read(_MOST_BYTES)
            else:
                with (self.path / name).open("rb") as file:
                    content = file.read(_MOST_BYTES)
        except (OSError, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
            return ""
        return "" if content.startswith(b"\x7fELF") else content.decode("utf-8", "replace")

    def place(self, name: str, line: int | None = None) -> Place:
        """Where a file is: in the folder, or in the zip."""
        return (
            Place(str(self.path), name, line) if self._entries is not None else Place(str(self.path / name), "", line)
        )


def open_package(folder: Path, code: Setting | None) -> Package | str:
    """The package, or the reason why there is none to read.

    folder: the template's folder; a relative path starts there.
    """
    if isinstance(code, Opaque):
        return f"the code is {code.text}, and the template does not give its value"
    if not code or "://" in code or not (folder / code).exists():
        return "the code is not a folder or a zip on this machine"
    path = folder / code
    if path.is_dir():
        return Package(path, is_zip=False)
    try:
        return Package(path, is_zip=True)
    except (OSError, zipfile.BadZipFile):
        return f"{path} is not a zip that can be read"


def look_into(package: Package | str) -> Bundled | str | None:
    """Where the package has the hook module; None when it has none; the reason when there is no package to read."""
    if isinstance(package, str):
        return package
    for number, line in enumerate(package.text("requirements.txt").splitlines(), 1):
        if _REQUIREMENT.match(line):
            return Bundled(package.place("requirements.txt", number), line.strip())
    for name in (MODULE, f"{MODULE}.py"):
        if package.has(name):
            return (
                Bundled(package.place(""), name) if package.path.is_file() else Bundled(Place(str(package.path)), name)
            )
    return None


def find_foreign(package: Package | str) -> Bundled | None:
    """The package snapext of another project, which hides ours; the requirement that installs it comes first.

    On PyPI that name is a server for extensions of Snap!, for Python 2: pypi.org/project/snapext.
    """
    if isinstance(package, str):
        return None
    for number, line in enumerate(package.text("requirements.txt").splitlines(), 1):
        if _FOREIGN.match(line):
            return Bundled(package.place("requirements.txt", number), line.strip())
    for name in ("snapext/__init__.py", "snapext.py"):
        if package.has(name) and not package.has(_OURS):
            return Bundled(package.place(name), name)
    return None


def handler_script(
    package: Package | str, handler: Setting | None, template: Place, variables: Mapping[str, Setting]
) -> Script | str | None:
    """The handler's script; None for a native handler; the reason when that cannot be known.

    It follows the wrapper: a handler that is a file of the package is a script, anything else is a native handler.
    """
    if isinstance(handler, Opaque):
        return f"Handler is {handler.text}, and the template does not give its value"
    if handler is None:
        return "the source names no handler"
    if isinstance(package, str):
        return package if looks_like_a_script(handler) else None
    if not package.is_file(handler):
        return Script(handler, template, exists=False) if handler.endswith(".sh") else None
    text = package.text(handler)
    return Script(
        handler,
        package.place(handler),
        executable=package.is_executable(handler),
        text=text,
        start=read_start(text, lambda line: package.place(handler, line), variables, package.has),
    )


def looks_like_a_script(handler: str) -> bool:
    """Whether a handler is a program by its name: `module.function` and `package.Class::method` are native."""
    return handler.endswith(".sh") or not re.search(r"[.:]", handler.rpartition("/")[2])
