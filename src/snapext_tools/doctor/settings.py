"""Everything known about one function, frozen: a rule reads nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snapext.errors import SnapextError

VARIABLES = ("Environment", "Variables")
_PLAIN = re.compile(r"[A-Za-z/](?:[\w./-]|::)*")
_NOT_STRINGS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


class SourceError(SnapextError):
    """The settings cannot be read. The text is one line that says why."""


class UnreadableError(SnapextError):
    """A rule needs a value that the source does not give. The text is the reason."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value that only the deployment knows, such as !Ref Port.

    words: every word in it, to search for names.
    """

    text: str
    words: str = ""


Setting = str | Opaque


@dataclass(frozen=True, slots=True)
class Place:
    """Where a setting is: a file, the path of the property in a template, and the line if it is known."""

    file: str
    path: str = ""
    line: int | None = None

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}  {self.path}".rstrip()


@dataclass(frozen=True, slots=True)
class Change:
    """One line to change, add or remove (the verb), as it must appear in the source; several lines where all are added.

    in_one_line: the same for a message.
    """

    verb: str
    place: Place
    line: str

    @property
    def in_one_line(self) -> str:
        """Several lines, joined by words."""
        return " and ".join(self.line.splitlines())


@dataclass(frozen=True, slots=True)
class Bundled:
    """A module in the function's package, such as AWS's hook module: the file that has or requires it, and the line."""

    place: Place
    line: str


@dataclass(frozen=True, slots=True)
class Script:
    """The handler script of a package: whether it is there, whether it can be executed, and its lines.

    place: the file, or the template where there is none.
    """

    name: str
    place: Place
    exists: bool = True
    executable: bool = True
    text: str = ""
    start: Start | None = None


@dataclass(frozen=True, slots=True)
class ImageFile:
    """What the last stage of a Dockerfile makes.

    variables: its ENV. base, base_place: the image that it starts from, and its FROM. trusted: whether that is a public
    base image, which has neither settings of the web adapter nor snapext. adapter: the reference that the web adapter
    is copied from, or an empty text where the copy names none; None without such a copy. overlay: whether snapext's
    files are laid into it.
    linked: whether the processes of its Python are linked (snapext.pth, or PYTHONPATH). start: its start command.
    command: the words of the start command.
    labelled: whether it says by AWS's label that it may be frozen without asking for restore/next.
    """

    place: Place
    variables: Mapping[str, Setting] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    base: str = ""
    trusted: bool = True
    adapter: str | None = None
    adapter_place: Place | None = None
    overlay: bool = False
    linked: bool = False
    start: Start | None = None
    labelled: bool = False
    command: tuple[str, ...] = ()
    base_place: Place | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """How a script or an image starts the app's server, as far as its text shows.

    server: the program; empty when none was recognised. workers, port: None when unknown.
    unlinked: why none of snapext's channels reaches a Python process that it starts; empty when one does.
    replaces: the text that replaces PYTHONPATH; empty when nothing does. venv: whether it uses a virtual environment.
    """

    server: str
    place: Place
    workers: int | None = None
    port: int | None = None
    unlinked: str = ""
    replaces: str = ""
    replaces_place: Place | None = None
    venv: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What a source says besides the environment variables.

    kind: what makes the function: serverless (SAM), cloudformation, terraform, or aws for a function as it is deployed.
    published: whether a version is published; an Opaque when that depends on the deployment.
    package: the hook module found in the local package of the code, or the reason why there is no package to read.
    architecture: the processor; None for Lambda's default, x86_64.
    ephemeral_mb: the size of /tmp in MB; None for Lambda's default, 512.
    file_system, provisioned: the setting's name when the function has an EFS file system, provisioned concurrency.
    script: the handler script of the package, the reason why it cannot be read, or None for a native handler.
    image_file: the Dockerfile of an image function, or the reason why it cannot be read; None for a zip.
    code_folder: the folder with the code on this machine.
    foreign: another project's package snapext in the code, or the requirement that installs it.
    """

    serverless: bool
    image: bool = False
    runtime: Setting | None = None
    snap_start: Setting | None = None
    published: bool | Opaque = False
    layers: tuple[Setting, ...] = ()
    package: Bundled | str | None = None
    kind: str = "serverless"
    architecture: Setting | None = None
    handler: Setting | None = None
    ephemeral_mb: Setting | None = None
    file_system: str = ""
    provisioned: str = ""
    script: Script | str | None = None
    image_file: ImageFile | str | None = None
    code_folder: Path | None = None
    foreign: Bundled | None = None

    @property
    def start(self) -> Start | None:
        """The start command, of the script or of the image, as far as it was read and recognised."""
        holder = self.image_file if self.image else self.script
        return holder.start if isinstance(holder, Script | ImageFile) else None


