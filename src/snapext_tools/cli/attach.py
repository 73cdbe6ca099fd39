"""`snapext attach`: the change that attaches snapext to a function."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import click

from snapext_tools.attach import elsewhere
from snapext_tools.attach.attaching import Attached
from snapext_tools.attach.attaching import attach as attach_to
from snapext_tools.cli.fail import one_line


@click.command()
@click.option(
    "--template",
    type=click.Path(path_type=Path),
    metavar="F",
    help="A SAM or CloudFormation template, YAML or JSON; of a CDK app, a .tf file or a serverless.yml only the lines "
    "are printed.",
)
@click.option("--write", is_flag=True, help="Write the change into the template; else it is only shown.")
@click.option("--layer", metavar="ARN", help="The layer's version. [default: a parameter SnapextLayerArn]")
@click.option(
    "--for", "tool", type=click.Choice(list(elsewhere.TOOLS)), help="Print the lines for this tool; needs no template."
)
@click.option(
    "--processor",
    type=click.Choice(elsewhere.PROCESSORS),
    default=elsewhere.PROCESSORS[0],
    show_default=True,
    help="In the lines for a tool; a template says it itself.",
)
@click.option("--workers", type=click.IntRange(1, 1000), metavar="N", help="In the lines: how many the server starts.")
@click.argument("function", required=False)
def attach(
    template: Path | None,
    tool: str | None,
    layer: str | None,
    processor: str,
    workers: int | None,
    function: str | None,
    *,
    write: bool,
) -> None:
    """Show, or write, the change that attaches snapext to FUNCTION of a template.

    The patch keeps comments, order and layout. FUNCTION is the logical id, and may be left out where only one can be
    meant. What is left to do by hand follows on standard error. Exit status: 0 when it is attached, or the patch is
    shown; 1 when it cannot be attached, with the reason; 2 for wrong usage.

    \b
    Example:
      snapext attach --template template.yaml App | patch -p0      # or --write
      snapext attach --for terraform --processor arm64
    """
    if (template is None) is (tool is None):
        raise click.UsageError("name a --template, or a tool with --for")
    if template is not None:
        tool = elsewhere.recognise(template)
    if tool is not None:
        if write:
            raise click.UsageError(f"--write changes templates only; for {tool} the lines are printed")
        for line in elsewhere.lines(tool, arn=layer, processor=processor, workers=workers):
            click.echo(line)
        return
    assert template is not None  # noqa: S101 -- checked above
    with one_line():
        _say(attach_to(template, function, layer), template, write=write)


def _say(attached: Attached, template: Path, *, write: bool) -> None:
    if not attached.patch:
        click.echo(f"{template}: nothing to change for {attached.function}", err=True)
    elif write:
        _replace(template, attached.text)
        click.echo(f"{template}: snapext is attached to {attached.function}", err=True)
    else:
        for line in attached.patch:
            click.echo(line)
    for line in attached.left:
        click.echo(f"left to do: {line}", err=True)
    sys.exit(0)


def _replace(path: Path, text: str) -> None:
    """Write beside the file, then rename: a failure leaves the old one."""
    real = path.resolve()
    name = ""
    try:
        descriptor, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
        os.chmod(name, real.stat().st_mode & 0o777)
        os.replace(name, real)
    except OSError as error:
        if name:
            os.unlink(name)
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from error
