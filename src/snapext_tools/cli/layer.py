"""`snapext layer` for click, with help and completion; snapext_layer/command.py does the work."""

from __future__ import annotations

from pathlib import Path

import click

from snapext_layer import command
from snapext_layer.command import OPTIONS
from snapext_tools.attach import publish as publishing
from snapext_tools.attach.elsewhere import PROCESSORS
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


@layer.command()
@click.option("--region", "regions", multiple=True, required=True, metavar="R", help="Such as eu-west-1; repeatable.")
@click.option(
    "--processor",
    "processors",
    type=click.Choice(PROCESSORS),
    multiple=True,
    help="That the layer is offered for; repeatable. One zip serves both. [default: both]",
)
@click.option("--name", default="snapext", show_default=True, help="The layer's name.")
@click.option(
    "--zip",
    "zip_file",
    type=click.Path(path_type=Path),
    default=publishing.DEFAULT_ZIP,
    show_default=True,
    metavar="FILE",
    help="What `snapext layer build` wrote.",
)
@click.option("--run", is_flag=True, help="Run the commands, with your credentials, and print each layer's ARN.")
@click.option("--public", is_flag=True, help="Also let every account use the layer, as a project does that offers one.")
def publish(
    regions: tuple[str, ...], processors: tuple[str, ...], name: str, zip_file: Path, *, run: bool, public: bool
) -> None:
    """Print, or run, the aws commands that publish the layer in regions.

    Exit status: 0 when the commands were printed or have succeeded, 1 when one failed, 2 for wrong usage.

    \b
    Example:
      snapext layer publish --region eu-west-1 --region us-east-1 --processor arm64
    """
    for region in regions:
        if publishing.REGION.fullmatch(region) is None:
            raise click.BadParameter(f"{region!r} is not a region such as eu-west-1", param_hint="--region")
    offered = tuple(dict.fromkeys(processors)) or PROCESSORS
    with one_line():
        work = publishing.run if run else publishing.shown
        for line in work(regions, offered, name=name, zip_file=zip_file, public=public):
            click.echo(line)
