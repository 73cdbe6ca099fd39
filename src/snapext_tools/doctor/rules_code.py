"""What can be wrong in the code that is deployed: the handler script, or the image. A rule yields what it finds."""

from __future__ import annotations

import re
from collections.abc import Iterator

from snapext_extension import config
from snapext_tools.doctor.dockerfile import ADAPTER, AUTOSTART
from snapext_tools.doctor.findings import Finding, Severity
from snapext_tools.doctor.ours import our_port
from snapext_tools.doctor.package import looks_like_a_script
from snapext_tools.doctor.rules_adapter import APP_PORT, READINESS_PORT, adapter_layer, is_explicit
from snapext_tools.doctor.settings import (
    Change,
    Facts,
    Function,
    ImageFile,
    Opaque,
    Place,
    Script,
    Start,
    UnreadableError,
)

_ARM, _X86 = "arm64", "x86_64"


def native_handler(function: Function) -> Iterator[Finding]:
    """A native handler's runtime runs the hooks by itself, and no server answers behind the gate."""
    facts = function.beyond_variables()
    if facts.image or facts.handler is None:
        return
    handler = function.read("Handler", facts.handler)
    is_native = facts.script is None or (isinstance(facts.script, str) and not looks_like_a_script(handler))
    if is_native and (facts.runtime is None or str(facts.runtime).startswith("python")):
        if function.variable(*READINESS_PORT)[1] != our_port(function):
            return
        yield Finding(
            Severity.ERROR,
            f"Handler is {handler}, a function and not a script",
            "Lambda's own runtime calls it and runs its hooks; the web adapter waits for a server that nothing starts: "
            "init fails; name the script that starts the server, or remove snapext and the adapter",
            function.set(("Handler",), "run.sh"),
        )


def handler_missing(function: Function) -> Iterator[Finding]:
    """The wrapper starts the handler's file from the package."""
    script = _script(function)
    if script is not None and not script.exists:
        yield Finding(
            Severity.ERROR,
            f"Handler is {script.name}, and the package has no such file",
            "nothing starts the server: each environment fails",
            Change("add", _folder(function), script.name),
        )


def handler_mode(function: Function) -> Iterator[Finding]:
    """The package keeps the mode, and Lambda starts what may be executed."""
    script = _script(function)
    if script is not None and script.exists and not script.executable:
        yield Finding(
            Severity.ERROR,
            f"{script.name} is not executable",
            "snapext's wrapper, as the web adapter's, cannot start it: each environment fails",
            Change("run", script.place, f"chmod +x {script.name}"),
        )


def handler_line_ends(function: Function) -> Iterator[Finding]:
    """A kernel takes the carriage return for a part of the interpreter's name, a shell for a part of each word."""
    script = _script(function)
    if script is not None and "\r\n" in script.text:
        yield Finding(
            Severity.ERROR,
            f"{script.name} has the line ends of Windows (CR LF)",
            "its interpreter is not found, or its last word on each line ends in a carriage return: it does not start",
            Change("run", script.place, f"sed -i 's/\\r$//' {script.name}"),
        )


def handler_shebang(function: Function) -> Iterator[Finding]:
    """Without its first line a script runs in sh, whatever it is written in."""
    script = _script(function)
    if script is None or not script.text.strip() or script.text.startswith("#!"):
        return
    yield Finding(
        Severity.WARNING,
        f"{script.name} does not begin with #!"
        + (", but with a byte order mark" if script.text[0] == "\ufeff" else ""),
        "it is run by sh, whatever it is written for",
        Change("add", Place(script.place.file, script.place.path, 1), "#!/bin/sh"),
    )


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


def no_adapter(function: Function) -> Iterator[Finding]:
    """Without the web adapter nothing asks the gate, and nothing forwards requests to the server."""
    facts = function.beyond_variables()
    if is_explicit(function):
        return
    image = facts.image_file
    if facts.image:
        if isinstance(image, str):
            raise UnreadableError(image)
        if image is None or image.adapter is not None:
            return
        if not image.trusted:
            raise UnreadableError(f"the base image {image.base} may contain the web adapter")
        yield _without_adapter(
            "the image has no web adapter",
            Change(
                "add",
                image.place,
                f"COPY --from=public.ecr.aws/awsguru/aws-lambda-adapter:1.1.0 /lambda-adapter {ADAPTER}",
            ),
        )
        return
    if adapter_layer(function) is None:
        for each in facts.layers:
            if isinstance(each, Opaque) and "layer:" not in each.words:
                function.read("a layer", each)
        letter = "Arm64" if facts.architecture == _ARM else "X86"
        yield _without_adapter(
            "no layer has the web adapter's name",
            function.add_item(("Layers",), f"<the ARN of the version of LambdaAdapterLayer{letter} that you want>"),
        )


