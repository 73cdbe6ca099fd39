"""`snapext layer` for click, with help and completion; snapext_layer/command.py does the work."""

from __future__ import annotations

from pathlib import Path

import click

from snapext_layer import command
from snapext_layer.command import OPTIONS
from snapext_tools.cli.fail import one_line

PRECOMPILE = click.option("--precompile", multiple=True, metavar="PYTHON", help=OPTIONS["--precompile"])


def _help(text: str, example: str) -> str:
    return f"{text}\n\n\b\nExample:\n  {example}"


@click.group(help=command.LAYER)
def layer() -> None:
    pass


@layer.command(help=_help(command.BUILD, command.BUILD_EXAMPLE))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE", help=OPTIONS["--output"]
)
@click.option("--force", is_flag=True, help=OPTIONS["--force"])
@PRECOMPILE
@click.option("--psutil", multiple=True, type=click.Path(path_type=Path), metavar="WHEEL", help=OPTIONS["--psutil"])
def build(output: Path, force: bool, precompile: tuple[str, ...], psutil: tuple[Path, ...]) -> None:
    with one_line():
        for line in command.build(output, force=force, precompile=precompile, psutil=psutil):
            click.echo(line)


@layer.command(help=_help(command.INSTALL, command.INSTALL_EXAMPLE))
@click.argument("root", type=click.Path(path_type=Path))
@PRECOMPILE
@click.option("--venv", multiple=True, type=click.Path(path_type=Path), metavar="PATH", help=OPTIONS["--venv"])
def install(root: Path, precompile: tuple[str, ...], venv: tuple[Path, ...]) -> None:
    with one_line():
        for line in command.install(root, precompile=precompile, venv=venv):
            click.echo(line)
