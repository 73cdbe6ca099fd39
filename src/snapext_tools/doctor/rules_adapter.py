"""What can be wrong between the web adapter and snapext. A rule is pure, and yields what it finds."""

from __future__ import annotations

import re
from collections.abc import Iterator

from snapext_extension import adapter_config, config
from snapext_extension.platform.adapter import ADAPTER, EXTENSION
from snapext_tools.doctor.findings import Finding, Severity
from snapext_tools.doctor.ours import number, our_port
from snapext_tools.doctor.settings import Function, ImageFile, Opaque, UnreadableError

ENV_WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"
READINESS_PORT = (adapter_config.ENV_LWA_READINESS_PORT, "READINESS_CHECK_PORT")
READINESS_PROTOCOL = (adapter_config.ENV_LWA_READINESS_PROTOCOL, "READINESS_CHECK_PROTOCOL")
ASYNC_INIT = ("AWS_LWA_ASYNC_INIT", "ASYNC_INIT")
APP_PORT = (adapter_config.ENV_LWA_PORT, "PORT")

WRAPPER = "/opt/snapext/bootstrap"
ADAPTER_WRAPPER = "/opt/bootstrap"


def readiness_port(function: Function) -> Iterator[Finding]:
    """The adapter's readiness check must ask our gate, unless the function's mode is one without a gate."""
    name, value = function.variable(*READINESS_PORT)
    ours = our_port(function)
    if has_no_gate(function):
        if value == ours:
            yield Finding(
                Severity.ERROR,
                f"{name} is {ours}, snapext's port, and {config.ENV_MODE} is {function.variables[config.ENV_MODE]!r}",
                "nothing answers there in that mode: snapext refuses it, and init fails",
                function.remove_variable(name),
            )
        return
    if value == ours:
        return
    insists = function.variables.get(config.ENV_MODE) == "gate"
    yield Finding(
        Severity.ERROR,
        f"{name} is not set" if value is None else f"{name} is {value!r}, but snapext listens on {ours}",
        f"init fails, because {config.ENV_MODE}=gate requires it"
        if insists
        else "the web adapter checks the app and not snapext, which can only observe the restore then: the first "
        "requests may be served before the after-restore hooks have run, unless the app has snapext's middleware; if "
        f"you want that, set {config.ENV_MODE} to observe",
        function.set_variable(name, ours),
    )


def has_no_gate(function: Function) -> bool:
    """Whether the function's mode is one in which nothing answers the adapter's readiness check."""
    return function.variables.get(config.ENV_MODE) in ("explicit", "observe")


def is_explicit(function: Function) -> bool:
    """Whether the function holds the boundary by running `snapext checkpoint`."""
    return function.variables.get(config.ENV_MODE) == "explicit"


def readiness_protocol(function: Function) -> Iterator[Finding]:
    """snapext cannot hold a TCP connect until the hooks have run."""
    name, value = function.variable(*READINESS_PROTOCOL)
    if value is not None and value.lower() == "tcp" and not has_no_gate(function):
        yield Finding(
            Severity.ERROR,
            f"{name} is {value!r}",
            "snapext cannot hold a TCP connect until the hooks have run: it refuses the setting, and init fails",
            function.set_variable(name, "http"),
        )


def async_init(function: Function) -> Iterator[Finding]:
    """The adapter must not continue before the readiness check is answered."""
    name, value = function.variable(*ASYNC_INIT)
    if value is not None and value.lower() == "true":
        yield Finding(
            Severity.ERROR,
            f"{name} is {value!r}",
            "a web adapter before 1.1 asks for the first invocation after 9.8 s, whether or not the hooks have run: "
            "restore/next is then refused (403); from 1.1 on it ignores the setting under SnapStart",
            function.set_variable(name, "false"),
        )


def exec_wrapper(function: Function) -> Iterator[Finding]:
    """Our wrapper starts the handler script so that its processes are linked. Lambda starts one wrapper only."""
    facts = function.facts
    if facts is not None and facts.image:
        if not isinstance(facts.image_file, ImageFile):
            raise UnreadableError("the start command is in the image")
        return  # an image has no wrapper
    if facts is not None and _is_os_only(facts.runtime):
        raise UnreadableError("the package's own bootstrap starts the app: an OS-only runtime uses no wrapper")
    if facts is not None and facts.script is None and facts.handler is not None:
        return  # a native handler, which another rule judges
    name, value = function.variable(ENV_WRAPPER)
    if value == WRAPPER:
        return
    what = f"{name} is not set" if value is None else f"{name} is {value!r}"
    harm = "processes that import snapshot_restore_py are not linked: their hooks are registered, and never called"
    if value is None:
        harm += ", and a script as the handler (run.sh) does not start"
    elif value == ADAPTER_WRAPPER:
        what += ", the web adapter's own wrapper"
    elif value.startswith("/var/task/"):
        harm += f"; let {value.removeprefix('/var/task/')} be the handler, which snapext's wrapper starts"
    else:
        harm += f"; Lambda starts one wrapper only: to keep both, let run.sh start it: exec {value} gunicorn ..."
    yield Finding(Severity.ERROR, what, harm, function.set_variable(name, WRAPPER))


