"""What a Dockerfile's last stage makes: its ENV, CMD, the web adapter, snapext's files, and how Python is linked."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from snapext_tools.doctor.env_file import read_text
from snapext_tools.doctor.settings import ImageFile, Opaque, Place, Setting, SourceError, Start
from snapext_tools.doctor.start import read_start, read_words

ADAPTER = "/opt/extensions/lambda-adapter"
AUTOSTART = "/opt/snapext/python/snapext/autostart"
LABEL = "com.amazonaws.lambda.feature.snapstart"
INSTALL_LINE = "RUN pip install --no-cache-dir lambda-snapext && snapext layer install / --precompile python3"
LABEL_LINE = f'LABEL {LABEL}="Allow"'
_VARIABLE = re.compile(r"\$\{?\w+")
_OFFICIAL = (
    "python|pypy|node|nginx|httpd|caddy|php|ruby|golang|rust|perl|openjdk|eclipse-temurin|amazoncorretto|gradle|maven|tomcat"
    "|debian|ubuntu|alpine|amazonlinux|fedora|rockylinux|almalinux|oraclelinux|busybox|buildpack-deps|scratch|wordpress"
)
_PUBLIC = re.compile(
    rf"(?:docker\.io/)?(?:library/)?(?:{_OFFICIAL})(?:[:@].*)?"
    r"|public\.ecr\.aws/(?:docker/library|lambda|amazonlinux|sam)/.*"
    r"|(?:mcr\.microsoft\.com|gcr\.io/distroless)/.*"
    r"|(?:oven/bun|denoland/deno|ghcr\.io/astral-sh/uv)(?:[:@].*)?"
)


@dataclass(slots=True)
class _Stage:
    base: str
    base_place: Place
    variables: dict[str, Setting] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    adapter: str | None = None
    adapter_place: Place | None = None
    overlay: bool = False
    linked: bool = False
    labelled: bool = False
    trusted: bool = True
    command: tuple[str, Place] | None = None
    entry: tuple[str, Place] | None = None


def read_dockerfile(path: Path, variables: Mapping[str, Setting], target: str | None = None) -> ImageFile | str:
    """Read it; the reason as text when that cannot be done.

    variables: the function's own, which replace those of the image. target: the stage to build, as for `docker build`.
    """
    try:
        text = read_text(path)
    except SourceError as error:
        return str(error)
    stages = _stages(text, str(path))
    if not stages:
        return f"{path} has no FROM"
    names = list(stages)
    stage = stages[target.lower() if target and target.lower() in stages else names[-1]]
    known = {**stage.variables, **variables}
    return ImageFile(
        Place(str(path)),
        stage.variables,
        stage.places,
        stage.base,
        stage.trusted,
        stage.adapter,
        stage.adapter_place,
        stage.overlay,
        stage.linked or AUTOSTART in _text(stage.variables.get("PYTHONPATH", "")),
        _start(stage, known),
        stage.labelled,
        _words(stage),
        stage.base_place,
    )


def image_lines(image: ImageFile | None) -> tuple[str, ...]:
    """What puts snapext into an image; None: one whose Dockerfile is unknown. docs/start-image.md shows the same lines.

    The label lets Lambda take a snapshot also while snapext is off, when nothing in the image asks for restore/next.
    """
    return (INSTALL_LINE,) if image is not None and image.labelled else (INSTALL_LINE, LABEL_LINE)


def _text(value: Setting) -> str:
    return value.text if isinstance(value, Opaque) else value


def _start(stage: _Stage, known: Mapping[str, Setting]) -> Start | None:
    """What ENTRYPOINT and CMD start together; a shell form ignores what follows it."""
    words: list[str] = []
    for text, place in filter(None, (stage.entry, stage.command)):
        listed = _exec_form(text)
        if listed is None:
            return _in_shell(text, place, known)
        words += listed
    last = stage.command or stage.entry
    return read_words(words, last[1], known) if last is not None else None


def _words(stage: _Stage) -> tuple[str, ...]:
    """The words that Docker starts: a shell form in /bin/sh."""
    words: list[str] = []
    for text, _ in filter(None, (stage.entry, stage.command)):
        listed = _exec_form(text)
        if listed is None:
            return ("/bin/sh", "-c", text)
        words += listed
    return tuple(words)


def _in_shell(text: str, place: Place, known: Mapping[str, Setting]) -> Start | None:
    return read_start(text, lambda _: place, known)


def _stages(text: str, file: str) -> dict[str, _Stage]:
    stages: dict[str, _Stage] = {}
    stage: _Stage | None = None
    for number, instruction, rest in _instructions(text):
        place = Place(file, "", number)
        if instruction == "FROM":
            words = [word for word in rest.split() if not word.startswith("--")]
            base = words[0] if words else ""
            name = words[2].lower() if len(words) > 2 and words[1].upper() == "AS" else str(len(stages))
            parent = stages.get(base.lower())
            stage = (
                _inherit(parent) if parent is not None else _Stage(base, place, trusted=bool(_PUBLIC.fullmatch(base)))
            )
            stages[name] = stage
        elif stage is not None:
            _apply(stage, stages, instruction, rest, place)
    return stages


def _inherit(parent: _Stage) -> _Stage:
    return replace(parent, variables=dict(parent.variables), places=dict(parent.places))


def _apply(stage: _Stage, stages: Mapping[str, _Stage], instruction: str, rest: str, place: Place) -> None:
    if instruction == "ENV":
        for name, value in _pairs(rest):
            stage.variables[name] = Opaque(value, value) if _VARIABLE.search(value) else value
            stage.places[name] = place
    elif instruction in ("COPY", "ADD"):
        words = rest.split()
        origin = next((word.partition("=")[2] for word in words if word.startswith("--from=")), "")
        paths = [word for word in words if not word.startswith("--")]
        other = stages.get(origin.lower())
        target = paths[-1].rstrip("/") if paths else ""
        if target == ADAPTER or (target == "/opt/extensions" and "lambda-adapter" in rest):
            named = other.base if other is not None and "adapter" in other.base else origin
            stage.adapter, stage.adapter_place = named, place
        whole_opt = target == "/opt" and any(path.rstrip("/").endswith("opt") for path in paths[:-1])
        if whole_opt and other is not None:
            stage.overlay = stage.overlay or other.overlay
            if other.adapter is not None:
                stage.adapter, stage.adapter_place = other.adapter, place
        elif "snapext" in rest and target.startswith("/opt"):
            stage.overlay = True
        stage.linked = stage.linked or "snapext.pth" in rest
    elif instruction == "RUN":
        if re.search(r"snapext\W+layer\W+install", rest):
            stage.overlay = stage.linked = True
        stage.linked = stage.linked or "snapext.pth" in rest
    elif instruction == "LABEL":
        stage.labelled = stage.labelled or LABEL in rest
    elif instruction == "CMD":
        stage.command = rest, place
    elif instruction == "ENTRYPOINT":
        stage.entry, stage.command = (rest, place), None


def _instructions(text: str) -> list[tuple[int, str, str]]:
    found = []
    pending, started = "", 0
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue  # also between continued lines, where a comment is left out
        started = started or number
        if line.rstrip().endswith("\\"):
            pending += line.rstrip()[:-1] + " "
            continue
        instruction, _, rest = (pending + line).strip().partition(" ")
        found.append((started, instruction.upper(), rest.strip()))
        pending, started = "", 0
    return found


def _pairs(text: str) -> list[tuple[str, str]]:
    """`NAME=value NAME="a b"`, or the old form `NAME a b`."""
    if "=" not in text.split(None, 1)[0] if text else True:
        name, _, value = text.partition(" ")
        return [(name, value.strip())] if name else []
    try:
        words = shlex.split(text)
    except ValueError:
        return []
    return [(name, value) for name, equals, value in (word.partition("=") for word in words) if equals]


def _exec_form(text: str) -> list[str] | None:
    try:
        words = json.loads(text)
    except ValueError:
        return None
    return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else None
