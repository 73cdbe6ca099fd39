"""What a function needs so that snapext runs its hooks, and does not have yet. It decides; `patch` writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from snapext.errors import SnapextError
from snapext.wire.signal_names import ENV_TRANSPORT
from snapext_extension import config
from snapext_tools.doctor.dockerfile import image_lines
from snapext_tools.doctor.ours import our_port
from snapext_tools.doctor.rules_adapter import (
    ASYNC_INIT,
    ENV_WRAPPER,
    READINESS_PORT,
    READINESS_PROTOCOL,
    WRAPPER,
    has_no_gate,
)
from snapext_tools.doctor.rules_before import why_not
from snapext_tools.doctor.rules_hooks import has_hooks
from snapext_tools.doctor.rules_platform import PUBLISHED, mentions_snapext
from snapext_tools.doctor.settings import Function, ImageFile, Opaque, Setting

LAYER_PARAMETER = "SnapextLayerArn"


class AttachError(SnapextError):
    """A function that cannot be attached to, or a file that cannot be changed. The text is one line."""


@dataclass(frozen=True, slots=True)
class Needs:
    """The settings to write.

    variables: the function's, by name. properties: others, by their path below the function's properties.
    layer: the layer's ARN, or an empty text for a parameter; None when one is there, or the function is an image.
    version: whether the template needs a version and an alias of its own. image_lines: what the Dockerfile needs.
    """

    variables: dict[str, str] = field(default_factory=dict)
    properties: dict[tuple[str, ...], Any] = field(default_factory=dict)
    layer: str | None = None
    version: bool = False
    image_lines: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether the template has to change. An empty ARN stands for a parameter, which is a change too."""
        return bool(self.variables or self.properties or self.layer is not None or self.version)


def needs(function: Function, layer: str | None = None) -> Needs:
    """What is missing. layer: the ARN of the layer's version; None for a parameter of the template.

    Raises:
        AttachError: snapext cannot be attached to this function, and why.
    """
    facts = function.beyond_variables()
    if reason := why_not(function):
        raise AttachError(f"{function.name}: {reason}")
    variables = {}
    if not has_no_gate(function):
        variables[READINESS_PORT[0]] = our_port(function)
        if _lower(function, READINESS_PROTOCOL) == "tcp":
            variables[READINESS_PROTOCOL[0]] = "http"
    if not facts.image:
        variables[ENV_WRAPPER] = WRAPPER
    workers = _workers(function)
    if workers is not None:
        variables[config.ENV_WORKERS] = str(workers)
    if _lower(function, ASYNC_INIT) == "true":
        variables[ASYNC_INIT[0]] = "false"
    properties: dict[tuple[str, ...], Any] = {}
    if facts.snap_start != PUBLISHED:
        properties["SnapStart", "ApplyOn"] = PUBLISHED
    if facts.serverless and facts.published is not True:
        properties["AutoPublishAlias",] = "live"
        properties["AutoPublishAliasAllProperties",] = True
    has_layer = facts.image or any(map(mentions_snapext, facts.layers))
    return Needs(
        {name: value for name, value in variables.items() if function.variables.get(name) != value},
        properties,
        None if has_layer else layer or "",
        not facts.serverless and facts.published is False,
        _image_lines(facts.image_file) if facts.image else (),
    )


def _workers(function: Function) -> int | None:
    """How many workers the server starts, where that can be read; a setting that is there already is left alone."""
    start = function.beyond_variables().start
    settled = {config.ENV_WORKERS, ENV_TRANSPORT} & function.variables.keys()
    if start is None or start.workers is None or settled or not has_hooks(function):
        return None
    return start.workers


def _lower(function: Function, names: tuple[str, ...]) -> str:
    value: Setting | None = next((function.variables[name] for name in names if name in function.variables), None)
    return "" if value is None or isinstance(value, Opaque) else value.lower()


def _image_lines(image: ImageFile | str | None) -> tuple[str, ...]:
    if isinstance(image, ImageFile) and image.overlay and image.linked:
        return ()
    return (
        "# Beside the web adapter, in the last stage; once more with --venv PATH for a virtual environment.",
        *image_lines(image if isinstance(image, ImageFile) else None),
        "# PyPI has lambda-snapext from the first release on; a wheel of the clone: docs/start-image.md.",
    )
