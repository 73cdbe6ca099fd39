"""What can be wrong with the handler script of a package. A rule yields what it finds."""

from __future__ import annotations

from collections.abc import Iterator

from snapext_tools.doctor.findings import Finding, Severity
from snapext_tools.doctor.ours import our_port
from snapext_tools.doctor.package import looks_like_a_script
from snapext_tools.doctor.rules_adapter import READINESS_PORT
from snapext_tools.doctor.settings import Change, Function, Place, Script, UnreadableError


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
    script = script_of(function)
    if script is not None and not script.exists:
        yield Finding(
            Severity.ERROR,
            f"Handler is {script.name}, and the package has no such file",
            "nothing starts the server: each environment fails",
            Change("add", _folder(function), script.name),
        )


def handler_mode(function: Function) -> Iterator[Finding]:
    """The package keeps the mode, and Lambda starts what may be executed."""
    script = script_of(function)
    if script is not None and script.exists and not script.executable:
        yield Finding(
            Severity.ERROR,
            f"{script.name} is not executable",
            "snapext's wrapper, as the web adapter's, cannot start it: each environment fails",
            Change("run", script.place, f"chmod +x {script.name}"),
        )


def handler_line_ends(function: Function) -> Iterator[Finding]:
    """A kernel takes the carriage return for a part of the interpreter's name, a shell for a part of each word."""
    script = script_of(function)
    if script is not None and "\r\n" in script.text:
        yield Finding(
            Severity.ERROR,
            f"{script.name} has the line ends of Windows (CR LF)",
            "its interpreter is not found, or its last word on each line ends in a carriage return: it does not start",
            Change("run", script.place, f"sed -i 's/\\r$//' {script.name}"),
        )


def handler_shebang(function: Function) -> Iterator[Finding]:
    """Without its first line a script runs in sh, whatever it is written in."""
    script = script_of(function)
    if script is None or not script.text.strip() or script.text.startswith("#!"):
        return
    yield Finding(
        Severity.WARNING,
        f"{script.name} does not begin with #!"
        + (", but with a byte order mark" if script.text[0] == "\ufeff" else ""),
        "it is run by sh, whatever it is written for",
        Change("add", Place(script.place.file, script.place.path, 1), "#!/bin/sh"),
    )


def script_of(function: Function) -> Script | None:
    """The handler script; None for a native handler, and in an image. Raises UnreadableError when it cannot be read."""
    facts = function.beyond_variables()
    if isinstance(facts.script, str):
        raise UnreadableError(facts.script)
    return facts.script


def _folder(function: Function) -> Place:
    facts = function.beyond_variables()
    return function.root if facts.code_folder is None else Place(str(facts.code_folder))
