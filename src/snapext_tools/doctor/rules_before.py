"""What SnapStart would lose in a function that snapext is not attached to. A rule is pure, and yields what it finds."""

from __future__ import annotations

from collections.abc import Iterator

from snapext_extension import adapter_config
from snapext_tools.doctor.dockerfile import LABEL_LINE
from snapext_tools.doctor.findings import Finding, Severity
from snapext_tools.doctor.rules_adapter import adapter_layer
from snapext_tools.doctor.rules_image import image_of
from snapext_tools.doctor.rules_platform import OLDEST_PYTHON, PUBLISHED, without_snap_start
from snapext_tools.doctor.rules_release import release_of
from snapext_tools.doctor.settings import Change, Function, ImageFile

SERVERLESS_PACKAGE = "cloudformation-template-update-stack.json"
_LOST = (
    "every clone starts with the connections, tokens and random numbers of the snapshot: behind a web adapter before "
    "1.1 no hook of the app runs, and from 1.1 on one POST reaches one process{}"
)


def would_lose(function: Function) -> Iterator[Finding]:
    """What SnapStart would lose, and how to attach snapext; also where it is on, and there is nothing to attach."""
    facts = function.beyond_variables()
    value = None if facts.snap_start is None else function.read("SnapStart.ApplyOn", facts.snap_start)
    what, can_attach = _lost(function)
    if value != PUBLISHED or not (can_attach or _refused(function)):
        state = "off" if value in (None, "None") else "on" if value == PUBLISHED else f"{value}"
        wrong = f"SnapStart is {state}, and snapext is not attached"
        change = (
            _attach(function) if can_attach else _newer_python(function) or Change("leave", function.root, "as it is")
        )
        yield Finding(Severity.NOTE, wrong, what, change)


def loses(function: Function) -> Iterator[Finding]:
    """SnapStart is on, behind the web adapter, and nothing calls the hooks in every process."""
    facts = function.beyond_variables()
    if facts.snap_start is None or function.read("SnapStart.ApplyOn", facts.snap_start) != PUBLISHED:
        return
    what, can_attach = _lost(function)
    if can_attach:
        wrong = "SnapStart is on, and snapext is not attached"
        yield Finding(Severity.WARNING, wrong, what, _attach(function))


def image_label(function: Function) -> Iterator[Finding]:
    """Lambda publishes an image with SnapStart if it asks for restore/next, or says by a label that it need not."""
    facts = function.beyond_variables()
    if not facts.image or facts.snap_start != PUBLISHED:
        return
    image = image_of(function)
    release = release_of(image.adapter or "") if image is not None else None
    if image is None or image.labelled or not image.trusted or release is None:
        return
    if release < (1, 1):
        yield Finding(
            Severity.ERROR,
            f"the web adapter {image.adapter} never asks for restore/next, and the image has no label that allows that",
            "Lambda publishes no version of it with SnapStart",
            Change("add", image.place, LABEL_LINE),
        )


def why_not(function: Function) -> str:
    """Why snapext cannot be attached to this function; empty when it can."""
    what, can_attach = _lost(function)
    return "" if can_attach else what


def _newer_python(function: Function) -> Change | None:
    """The runtime that has SnapStart; None where another version of Python is not what is needed."""
    runtime = function.beyond_variables().runtime
    if not _refused(function) or not isinstance(runtime, str) or not runtime.startswith("python"):
        return None
    return function.set(("Runtime",), f"python3.{OLDEST_PYTHON}")


def _refused(function: Function) -> str:
    facts = function.beyond_variables()
    return without_snap_start(facts.runtime) if not facts.image and isinstance(facts.runtime, str) else ""


def _lost(function: Function) -> tuple[str, bool]:
    """What a clone of this function has to do without, and whether snapext can be attached to change that."""
    facts = function.beyond_variables()
    runtime = facts.runtime if isinstance(facts.runtime, str) else ""
    if refusal := _refused(function):
        newer = _newer_python(function)
        instead = f"; for SnapStart: {newer.line}" if newer is not None else ""
        return f"{refusal}: with {runtime} there is nothing to attach{instead}", False
    if not facts.image and facts.script is None and facts.handler is not None and adapter_layer(function) is None:
        return "Lambda's own runtime calls this handler, and runs its hooks: snapext is not needed", False
    if not facts.image and runtime and not runtime.startswith("python"):
        what = f"no hook of the app runs behind a web adapter before 1.1; {runtime} has no Python"
        return f"{what}, which snapext's extension needs: attach it to a container image of this app", False
    what = _LOST.format(_of_how_many(function))
    image = facts.image_file
    if isinstance(image, ImageFile) and "python" not in image.base:
        what += "; snapext's extension needs a Python 3.11 to 3.14 in the image"
    return what, True


def _of_how_many(function: Function) -> str:
    start = function.beyond_variables().start
    paths = (adapter_config.ENV_LWA_BEFORE_CHECKPOINT_PATH, adapter_config.ENV_LWA_AFTER_RESTORE_PATH)
    posts = any(name in function.variables for name in paths)
    if start is None or start.workers is None:
        return ""
    if start.workers == 1:
        enough = "its routes for that are enough" if posts else f"routes for that ({paths[0]}, …) would be enough"
        return f"; {start.server} has one process here: {enough}"
    return f" of {start.workers}, as {start.place} starts {start.server}"


def _attach(function: Function) -> Change:
    kind, file = function.beyond_variables().kind, function.root.file
    if file.endswith(".template.json"):
        return Change("run", function.root, "snapext attach --for cdk-typescript    # or cdk-python")
    if file.endswith(SERVERLESS_PACKAGE):
        return Change("run", function.root, "snapext attach --for serverless")
    if kind in ("serverless", "cloudformation"):
        return Change("run", function.root, f"snapext attach --template {file} {function.name}")
    return Change("run", function.root, f"snapext attach --for {kind}")