@dataclass(frozen=True, slots=True)
class Function:
    """One function's settings, as far as the source gives them.

    name: the logical id, or the name of the source.
    source: the source in words: the template, the env file, the process environment.
    facts: None when the source has environment variables and nothing else.
    elsewhere: why a variable that is not listed here may still be set; empty when it cannot be.
    places: where each property is, by its path below the function's properties; () is the properties themselves.
    syntax: how to write a line: env, yaml, json or hcl.
    scenario: the template's conditions as they are taken here, by name.
    assumed: the parameters whose defaults are taken here, by name.
    notes: what a person should know about the reading itself.
    """

    name: str
    source: str
    variables: Mapping[str, Setting]
    root: Place
    syntax: str = "env"
    facts: Facts | None = None
    elsewhere: str = ""
    places: Mapping[tuple[str, ...], Place] = field(default_factory=dict)
    scenario: Mapping[str, bool] = field(default_factory=dict)
    assumed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def variable(self, *names: str) -> tuple[str, str | None]:
        """The first of the names that is set, and its value; the first name and None when none is.

        Raises:
            UnreadableError: the source does not show the value, or whether there is one.
        """
        for name in names:
            if name in self.variables:
                return name, self.read(name, self.variables[name])
        if self.elsewhere:
            raise UnreadableError(f"{names[0]} {self.elsewhere}")
        return names[0], None

    def read(self, name: str, value: Setting) -> str:
        """The value itself. Raises UnreadableError when only the deployment knows it."""
        if isinstance(value, Opaque):
            raise UnreadableError(f"{name} is {value.text}, and {self.source} does not give its value")
        return value

    def beyond_variables(self) -> Facts:
        """The facts besides the variables. Raises UnreadableError when the source has none."""
        if self.facts is None:
            raise UnreadableError(f"{self.source} has environment variables only")
        return self.facts

    def set_variable(self, name: str, value: str, *, instead_of: str = "") -> Change:
        """The line that gives a variable its value, in place of its own line or of another variable's."""
        return self.set((*VARIABLES, name), value, instead_of=(*VARIABLES, instead_of) if instead_of else ())

    def remove_variable(self, name: str) -> Change:
        """The line to remove."""
        value = self.variables[name]
        return Change("remove", self._place((*VARIABLES, name)), self._line(name, value))

    def set(self, path: tuple[str, ...], value: Any, *, instead_of: tuple[str, ...] = ()) -> Change:
        """The line that gives a property its value."""
        existing = instead_of or path
        verb = "change" if existing in self.places else "add"
        return Change(verb, self._place(existing), self._line(path[-1], value))

    def add_item(self, path: tuple[str, ...], value: str) -> Change:
        """The line that adds one item to a list."""
        place = self.places.get(path)
        return Change(
            "add",
            place or self._place((*path, "")),
            json.dumps(value) if self.syntax in ("json", "hcl") else f"- {value}",
        )

    def add_resource(self, name: str, value: Mapping[str, Any]) -> Change:
        """The line that adds a resource to the template."""
        return Change("add", Place(self.root.file, "Resources"), self._line(name, value))

    def _place(self, path: tuple[str, ...]) -> Place:
        """Where a property is. A property that is absent belongs to the function itself, not to the Globals."""
        if path in self.places:
            found = self.places[path]
            return Place(found.file, found.path.rpartition(".")[0], found.line)
        own = ".".join(filter(None, (self.root.path, *path[:-1]))) if self.syntax != "env" else ""
        for end in range(len(path) - 1, -1, -1):
            near = self.places.get(path[:end])
            if near is not None and own.startswith(near.path):
                return Place(self.root.file, own, near.line)
        return Place(self.root.file, own, self.root.line)

    def _line(self, key: str, value: Any) -> str:
        if self.syntax == "env":
            return f"{key}={_env_value(value)}"
        if self.syntax == "hcl":
            return f"{key} = {json.dumps(value, default=_text)}"
        return (
            f"{json.dumps(key)}: {json.dumps(value, default=_text)}"
            if self.syntax == "json"
            else f"{key}: {_flow(value)}"
        )


def _text(value: Opaque) -> str:
    return value.text


def _env_value(value: Setting) -> str:
    text = value.text if isinstance(value, Opaque) else value
    return text if re.fullmatch(r"[\w./:,@%+=-]*", text) else json.dumps(text, ensure_ascii=False)


def _flow(value: Any) -> str:
    """YAML on one line. A string is quoted where YAML would read it as another type."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Opaque):
        return value.text
    plain = _PLAIN.fullmatch(value) and value.lower() not in _NOT_STRINGS
    return value if plain else json.dumps(value, ensure_ascii=False)
