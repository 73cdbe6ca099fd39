"""The `snapext` command: one module a command, which parses and calls."""

import click

from snapext.cli.doctor import doctor
from snapext.cli.layer import layer
from snapext.cli.simulate import simulate


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lambda-snapext", prog_name="snapext")
def main() -> None:
    """SnapStart hooks in every process of a web server on AWS Lambda."""


main.add_command(doctor)
main.add_command(layer)
main.add_command(simulate)
