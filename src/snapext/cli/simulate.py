"""`snapext simulate`: the whole life of a function, on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys

import click
from click.shell_completion import CompletionItem

from snapext.cli.fail import end_on_signals
from snapext.errors import SimulationError
from snapext.simulator.folder import BUILTIN_ADAPTERS, NO_ADAPTER
from snapext.simulator.simulation import Plan, Request, Simulation
from snapext.simulator.states import InitType
from snapext.simulator.story import Story

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def _request(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[Request, ...]:
    requests = []
    for value in values:
        method, _, path = value.strip().partition(" ")
        if method not in METHODS or not path.startswith("/") or " " in path:
            raise click.BadParameter(f"{value!r} is not a method and a path, such as 'GET /health'")
        requests.append(Request(method, path))
    return tuple(requests)


def _adapter(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if value not in (*BUILTIN_ADAPTERS, NO_ADAPTER) and not (os.path.isfile(value) and os.access(value, os.X_OK)):
        raise click.BadParameter(f"{value!r} is neither builtin, builtin-1.1, none nor an executable file")
    return value


def _port(_context: click.Context, _parameter: click.Parameter, value: int) -> int:
    """A server that listens there already would be taken for the app."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", value))
        except OSError as error:
            raise click.BadParameter(f"port {value} cannot be listened on: {os.strerror(error.errno or 0)}") from None
    return value


def _say(line: str, *, err: bool) -> None:
    """Print a line; whoever read it may be gone (`| head`), and the environment is still to be ended in order."""
    with contextlib.suppress(OSError):
        click.echo(line, err=err)


def _adapters(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    words = [word for word in (*BUILTIN_ADAPTERS, NO_ADAPTER) if word.startswith(incomplete)]
    return [CompletionItem(word) for word in words] or _files(_context, _parameter, incomplete)


def _files(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


def _command(_context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    if shutil.which(value[0]) is None:
        raise click.BadParameter(f"{value[0]!r} is not a command that can be run (a script has to be executable)")
    return value


@click.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    callback=_port,
    default=8080,
    show_default=True,
    help="The app's own port; it gets it as $PORT, too.",
)
@click.option("--workers", type=click.IntRange(1, 1000), help="How many processes must join before the snapshot.")
@click.option(
    "--init-type",
    type=click.Choice([str(kind) for kind in InitType]),
    default=str(InitType.SNAP_START),
    show_default=True,
    help="With on-demand there is no snapshot, and no hook runs.",
)
@click.option(
    "--freeze",
    type=click.FloatRange(0, 3600),
    default=0,
    metavar="SECONDS",
    help="Stop every process for so long between snapshot and restore.",
)
@click.option(
    "--request",
    "requests",
    multiple=True,
    callback=_request,
    default=("GET /",),
    metavar="'GET /path'",
    help="A request to serve after the restore; may be repeated. [default: GET /]",
)
@click.option(
    "--adapter",
    callback=_adapter,
    shell_complete=_adapters,
    default="builtin",
    show_default=True,
    metavar="builtin|builtin-1.1|PATH|none",
    help="The web adapter: one like those before 1.1, one like those from 1.1 on, a real binary, or none: then "
    "COMMAND is the runtime itself, and runs `snapext checkpoint`.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=120,
    show_default=True,
    metavar="SECONDS",
    help="Give up if the story has not ended by then.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; all else goes to standard error.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, callback=_command, shell_complete=_files)
def simulate(
    port: int,
    workers: int | None,
    init_type: str,
    freeze: float,
    requests: tuple[Request, ...],
    adapter: str,
    timeout: float,
    as_json: bool,
    command: tuple[str, ...],
) -> None:
    """Play the life of a function on this machine: init, snapshot, restore, requests, shutdown.

    COMMAND starts the web server, which must listen on --port (also given as $PORT). snapext's real extension runs
    beside it. Exit status: 0 when all held, 1 when a hook or the app failed, 2 for wrong usage.

    \b
    Example:
      snapext simulate --workers 4 --port 8000 -- gunicorn -w 4 -b 127.0.0.1:8000 app:app
    """
    plan = Plan(command, port, workers, InitType(init_type), freeze, requests, adapter, timeout)
    story = Story(lambda line: _say(line, err=as_json))
    end_on_signals()
    simulation = Simulation(
        plan,
        os.environ,
        tell=story.tell,
        hear_app=lambda who, line: _say(click.style(f"{who:>14} | {line}", dim=True), err=True),
    )
    try:
        document = simulation.run()
    except SimulationError as error:
        raise click.UsageError(str(error)) from error
    story.verdict(simulation.recorder)
    if as_json:
        _say(json.dumps(document, indent=2), err=False)
    sys.exit(0 if document["ok"] else 1)
