"""`snapext doctor`: check functions' settings, and name the lines to change."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from snapext.wire import VERSION
from snapext_tools.doctor.documents import failed_document, json_document, sarif_document
from snapext_tools.doctor.env_file import read_env_file, read_environ
from snapext_tools.doctor.examine import Diagnosis, diagnose, uses_snapext
from snapext_tools.doctor.report import exit_status, lines
from snapext_tools.doctor.settings import SourceError
from snapext_tools.doctor.sources import STDIN, read_source
from snapext_tools.doctor.template import read_template


class _NothingToJudge(click.ClickException):
    exit_code = 2


@click.command()
@click.argument("sources", nargs=-1, metavar="[FILE|FOLDER|-]...")
@click.option("--env-file", type=click.Path(path_type=Path), metavar="F", help="KEY=VALUE lines, and nothing else.")
@click.option(
    "--template",
    type=click.Path(path_type=Path),
    metavar="F",
    help="A SAM or CloudFormation template, YAML or JSON, and nothing else.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (see docs/doctor.md).")
@click.option("--sarif", "as_sarif", is_flag=True, help="Print one SARIF 2.1.0 log, for code scanning.")
def doctor(
    sources: tuple[str, ...], env_file: Path | None, template: Path | None, *, as_json: bool, as_sarif: bool
) -> None:
    """List what is wrong with functions' settings, the most harmful first, and the lines to change.

    It knows a source by its shape: a SAM or CloudFormation template, a cdk.out folder, the JSON of `aws lambda
    get-function-configuration`, of `terraform show -json` or of `serverless package`, or an env file; `-` is standard
    input. Beside a template it reads the handler script and the Dockerfile. Without a source it checks the variables of
    this process. What could not be judged comes first. A function without snapext gets what SnapStart would lose there.

    Exit status: 0 when there are no errors; 1 when there are; 2 for wrong usage, for a source that cannot be read, or
    when nothing uses snapext.

    \b
    Example:
      snapext doctor template.yaml
      aws lambda get-function-configuration --function-name app --qualifier live | snapext doctor -
    """
    if env_file is not None and template is not None:
        raise click.UsageError("--env-file and --template exclude each other")
    if as_json and as_sarif:
        raise click.UsageError("--json and --sarif exclude each other")
    try:
        diagnoses = _diagnose(sources, env_file, template)
    except SourceError as error:
        if as_json:
            click.echo(json.dumps(failed_document(str(error)), indent=2))
        raise _NothingToJudge(str(error)) from error
    if as_json or as_sarif:
        document = json_document(diagnoses) if as_json else sarif_document(diagnoses, VERSION)
        click.echo(json.dumps(document, indent=2))
    else:
        for line in lines(diagnoses):
            click.echo(line)
    _end(diagnoses)


def _diagnose(sources: tuple[str, ...], env_file: Path | None, template: Path | None) -> list[Diagnosis]:
    found: list[Diagnosis] = []
    if template is not None:
        found += diagnose(read_template(template))
    if env_file is not None:  # a file of variables that is named is to be checked, whatever is in it
        found += diagnose([read_env_file(env_file)], attached=True)
    for name in sources:
        functions = read_source(name, sys.stdin.buffer.read().decode("utf-8", "replace") if name == STDIN else None)
        variables_alone = all(function.facts is None for function in functions)
        found += diagnose(functions, attached=True if variables_alone else None)
    if not found:
        own = read_environ(os.environ)
        if not uses_snapext(own):
            raise SourceError(
                "nothing here uses snapext: the variables of this process have no SNAPEXT_* name; name a template, or "
                "what else the doctor reads (snapext doctor --help)"
            )
        found = diagnose([own])
    return found


def _end(diagnoses: list[Diagnosis]) -> NoReturn:
    sys.exit(exit_status(diagnoses))
