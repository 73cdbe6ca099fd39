"""What `snapext simulate --template` takes from a template: start command, folder, port and variables."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import click

from snapext_tools.doctor.ours import our_port
from snapext_tools.doctor.rules_adapter import APP_PORT, ENV_WRAPPER, READINESS_PORT
from snapext_tools.doctor.settings import Function, ImageFile, Opaque, Script, SourceError
from snapext_tools.doctor.template import read_template

DEFAULT_PORT = 8080
"""The web adapter's own."""


@dataclass(frozen=True, slots=True)
class TemplateStart:
    """How one function of a template starts.

    template: the file. command: the start command. folder: where it runs. port: the app's. variables: the function's
    own that the template gives a value. missing: the others, each with the reason.
    """

    template: Path
    command: tuple[str, ...]
    folder: Path
    port: int
    variables: dict[str, str]
    missing: tuple[str, ...]


def start_of(template: Path, name: str | None) -> TemplateStart:
    """How the function `name` starts; None for the only one. Raises click.UsageError with one line."""
    try:
        function = _choose(read_template(template), name, template)
    except SourceError as error:
        raise click.UsageError(str(error)) from error
    command, folder = _command(function)
    known = {key: value for key, value in function.variables.items() if isinstance(value, str)}
    known.pop(ENV_WRAPPER, None)  # the command is started without it
    if any(known.get(key) == our_port(function) for key in READINESS_PORT):
        for key in READINESS_PORT:
            known.pop(key, None)  # the simulation has a gate on a port that is free
    known["_HANDLER"] = command[0].removeprefix("./")
    missing = [f"{key} ({value.text})" for key, value in function.variables.items() if isinstance(value, Opaque)]
    return TemplateStart(template, command, folder, _port(function), known, tuple(missing))


def _choose(functions: list[Function], name: str | None, template: Path) -> Function:
    names = list(dict.fromkeys(function.name for function in functions))
    if name is None and len(names) > 1:
        raise click.UsageError(f"{template} has several functions; name one: {', '.join(names)}")
    for function in functions:
        if name in (None, function.name):
            return function
    raise click.UsageError(f"{template} has no function {name}: it has {', '.join(names)}")


def _command(function: Function) -> tuple[tuple[str, ...], Path]:
    facts = function.beyond_variables()
    if facts.image:
        image = facts.image_file
        if not isinstance(image, ImageFile):
            raise click.UsageError(f"{function.name}: {image}")
        if not image.command:
            raise click.UsageError(f"{image.place} has no start command (CMD); name one without --template")
        return image.command, Path(image.place.file).parent
    script = facts.script
    if isinstance(script, str):
        raise click.UsageError(f"{function.name}: {script}")
    if not isinstance(script, Script):
        raise click.UsageError(f"{function.name} has no handler script: Lambda's own runtime calls its handler")
    folder = facts.code_folder
    if folder is None or not folder.is_dir():
        raise click.UsageError(
            f"{function.name}: {folder} is not a folder; unpack it, and name the folder in the template"
        )
    path = folder / script.name
    if not script.exists or not os.access(path, os.X_OK):
        what = "is not executable" if script.exists else "does not exist"
        raise click.UsageError(f"{function.name}: the handler {path} {what}")
    return (f"./{script.name}",), folder


def _port(function: Function) -> int:
    for name in APP_PORT:
        value = function.variables.get(name)
        if isinstance(value, str) and value.isdigit() and 0 < int(value) < 1 << 16:
            return int(value)
    return DEFAULT_PORT
