"""The `snapext` command, also as `python -m snapext`: the commands inside a function, and the tools where installed.

No other module of this package imports the tools, and this one does so only for a command of theirs.
"""

from __future__ import annotations

import os
import sys

from snapext.command import main as inside

NO_TOOLS = "the tools are not installed ({}): pip install 'lambda-snapext[tools]'"


def main() -> None:
    """Run the command line. A plain command that runs inside a function does not even need click."""
    try:
        status = inside.run(sys.argv[1:])
    except KeyboardInterrupt:
        status = inside.EXIT_INTERRUPTED
    if status is None:
        try:
            from snapext_tools.cli.group import snapext
        except ImportError as error:
            status = inside.fail(NO_TOOLS.format(error), inside.EXIT_USAGE)
        else:
            snapext(prog_name="snapext")
    os._exit(status or 0)  # nothing of ours is left to clean up, and a process waits for this one


if __name__ == "__main__":
    main()