def _without_adapter(wrong: str, change: Change) -> Finding:
    return Finding(
        Severity.WARNING,
        wrong,
        "without it nothing asks snapext's gate and nothing forwards requests to the server; a runtime of your own "
        f"runs `snapext checkpoint`, with {config.ENV_MODE}=explicit",
        change,
    )


def adapter_processor(function: Function) -> Iterator[Finding]:
    """A binary for the other processor does not start."""
    facts = function.beyond_variables()
    image = facts.image_file
    if isinstance(image, ImageFile) and image.adapter:
        found = re.search(r"-(x86_64|amd64|aarch64|arm64)$", image.adapter)
        named, place = (found[1] if found else ""), image.adapter_place or image.place
        text = image.adapter
    else:
        text = adapter_layer(function) or ""
        found = re.search(r"LambdaAdapterLayer(X86|Arm64)", text)
        named, place = (found[1] if found else ""), function.places.get(("Layers",), function.root)
    if not named:
        return
    wanted = _X86 if facts.architecture is None else function.read("Architectures", facts.architecture)
    built_for = _ARM if named in ("aarch64", "arm64", "Arm64") else _X86
    if built_for != wanted and wanted in (_ARM, _X86):
        other = text.replace("Arm64", "X86") if "Arm64" in text else text.replace("LayerX86", "LayerArm64")
        line = other if not facts.image else text[: text.rindex("-")]
        yield Finding(
            Severity.ERROR,
            f"the web adapter {text} is built for {built_for}, and the function runs on {wanted}",
            "it does not start there: each environment fails",
            Change("change", place, f"{line} (the number of its version differs)" if not facts.image else line),
        )


def image_overlay(function: Function) -> Iterator[Finding]:
    """An image has no layers: snapext's files are laid into it."""
    image = _image(function)
    if image is None or image.overlay:
        return
    if not image.trusted:
        raise UnreadableError(f"the base image {image.base} may contain snapext")
    yield Finding(
        Severity.ERROR,
        "the image does not contain snapext",
        "an image has no layers: without /opt/extensions/snapext there is no extension, and no hook runs",
        Change("add", image.place, "RUN pip install lambda-snapext && snapext layer install /"),
    )


def image_links(function: Function) -> Iterator[Finding]:
    """An image has no wrapper: snapext.pth or PYTHONPATH links the processes of its Python."""
    image = _image(function)
    if image is None or image.linked or not image.overlay:
        return
    if not image.trusted:
        raise UnreadableError(f"the base image {image.base} may link its Python")
    yield Finding(
        Severity.ERROR,
        "nothing in the image links the processes of its Python",
        "there is no snapext.pth beside its packages, and no PYTHONPATH: hooks run only if the app imports snapext",
        Change("add", image.place, f"ENV PYTHONPATH={AUTOSTART}"),
    )


def _image(function: Function) -> ImageFile | None:
    facts = function.beyond_variables()
    if isinstance(facts.image_file, str):
        raise UnreadableError(facts.image_file)
    return facts.image_file


def _is_linked_image(function: Function) -> bool:
    image = function.facts.image_file if function.facts is not None else None
    return isinstance(image, ImageFile) and image.linked


def _script(function: Function) -> Script | None:
    facts = function.beyond_variables()
    if isinstance(facts.script, str):
        raise UnreadableError(facts.script)
    return facts.script


def _start(function: Function) -> Start | None:
    """The start command, of the script or of the image."""
    facts: Facts = function.beyond_variables()
    if facts.image:
        image = _image(function)
        return None if image is None else image.start
    script = _script(function)
    return None if script is None else script.start


def _folder(function: Function) -> Place:
    facts = function.beyond_variables()
    return function.root if facts.code_folder is None else Place(str(facts.code_folder))
