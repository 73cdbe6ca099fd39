"""Whether the app has anything that snapext could run. A rule yields what it finds."""

from __future__ import annotations

import itertools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from snapext_extension import config
from snapext_tools.doctor.findings import Finding, Severity
from snapext_tools.doctor.settings import Function, ImageFile, UnreadableError

_HOOKS = re.compile(r"^\s*(?:from|import)\s+(?:snapext|snapshot_restore(?:_py)?)\b", re.MULTILINE)
_MOST_FILES = 2000
"""A package has its dependencies in the same folder: no more files are looked into."""


def nothing_to_run(function: Function) -> Iterator[Finding]:
    """Neither hooks in the code that can be read, nor integrations. Code that is not Python's is not judged here."""
    facts = function.beyond_variables()
    if takes_care_of_libraries(function):
        return
    unread = facts.image_file if facts.image else facts.package
    if _place_of_code(function) is None and isinstance(unread, str):
        raise UnreadableError(unread)
    files = 0
    for text in _python_code(function):
        if _HOOKS.search(text):
            return
        files += 1
    if files:
        yield Finding(
            Severity.WARNING,
            f"no Python file in {_place_of_code(function)} ({files} read) imports snapext or snapshot_restore_py, and "
            f"{config.ENV_INTEGRATIONS} asks for nothing",
            "no hook is there to run, unless a dependency has one: each clone has the connections and tokens of the "
            "snapshot. Register hooks in the app, or let snapext take care of its libraries",
            function.set_variable(config.ENV_INTEGRATIONS, "auto"),
        )


def has_hooks(function: Function) -> bool:
    """Whether any of its Python files names a hook module: init would wait in vain for workers that never join."""
    return any(map(_HOOKS.search, _python_code(function)))


def takes_care_of_libraries(function: Function) -> bool:
    """Whether SNAPEXT_INTEGRATIONS asks for it."""
    return function.variables.get(config.ENV_INTEGRATIONS, "none") not in ("none", "")


def _python_code(function: Function) -> Iterator[str]:
    place = _place_of_code(function)
    if place is None:
        return
    if place.is_dir():
        for path in itertools.islice(place.rglob("*.py"), _MOST_FILES):
            if path.is_file():
                yield path.read_text(encoding="utf-8", errors="replace")
    elif place.is_file():
        with zipfile.ZipFile(place) as archive:
            names = [name for name in archive.namelist() if name.endswith(".py")]
            for name in names[:_MOST_FILES]:
                yield archive.read(name).decode("utf-8", "replace")


def _place_of_code(function: Function) -> Path | None:
    """The folder or the zip with its code: for an image, where its Dockerfile is."""
    facts = function.beyond_variables()
    image = facts.image_file
    if not facts.image:
        return facts.code_folder
    return Path(image.place.file).parent if isinstance(image, ImageFile) else None
