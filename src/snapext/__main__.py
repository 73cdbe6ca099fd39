"""The `snapext` command, also as `python -m snapext`: the commands inside a function, and the tools where installed.

No other module of this package imports the tools or the layer, and this one only for a command of theirs.
"""

from __future__ import annotations

import os
import sys

from snapext.command import main as inside

TOOLS = ("snapext_tools", "click", "psutil", "requests", "ruamel", "urllib3", "yaml")
"""What the tools import: our own package, and what the extra `tools` of pyproject.toml installs."""
NEED_TOOLS = ("attach", "doctor", "signal", "simulate")
INSTALL = "pip install 'lambda-snapext[tools]'"
HELP = f"""\
usage: snapext COMMAND

SnapStart hooks in every process of a web server on AWS Lambda.

  checkpoint                   in a function: cross the boundary
  done [--failed MESSAGE]      in a signal handler: report that it is done
  status [--json] [--watch]    show the connected processes and their hooks, and how far the environment is
  layer build|install          make the Lambda layer, or install its files into a container image

{", ".join(NEED_TOOLS)}, layer publish, shell completion and the help of each command need the tools:
  {INSTALL}
"""


def main() -> None:
    """Run the command line. A plain command that runs inside a function does not even need click."""
    arguments = sys.argv[1:]
    try:
        status = inside.run(arguments)
        if status is None and (missing := _not_installed(TOOLS)):
            status = _run_without_tools(arguments, missing)
    except KeyboardInterrupt:
        status = inside.EXIT_INTERRUPTED
    if status is None:
        from snapext_tools.cli.group import snapext

        snapext(prog_name="snapext")
    os._exit(status or 0)  # nothing of ours is left to clean up, and a process waits for this one


def _run_without_tools(arguments: list[str], missing: list[str]) -> int:
    """Run a command that needs only the standard library, and exit as the tools would; else print one line."""
    without = f"packages that are not installed ({', '.join(missing)}): {INSTALL}"
    if "_SNAPEXT_COMPLETE" in os.environ:
        return inside.fail(f"shell completion needs {without}", inside.EXIT_USAGE)
    match arguments:
        case ["layer", "publish", *_]:
            return inside.fail(f"layer publish needs {without}", inside.EXIT_USAGE)
        case ["layer", *rest] if not _not_installed(("snapext_layer",)):
            return _run_layer(rest)
        case [name, *_] if name in NEED_TOOLS or name == "layer":
            return inside.fail(f"{name} needs {without}", inside.EXIT_USAGE)
        case []:
            os.write(2, HELP.encode())
            return inside.EXIT_USAGE
    if {"-h", "--help"}.intersection(arguments):
        os.write(1, HELP.encode())
        return 0
    return inside.fail(f"{' '.join(arguments)!r} is not understood: see snapext --help", inside.EXIT_USAGE)


def _run_layer(arguments: list[str]) -> int:
    from snapext.errors import SnapextError
    from snapext_layer import command

    try:
        status = command.main(arguments)
        sys.stdout.flush()
    except SnapextError as error:
        return inside.fail(str(error))
    return status


def _not_installed(packages: tuple[str, ...]) -> list[str]:
    from importlib.util import find_spec

    return [package for package in packages if find_spec(package) is None]


if __name__ == "__main__":
    main()