def hook_paths(function: Function) -> Iterator[Finding]:
    """The adapter's own hooks are a second mechanism beside ours."""
    twice = (
        "the web adapter (1.1.0 and later) also POSTs to {} before the snapshot: that reaches one process of several, "
        "and repeats the work of a snapext hook there"
    )
    stale = (
        "the web adapter (1.1.0 and later) POSTs to {} before snapext's after-restore hooks run: that route sees the "
        "state of the snapshot, and the restore fails if it waits for a hook; register an after-restore hook instead"
    )
    for name, harm in (
        (adapter_config.ENV_LWA_BEFORE_CHECKPOINT_PATH, twice),
        (adapter_config.ENV_LWA_AFTER_RESTORE_PATH, stale),
    ):
        value = function.variable(name)[1]
        if value:
            wrong = f"{name} is set"
            yield Finding(Severity.WARNING, wrong, harm.format(value), function.remove_variable(name))


def readiness_timeout(function: Function) -> Iterator[Finding]:
    """The adapter (1.1 and later) must not give up while hooks run within their budgets."""
    name, value = function.variable(adapter_config.ENV_LWA_READINESS_TIMEOUT_S)
    timeout_ms = adapter_config.readiness_timeout_ms(value)
    if timeout_ms is None:
        return
    after_ms = number(function, config.ENV_AFTER_RESTORE_TIMEOUT_MS, config.DEFAULT_AFTER_RESTORE_MS)
    before_ms = number(function, config.ENV_BEFORE_SNAPSHOT_TIMEOUT_MS, config.DEFAULT_BEFORE_SNAPSHOT_MS)
    settle_ms = number(function, config.ENV_SETTLE_MS, config.DEFAULT_SETTLE_MS)
    for phase in config.longer_than(
        timeout_ms, settle_ms=settle_ms, before_snapshot_timeout_ms=before_ms, after_restore_timeout_ms=after_ms
    )[:1]:
        published = " and no version is published" if phase.fails == "init" else ""
        yield Finding(
            Severity.ERROR,
            f"{name} is {value}, but the {phase.name} hooks may take "
            f"{phase.may_take_ms / 1000:g} s ({phase.variables})",
            f"the web adapter (1.1.0 and later) gives up first: {phase.fails} fails{published} if they take longer "
            f"than {value} s; without this setting it waits as long as snapext's budgets allow",
            function.remove_variable(name),
        )


def restore_caller(function: Function) -> Iterator[Finding]:
    """The adapter's binary shows whether it asks for restore/next: a setting can only agree with it or be wrong."""
    name, value = function.variable(config.ENV_RESTORE_CALLER)
    if value not in (EXTENSION, ADAPTER):
        return  # not set; or refused, which another rule reports
    layer = adapter_layer(function)
    if value == ADAPTER and is_explicit(function):
        wrong = f"{name} is 'adapter', and {config.ENV_MODE} is 'explicit'"
        harm = "it has no effect: after `snapext checkpoint`, snapext itself asks for restore/next"
    elif value == ADAPTER and layer is None and _layers_are_all(function):
        wrong = f"{name} is 'adapter', but no layer has the web adapter's name"
        harm = "without the adapter nothing asks for restore/next, and no after-restore hook runs"
    else:
        wrong = f"{name} is {value!r}" + ("" if layer is None else f", beside {layer}")
        harm = (
            "that is right only with a web adapter from 1.1.0 on: an older one never asks for it, and init fails"
            if value == ADAPTER
            else "that is right only with a web adapter before 1.1: a later one also asks for it, and the second "
            "caller is refused (403)"
        )
        harm += "; find the release in the layer's release notes, not in its number; without this setting the "
        harm += "adapter's binary decides"
    yield Finding(Severity.WARNING, wrong, harm, function.remove_variable(name))


def checkpoint_beside_adapter(function: Function) -> Iterator[Finding]:
    """The adapter asks for its first invocation without waiting for a checkpoint."""
    layer = adapter_layer(function)
    if layer is not None and is_explicit(function):
        yield Finding(
            Severity.WARNING,
            f"{config.ENV_MODE} is 'explicit', beside the web adapter's layer {layer}",
            "the web adapter does not wait for `snapext checkpoint`, and may serve before the hooks have run; remove "
            f"its layer, or remove this line and set {adapter_config.ENV_LWA_READINESS_PORT} to {our_port(function)}",
            function.remove_variable(config.ENV_MODE),
        )


def adapter_layer(function: Function) -> str | None:
    """The web adapter's layer, found by its name or by its resource in the template."""
    for layer in () if function.facts is None else function.facts.layers:
        text, words = (layer.text, layer.words) if isinstance(layer, Opaque) else (layer, layer)
        if re.search(r"adapter|\blwa", words, re.IGNORECASE):
            return text
    return None


def _layers_are_all(function: Function) -> bool:
    """Whether the template names every layer: then a layer that it does not name is not there."""
    facts = function.facts
    return facts is not None and not facts.image and not any(isinstance(layer, Opaque) for layer in facts.layers)


def port_clash(function: Function) -> Iterator[Finding]:
    """The app and the gate cannot listen on one port."""
    name, value = function.variable(*APP_PORT)
    if value is not None and value == our_port(function):
        yield Finding(
            Severity.ERROR,
            f"{name} is {value}, which is snapext's own port",
            "the app and snapext cannot both listen on it, and init fails; change the port in the app too",
            function.set_variable(name, "8080"),
        )


def _is_os_only(value: str | Opaque | None) -> bool:
    return isinstance(value, str) and value.startswith("provided")
