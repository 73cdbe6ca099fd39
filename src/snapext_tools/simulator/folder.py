"""The simulated environment's files and variables: /opt/extensions, the clock, and who sees which variable."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
import shlex
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from snapext.clock.simulated import ENV as SIMULATED_CLOCK
from snapext.wire.place import start_command_path
from snapext_extension.observing import (
    DEFAULT_PORT,
    ENV_INITIALIZATION_TYPE,
    OLDER_READINESS_PORT,
    READINESS_PORT,
    is_off,
    observes,
)
from snapext_tools.simulator.credentials import DEVELOPERS_OWN, Credentials
from snapext_tools.simulator.errors import SimulationError

EXTENSION = "snapext"
ADAPTER = "lambda-adapter"
RUNTIME = "runtime"
_ASKS = "/runtime/restore/next"
_ASKS_AND_CHECKS = f"{_ASKS}, and AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH"
BUILTIN_ADAPTERS = {
    "builtin": ("", ("--generation", "1.0")),
    "builtin-unchecked": (_ASKS, ("--generation", "unchecked")),
    "builtin-1.1": (_ASKS_AND_CHECKS, ("--generation", "1.1", "--before-checkpoint-readiness")),
}
"""Our stand-ins by name: the text that the extension looks for in a real adapter's file, and the options."""
NO_ADAPTER = "none"
_ADAPTER_NEEDS = ("requests", "urllib3", "idna", "certifi", "charset_normalizer")
LOG_LEVELS = ("debug", "info", "warning", "error")


class Settings(Protocol):
    """The part of a plan that this module needs."""

    @property
    def port(self) -> int: ...
    @property
    def workers(self) -> int | None: ...
    @property
    def init_type(self) -> str: ...
    @property
    def adapter(self) -> str: ...
    @property
    def with_snapext(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Layout:
    extensions_folder: str
    extension_names: tuple[str, ...]


def lay_out(folder: str, adapter: str, *, with_snapext: bool = True) -> Layout:
    """Make the extensions' folder with snapext and an adapter, each under the name that it registers."""
    extensions = os.path.join(folder, "extensions")
    os.mkdir(extensions)
    ours = (EXTENSION,) if with_snapext else ()
    if ours:
        _write_launcher(os.path.join(extensions, EXTENSION), _extension_script())
    path = os.path.join(extensions, ADAPTER)
    if adapter == NO_ADAPTER:
        return Layout(extensions, ours)
    if adapter in BUILTIN_ADAPTERS:
        _write_launcher(path, _adapter_script(adapter))
    else:
        binary = os.path.abspath(adapter)
        if not (os.path.isfile(binary) and os.access(binary, os.X_OK)):
            raise SimulationError(f"{adapter} is not an executable file")
        os.symlink(binary, path)
    return Layout(extensions, (ADAPTER, *ours))


def extension_environment(
    environ: Mapping[str, str], address: str, folder: str, plan: Settings, credentials: Credentials | None
) -> dict[str, str]:
    """The variables of the extensions. The user's own settings stay: a wrong one must show here too.

    credentials: those of the platform's endpoint. With them the processes can reach no others.
    """
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    env = {
        **{name: value for name, value in environ.items() if credentials is None or name not in DEVELOPERS_OWN},
        **({} if credentials is None else credentials.variables(address)),
        "AWS_LAMBDA_RUNTIME_API": address,
        ENV_INITIALIZATION_TYPE: str(plan.init_type),
        "AWS_LAMBDA_FUNCTION_NAME": "local",
        "AWS_LAMBDA_FUNCTION_VERSION": "1" if plan.init_type == "snap-start" else "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_LWA_PORT": str(plan.port),
        "PORT": str(plan.port),
    }
    env.setdefault(SIMULATED_CLOCK, os.path.join(folder, "clock"))
    if not plan.with_snapext:
        return _without_our_gate(env)
    env["SNAPEXT_SOCKET"] = environ.get("SNAPEXT_SOCKET") or os.path.join(folder, "bridge", "bridge.sock")
    if plan.adapter == NO_ADAPTER:
        env.setdefault("SNAPEXT_MODE", "explicit")
    elif _is_gate(environ):
        port = environ.get("SNAPEXT_PORT") or str(_free_port())
        env["SNAPEXT_PORT"] = env[READINESS_PORT] = port
    if plan.workers is not None:
        env["SNAPEXT_WORKERS"] = str(plan.workers)
    if environ.get("SNAPEXT_LOG_LEVEL", "info") in LOG_LEVELS:
        env["SNAPEXT_LOG_LEVEL"] = "debug"  # the story is made from its log
    return env


def _without_our_gate(env: Mapping[str, str]) -> dict[str, str]:
    """The same variables, but for a readiness check that points at our port: there nobody would ever answer it."""
    ours = env.get("SNAPEXT_PORT", DEFAULT_PORT)
    checks = (READINESS_PORT, OLDER_READINESS_PORT)
    return {name: value for name, value in env.items() if name not in checks or value != ours}


def runtime_environment(
    extension_env: Mapping[str, str], environ: Mapping[str, str], *, autostart: bool
) -> dict[str, str]:
    """The variables of the app: the extensions', those that Lambda gives only the runtime, and the autostart.

    An installed layer has its own autostart, in the wrapper that starts the app.
    """
    env = {
        **extension_env,
        "_HANDLER": environ.get("_HANDLER", "run.sh"),
        "LAMBDA_TASK_ROOT": environ.get("LAMBDA_TASK_ROOT", os.getcwd()),
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
        "PYTHONUNBUFFERED": environ.get("PYTHONUNBUFFERED", "1"),
        # The command `snapext`, which the layer installs in /opt/bin, comes last here too.
        "PATH": os.pathsep.join((environ.get("PATH", os.defpath), os.path.dirname(sys.executable))),
    }
    if autostart:
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (_autostart_folder(), environ.get("PYTHONPATH"))))
        env["PYTHONUSERBASE"] = environ.get("PYTHONUSERBASE") or os.path.join(_autostart_folder(), "user-base")
    if "SNAPEXT_LOG_LEVEL" in environ:
        env["SNAPEXT_LOG_LEVEL"] = environ["SNAPEXT_LOG_LEVEL"]
    else:
        env.pop("SNAPEXT_LOG_LEVEL", None)
    return env


