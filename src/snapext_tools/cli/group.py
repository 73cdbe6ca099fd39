"""The commands as a click group: it knows their names, and imports a module only to run it or show its help."""

from __future__ import annotations

import importlib

import click

from snapext.wire import VERSION
from snapext_tools.cli import COMMANDS


class _Lazily(click.Group):
    def list_commands(self, _context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"snapext_tools.cli.{COMMANDS[name]}"), name)
        return command


@click.command(cls=_Lazily, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="snapext")
def snapext() -> None:
    """SnapStart hooks in every process of a web server on AWS Lambda.

    \b
    Shell completion:
      eval "$(_SNAPEXT_COMPLETE=bash_source snapext)"     in ~/.bashrc; zsh_source in ~/.zshrc
      _SNAPEXT_COMPLETE=fish_source snapext | source      in ~/.config/fish/completions/snapext.fish
    """
