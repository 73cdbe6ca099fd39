"""What the options of `snapext simulate` may be, and what a shell completes them to. Each refuses with one line."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from snapext_tools.cli.documents import writable
from snapext_tools.simulator.folder import BUILTIN_ADAPTERS, NO_ADAPTER
from snapext_tools.simulator.listeners import who_listens


def adapter(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """The name of a stand-in, an executable file, or none."""
    if value not in (*BUILTIN_ADAPTERS, NO_ADAPTER) and not (os.path.isfile(value) and os.access(value, os.X_OK)):
        names = ", ".join((*BUILTIN_ADAPTERS, NO_ADAPTER))
        raise click.BadParameter(f"{value!r} is neither {names} nor an executable file")
    return value


def port(context: click.Context, _parameter: click.Parameter, value: int) -> int:
    """Refuse a port in use: the server there would be mistaken for the app. A template may name another one."""
    is_default = context.get_parameter_source("port") is ParameterSource.DEFAULT
    return value if is_default and context.params.get("template") is not None else free(value)


class PortTaken(click.ClickException):
    """Somebody listens on the app's port: no wrong usage, so no usage is shown."""

    exit_code = 2


def free(port: int) -> int:
    """The port, if nobody listens there. Raises PortTaken."""
    if who := who_listens(port):
        raise PortTaken(
            f"cannot use port {port}: {who} listens there already, and would be taken for the app; "
            "end it, or change the app's port (PORT in the template, or --port)"
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise click.BadParameter(f"cannot listen on port {port}: {os.strerror(error.errno or 0)}") from None
    return port


def file(context: click.Context, _parameter: click.Parameter, value: str | None) -> Path | None:
    """A file that can be written; completion does not try."""
    return None if value is None or context.resilient_parsing else writable(value)


def adapters(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    words = [word for word in (*BUILTIN_ADAPTERS, NO_ADAPTER) if word.startswith(incomplete)]
    return [CompletionItem(word) for word in words] or files(context, parameter, incomplete)


def files(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


def command(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """A command that can be run; beside --template it is the name of a function, if anything."""
    if context.params.get("template") is not None:
        return value
    if not value:
        raise click.MissingParameter(ctx=context, param=parameter)
    if shutil.which(value[0]) is None:
        raise click.BadParameter(f"cannot run {value[0]!r}: no such command (a script must be executable)")
    return value


def own_options(command: click.Command, words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The options before the command's words, each with its value, up to the first word that is none.

    For wrong usage, which click does not parse: a word of the app is never taken for an option of ours.
    """
    known = {name: p for p in command.params if isinstance(p, click.Option) for name in p.opts}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
        option = known.get(name)
        if option is None:
            return
        yield name, value if equals or option.is_flag else next(rest, "")