def mode_of(env: Mapping[str, str], extensions_folder: str) -> str:
    """The mode of the extension under its variables, as the document names it."""
    if is_off(env):
        return "off"
    if env.get(READINESS_PORT) == env.get("SNAPEXT_PORT", DEFAULT_PORT):
        return "gate"
    return "observe" if observes(env, extensions_folder) else env.get("SNAPEXT_MODE", "auto")


def set_clock(env: Mapping[str, str], ahead_s: float) -> None:
    """Set the wall clock of this life, as Lambda does in a clone; the file is mapped by those that read it."""
    if path := env[SIMULATED_CLOCK]:
        with open(path, "r+b" if os.path.exists(path) else "wb") as file:
            file.write(struct.pack("d", ahead_s))


def leave_start_command(env: Mapping[str, str], pid: int) -> None:
    """Record which process is the start command, as the layer's wrapper does; it does not run here."""
    path = start_command_path(env["SNAPEXT_SOCKET"])
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/stat") as stat:
        pathlib.Path(path).write_text(stat.read())


def _is_gate(environ: Mapping[str, str]) -> bool:
    """Whether the web adapter's readiness check is to point at us: set so, or not set at all. A free port will do then.

    Anything else stays as it is set: the extension names the port of a function in what it says.
    """
    ours = environ.get("SNAPEXT_PORT") or DEFAULT_PORT
    return environ.get("SNAPEXT_MODE") not in ("explicit", "observe") and environ.get(READINESS_PORT, ours) == ours


def _autostart_folder() -> str:
    return os.path.join(_folder_of("snapext"), "snapext", "autostart")


def _folder_of(package: str) -> str:
    """The folder that contains an importable package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SimulationError(f"{package} is not installed beside the snapext command")
    return os.path.dirname(next(iter(spec.submodule_search_locations)))


def _extension_script() -> str:
    """Start the extension isolated from the user's site directories, as the layer's launcher does."""
    code = _program("snapext_extension.__main__", ("snapext_extension", "snapext"))
    return f'exec {shlex.quote(sys.executable)} -I -S -c {shlex.quote(code)} "$0"'


def _adapter_script(adapter: str) -> str:
    """Start our stand-in, with neither the app's folder nor its PYTHONPATH on its path."""
    mark, options = BUILTIN_ADAPTERS[adapter]
    code = _program("snapext_tools.simulator.adapter", ("snapext", *_ADAPTER_NEEDS))
    command = shlex.join([sys.executable, "-I", "-c", code, "--name", ADAPTER, *options])
    return f"# {mark}\nexec {command}" if mark else f"exec {command}"


def _program(module: str, packages: Sequence[str]) -> str:
    """Python code that runs a program of ours. Its packages come last on the path: none hides the standard library.

    It is not a process of the app, and says so before it imports snapext, which would otherwise link it.
    """
    paths = list(dict.fromkeys(map(_folder_of, packages)))
    return (
        f"import sys; sys._snapext_own = True; sys.path += {paths!r}; from {module} import main; "
        "sys.exit(main(sys.argv[1:]))"
    )


def _write_launcher(path: str, script: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"#!/bin/sh\n{script}\n")
    os.chmod(path, 0o755)  # noqa: S103 - a program has to be executable


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
