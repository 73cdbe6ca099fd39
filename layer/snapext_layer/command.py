"""`snapext layer build` and `snapext layer install` on the standard library alone: an image's build installs no extra.

Where the tools are installed, click parses (snapext_tools/cli/layer.py) and calls the same two functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from snapext_layer.interpreters import pth_files
from snapext_layer.tree import AUTOSTART, layer_tree
from snapext_layer.vendored import psutil_entries
from snapext_layer.write import install as lay
from snapext_layer.write import write_zip

LAYER = "Make the Lambda layer, or install the same files into a container image."
BUILD = "Write the layer, one zip for x86_64 and arm64 and for Python 3.11 to 3.14."
BUILD_EXAMPLE = "snapext layer build -o snapext-layer.zip"
INSTALL = """\
Install the layer's files under ROOT/opt, for a container image.

Writes snapext.pth beside the packages of each Python from 3.11 on found below ROOT, and of each virtual environment
named. The file links each process of that Python that imports a hook module; remove it to undo that."""
INSTALL_EXAMPLE = "snapext layer install / --precompile python3.12 --venv /app/.venv"
OPTIONS = {
    "--output": "The zip.",
    "--force": "Replace FILE if it exists.",
    "--precompile": "Also compile the files with this interpreter; repeatable, once per version.",
    "--psutil": "Add psutil from this wheel; repeatable, once per processor.",
    "--venv": "Also link the processes of this virtual environment of the image; repeatable.",
}


def build(output: Path, *, force: bool, precompile: Sequence[str], psutil: Sequence[Path]) -> Iterator[str]:
    """Write the zip; yields the lines to print. Raises LayerError."""
    entries = sorted([*layer_tree(precompile), *psutil_entries(psutil)], key=lambda entry: entry.path)
    write_zip(entries, output, replace=force)
    versions = sorted({tag for entry in entries for tag in re.findall(r"\.cpython-3(\d+)\.pyc$", entry.path)}, key=int)
    compiled = ", precompiled for Python " + ", ".join(f"3.{version}" for version in versions) if versions else ""
    yield f"{output}: {len(entries)} files, {output.stat().st_size / 1024:.1f} KB{compiled}"


def install(root: Path, *, precompile: Sequence[str], venv: Sequence[Path]) -> Iterator[str]:
    """Install the files; yields the lines to print. Raises LayerError."""
    entries = layer_tree(precompile)
    linked = pth_files(root, venv)
    opt = lay(entries, root, linked)
    yield f"{opt}: {len(entries)} files"
    for path in linked:
        yield f"{path}: links the processes of this Python"
    if not linked:
        yield f"no Python from 3.11 on below {root}: the image needs ENV PYTHONPATH=/opt/{AUTOSTART}"


def main(arguments: Sequence[str]) -> int:
    """Parse and run; returns the exit status. Raises LayerError, and SystemExit for wrong usage and for --help."""
    import argparse

    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("snapext layer", description=LAYER, allow_abbrev=False)
    commands = parser.add_subparsers(metavar="build|install", required=True)
    precompile = argparse.ArgumentParser(add_help=False)
    precompile.add_argument("--precompile", action="append", default=[], metavar="PYTHON", help=OPTIONS["--precompile"])

    def add(name: str, description: str, example: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            parents=[precompile],
            description=description,
            epilog=f"example:\n  {example}",
            formatter_class=raw,
            allow_abbrev=False,
        )

    builds = add("build", BUILD, BUILD_EXAMPLE)
    builds.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=OPTIONS["--output"])
    builds.add_argument("--force", action="store_true", help=OPTIONS["--force"])
    builds.add_argument("--psutil", action="append", default=[], type=Path, metavar="WHEEL", help=OPTIONS["--psutil"])
    builds.set_defaults(run=build)
    installs = add("install", INSTALL, INSTALL_EXAMPLE)
    installs.add_argument("root", type=Path, metavar="ROOT")
    installs.add_argument("--venv", action="append", default=[], type=Path, metavar="PATH", help=OPTIONS["--venv"])
    installs.set_defaults(run=install)

    given = vars(parser.parse_args(arguments))
    run = given.pop("run")
    for line in run(**given):
        print(line)  # noqa: T201 -- what the command says
    return 0
