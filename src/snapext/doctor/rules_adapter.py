"""What can be wrong between the web adapter and snapext. A rule is pure, and yields what it finds."""

from __future__ import annotations

import re
from collections.abc import Iterator

from snapext.doctor.findings import Finding, Severity
from snapext.doctor.ours import number, our_port
from snapext.doctor.settings import Function, Opaque, UnreadableError
from snapext_extension import config

ENV_WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"
ENV_READINESS_TIMEOUT_S = "AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS"
ENV_AFTER_RESTORE_PATH = "AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH"
READINESS_PORT = (config.ENV_LWA_READINESS_PORT, "READINESS_CHECK_PORT")
READINESS_PROTOCOL = (config.ENV_LWA_READINESS_PROTOCOL, "READINESS_CHECK_PROTOCOL")
ASYNC_INIT = ("AWS_LWA_ASYNC_INIT", "ASYNC_INIT")
APP_PORT = (config.ENV_LWA_PORT, "PORT")

WRAPPER = "/opt/snapext/bootstrap"
ADAPTER_WRAPPER = "/opt/bootstrap"


def readiness_port(function: Function) -> Iterator[Finding]:
    """The adapter's readiness check has to ask our gate, unless the function says itself when it is up."""
    name, value = function.variable(*READINESS_PORT)
    ours = our_port(function)
    if is_explicit(function):
        if value == ours:
            yield Finding(
                Severity.ERROR,
                f"{name} is {ours}, snapext's port, and {config.ENV_MODE} is 'explicit'",
                "nobody answers there in that mode: snapext refuses it, and init fails",
                function.remove_variable(name),
            )
        return
    if value == ours:
        return
    insists = function.variables.get(config.ENV_MODE) == "gate"
    yield Finding(
        Severity.ERROR,
        f"{name} is not set" if value is None else f"{name} is {value!r}, and snapext listens on {ours}",
        f"init fails, because {config.ENV_MODE}=gate insists on it"
        if insists
        else "the web adapter checks the app and not snapext, nothing holds the snapshot back, and no hook ever runs",
        function.set_variable(name, ours),
    )


def is_explicit(function: Function) -> bool:
    """Whether the function is to run `snapext checkpoint`, and holds the boundary by that."""
    return function.variables.get(config.ENV_MODE) == "explicit"


def readiness_protocol(function: Function) -> Iterator[Finding]:
    """A TCP connect cannot be held until the hooks have run."""
    name, value = function.variable(*READINESS_PROTOCOL)
    if value is not None and value.lower() == "tcp" and not is_explicit(function):
        yield Finding(
            Severity.ERROR,
            f"{name} is {value!r}",
            "a TCP connect cannot be held until the hooks have run: snapext refuses it, and init fails",
            function.set_variable(name, "http"),
        )


def async_init(function: Function) -> Iterator[Finding]:
    """The adapter must not go on before the readiness check is answered."""
    name, value = function.variable(*ASYNC_INIT)
    if value is not None and value.lower() == "true":
        yield Finding(
            Severity.ERROR,
            f"{name} is {value!r}",
            "a web adapter before 1.1 asks for the first invocation after 9.8 s, whether or not the hooks have run: "
            "restore/next is then refused (403); from 1.1 on the setting is ignored under SnapStart",
            function.set_variable(name, "false"),
        )


def exec_wrapper(function: Function) -> Iterator[Finding]:
    """Our wrapper starts the handler script with the processes linked."""
    if function.facts is not None and function.facts.image:
        raise UnreadableError("what starts the app is in the image")
    if function.facts is not None and _is_os_only(function.facts.runtime):
        raise UnreadableError("the package's own bootstrap starts the app: an OS-only runtime uses no wrapper")
    name, value = function.variable(ENV_WRAPPER)
    if value == WRAPPER:
        return
    what = f"{name} is not set" if value is None else f"{name} is {value!r}"
    if value == ADAPTER_WRAPPER:
        what += ", the web adapter's own wrapper"
    yield Finding(
        Severity.ERROR,
        what,
        "hooks registered with snapshot_restore_py are not linked: they are registered, and never called"
        + (", and a handler that is a script (run.sh) is not started" if value is None else ""),
        function.set_variable(name, WRAPPER),
    )


def hook_paths(function: Function) -> Iterator[Finding]:
    """The adapter's own hooks are a second mechanism beside ours."""
    for name, when in (
        (config.ENV_LWA_BEFORE_CHECKPOINT_PATH, "before the snapshot"),
        (ENV_AFTER_RESTORE_PATH, "after the restore"),
    ):
        value = function.variable(name)[1]
        if value:
            yield Finding(
                Severity.WARNING,
                f"{name} is set as well",
                f"{when} the web adapter (1.1 and later) also POSTs to {value}: that reaches one process of several, "
                "and does twice what a hook of snapext does there",
                function.remove_variable(name),
            )


def readiness_timeout(function: Function) -> Iterator[Finding]:
    """The adapter (1.1 and later) must not give up while hooks run within their budgets."""
    name, value = function.variable(ENV_READINESS_TIMEOUT_S)
    if value is None or not re.fullmatch(r"\d+(\.\d*)?|\.\d+", value, re.ASCII) or float(value) == 0:
        return  # the adapter waits without end: it ignores what is no positive number
    given_ms = float(value) * 1000
    for phase, variable, default_ms in (
        ("after-restore", config.ENV_AFTER_RESTORE_TIMEOUT_MS, 9_000),
        ("before-snapshot", config.ENV_BEFORE_SNAPSHOT_TIMEOUT_MS, 60_000),
    ):
        budget_ms = number(function, variable, default_ms)
        if given_ms < budget_ms:
            fails = "the restore fails" if phase == "after-restore" else "init fails and no version is published"
            yield Finding(
                Severity.ERROR,
                f"{name} is {value}, shorter than the {phase} hooks' budget of {budget_ms / 1000:g} s ({variable})",
                f"the web adapter (1.1 and later) gives up first: {fails} if they take longer than {value} s; "
                "unset, it waits for as long as snapext's budgets allow",
                function.remove_variable(name),
            )
            return


def port_clash(function: Function) -> Iterator[Finding]:
    """The app and the gate cannot listen on one port."""
    name, value = function.variable(*APP_PORT)
    if value is not None and value == our_port(function):
        yield Finding(
            Severity.ERROR,
            f"{name} is {value}, which is snapext's own port",
            "the app and snapext cannot both listen on it, and init fails; let the app listen elsewhere, too",
            function.set_variable(name, "8080"),
        )


def _is_os_only(value: str | Opaque | None) -> bool:
    return isinstance(value, str) and value.startswith("provided")
