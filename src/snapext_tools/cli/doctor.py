"""`snapext doctor`: check a function's settings, and name the lines to change."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from snapext_tools.doctor.env_file import read_env_file, read_environ
from snapext_tools.doctor.examine import examine, uses_snapext
from snapext_tools.doctor.report import exit_status, lines
from snapext_tools.doctor.settings import Function, SourceError
from snapext_tools.doctor.template import read_template


class _NothingToJudge(click.ClickException):
    exit_code = 2


@click.command()
@click.option("--env-file", type=click.Path(path_type=Path), metavar="F", help="KEY=VALUE lines.")
@click.option(
    "--template", type=click.Path(path_type=Path), metavar="F", help="A SAM or CloudFormation template, YAML or JSON."
)
def doctor(env_file: Path | None, template: Path | None) -> None:
    """List what is wrong with a function's settings, the most harmful first, and the lines to change.

    Without an option it checks the variables of this process. Variables alone do not show whether SnapStart is on;
    the report lists the checks that it could not make. Exit status: 0 when there are no errors; 1 when there are; 2 for
    wrong usage, or when nothing uses snapext.

    \b
    Example:
      snapext doctor --template template.yaml
    """
    if env_file is not None and template is not None:
        raise click.UsageError("--env-file and --template exclude each other")
    try:
        functions = _read(env_file, template)
    except SourceError as error:
        raise _NothingToJudge(str(error)) from error
    # Somebody who names a file of variables wants it checked, whatever is in it.
    judged = [function for function in functions if env_file is not None or uses_snapext(function)]
    if not judged:
        raise _NothingToJudge(
            "nothing here uses snapext as far as can be read (no snapext layer, SNAPEXT_* variable or wrapper; "
            "values such as !Ref are unknown): " + ", ".join(function.name for function in functions)
        )
    diagnoses = [examine(function) for function in judged]
    for line in lines(diagnoses, [function.name for function in functions if function not in judged]):
        click.echo(line)
    sys.exit(exit_status(diagnoses))


def _read(env_file: Path | None, template: Path | None) -> list[Function]:
    if template is not None:
        return read_template(template)
    return [read_environ(os.environ) if env_file is None else read_env_file(env_file)]
