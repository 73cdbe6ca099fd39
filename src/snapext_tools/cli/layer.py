"""`snapext layer`: make the Lambda layer, or install the same files into a container image."""

from __future__ import annotations

import re
from pathlib import Path

import click

from snapext_tools.cli.fail import one_line


@click.group()
def layer() -> None:
    """Make the Lambda layer, or install the same files into a container image."""


@layer.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The zip.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option(
    "--precompile",
    multiple=True,
    metavar="PYTHON",
    help="Also compile the files with this interpreter; repeatable, once per version.",
)
@click.option(
    "--psutil",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="WHEEL",
    help="Add psutil from this wheel; repeatable, once per processor.",
)
def build(output: Path, force: bool, precompile: tuple[str, ...], psutil: tuple[Path, ...]) -> None:
    """Write the layer, one zip for x86_64 and arm64 and for Python 3.11 to 3.14.

    \b
    Example:
      snapext layer build -o snapext-layer.zip
    """
    from snapext_layer.tree import layer_tree
    from snapext_layer.vendored import psutil_entries
    from snapext_layer.write import write_zip

    with one_line():
        entries = sorted([*layer_tree(precompile), *psutil_entries(psutil)], key=lambda entry: entry.path)
        write_zip(entries, output, replace=force)
    versions = sorted({tag for entry in entries for tag in re.findall(r"\.cpython-3(\d+)\.pyc$", entry.path)}, key=int)
    compiled = ", precompiled for Python " + ", ".join(f"3.{version}" for version in versions) if versions else ""
    click.echo(f"{output}: {len(entries)} files, {output.stat().st_size / 1024:.1f} KB{compiled}")


@layer.command()
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--precompile", multiple=True, metavar="PYTHON", help="As for `snapext layer build`.")
@click.option(
    "--venv",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Also link the processes of this virtual environment of the image; repeatable.",
)
def install(root: Path, precompile: tuple[str, ...], venv: tuple[Path, ...]) -> None:
    """Install the layer's files under ROOT/opt, for a container image.

    Writes snapext.pth beside the packages of each Python from 3.11 on found below ROOT, and of each virtual
    environment named. The file links each process of that Python that imports a hook module; remove it to undo that.

    \b
    Example:
      snapext layer install / --precompile python3.12 --venv /app/.venv
    """
    from snapext_layer.interpreters import pth_files
    from snapext_layer.tree import AUTOSTART, layer_tree
    from snapext_layer.write import install as lay

    with one_line():
        entries = layer_tree(precompile)
        linked = pth_files(root, venv)
        opt = lay(entries, root, linked)
    click.echo(f"{opt}: {len(entries)} files")
    for path in linked:
        click.echo(f"{path}: links the processes of this Python")
    if not linked:
        click.echo(f"no Python from 3.11 on below {root}: the image needs ENV PYTHONPATH=/opt/{AUTOSTART}")
