"""What can be wrong with the command that starts the server, of a script or an image. A rule yields what it finds."""

from __future__ import annotations

from collections.abc import Iterator

from snapext_extension import config
from snapext_tools.doctor.findings import Finding, Severity
from snapext_tools.doctor.rules_adapter import APP_PORT, is_explicit
from snapext_tools.doctor.rules_image import image_of
from snapext_tools.doctor.rules_script import script_of
from snapext_tools.doctor.settings import Change, Function, ImageFile, Start, UnreadableError


def unlinked_start(function: Function) -> Iterator[Finding]:
    """None of snapext's channels reaches a Python that ignores PYTHONPATH and the user site."""
    start = _start(function)
    if start is None or _is_linked_image(function):
        return
    why = start.unlinked
    if not why and start.replaces and start.venv:
        why = f"{start.replaces}, in a virtual environment, which has no user site"
    if why:
        yield Finding(
            Severity.ERROR,
            f"the server starts with {why}",
            "its processes are not linked unless the app imports snapext itself: their hooks do not run",
            Change(
                "change", start.replaces_place or start.place, "PYTHONPATH=...:$PYTHONPATH, and python without -I, -S"
            ),
        )


def replaced_path(function: Function) -> Iterator[Finding]:
    """The wrapper prepends to PYTHONPATH; where it is replaced, the user site links the processes alone."""
    start = _start(function)
    if start is None or not start.replaces or start.unlinked or start.venv or _is_linked_image(function):
        return
    line = "remove it" if start.replaces.startswith("unset") else f"{start.replaces}:$PYTHONPATH"
    yield Finding(
        Severity.WARNING,
        f"{start.replaces} replaces PYTHONPATH",
        "only the user site links the processes then, which a virtual environment, -s and PYTHONNOUSERSITE hide",
        Change("change", start.replaces_place or start.place, line),
    )


def too_few_started(function: Function) -> Iterator[Finding]:
    """Init waits for as many processes as SNAPEXT_WORKERS says."""
    yield from _workers(function, more=True)


def too_many_started(function: Function) -> Iterator[Finding]:
    """Init does not wait for more processes than SNAPEXT_WORKERS says."""
    yield from _workers(function, more=False)


def _workers(function: Function, *, more: bool) -> Iterator[Finding]:
    value = function.variables.get(config.ENV_WORKERS)
    if not isinstance(value, str) or not value.isdigit() or int(value) == 0:
        return  # rules_own judges what it is
    start = _start(function)
    if start is None or start.workers is None:
        raise UnreadableError("how many workers the server starts cannot be read from its start command")
    if start.workers == int(value) or (int(value) > start.workers) != more:
        return
    yield Finding(
        Severity.ERROR if more else Severity.WARNING,
        f"{config.ENV_WORKERS} is {value}, and {start.place} starts {start.server} with {_count(start.workers)}",
        f"init waits for {_count(int(value))} until {config.ENV_READY_TIMEOUT_MS}, and fails"
        if more
        else "the snapshot may be taken before the others have joined: their hooks would not run",
        function.set_variable(config.ENV_WORKERS, str(start.workers)),
    )


def _count(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"


def app_port(function: Function) -> Iterator[Finding]:
    """The adapter and snapext ask for readiness where AWS_LWA_PORT says."""
    if is_explicit(function):
        return
    start = _start(function)
    if start is None or start.port is None:
        return
    name, value = function.variable(*APP_PORT)
    if str(start.port) != (value or "8080"):
        yield Finding(
            Severity.ERROR,
            f"{start.place} starts {start.server} on port {start.port}, and {name} is {value or 'not set (8080)'}",
            "the web adapter and snapext ask on the other port whether the app is ready: init fails",
            function.set_variable(name, str(start.port)),
        )


def _is_linked_image(function: Function) -> bool:
    image = function.facts.image_file if function.facts is not None else None
    return isinstance(image, ImageFile) and image.linked


def _start(function: Function) -> Start | None:
    """The start command; None when there is none. Raises UnreadableError when its script or image cannot be read."""
    facts = function.beyond_variables()
    if facts.image:
        image_of(function)
    else:
        script_of(function)
    return facts.start
