"""`snapext signal`: run the hooks of processes on this machine, without a platform."""

from __future__ import annotations

import os
import sys

import click

from snapext_tools.cli.fail import end_on_signals, one_line

PID = click.IntRange(1, 2**22)  # the kernel assigns no higher ones


@click.command()
@click.argument("phase", type=click.Choice(["before-snapshot", "after-restore"]))
@click.option("--pid", "pids", type=PID, multiple=True, metavar="P", help="This process; repeatable.")
@click.option("--name", "pattern", metavar="GLOB", help="Processes whose name or script matches, such as 'gunicorn*'.")
@click.option("--all", "everyone", is_flag=True, help="Every process on this machine that takes part.")
@click.option("--wait", is_flag=True, help="Wait for their answers, and fail if one fails or does not come.")
def signal(phase: str, pids: tuple[int, ...], pattern: str | None, *, everyone: bool, wait: bool) -> None:
    """Tell running processes a phase, as the extension would: a simulation without a platform.

    A process takes part if it is linked (it has registered a hook), or has SNAPEXT_SIGNALS among its variables and
    catches that signal; a process named by --pid needs no variable. Prints a line for each process: its name, how it
    was told, and the result. Without --wait it does not read the answers. Exit status: 0 when all were told (and with
    --wait succeeded), else 1; 2 for wrong usage.

    \b
    Example:
      snapext signal after-restore --name 'gunicorn*' --wait
    """
    if "AWS_LAMBDA_RUNTIME_API" in os.environ:
        raise click.UsageError("on Lambda only the platform starts hooks; use this on your own machine")
    if bool(pids) + (pattern is not None) + everyone != 1:
        raise click.UsageError("choose the processes with one of --pid, --name and --all")
    from snapext_extension.config import parse
    from snapext_tools.simulator.telling import Telling, Whom

    end_on_signals()
    with one_line():
        config, whom = parse(os.environ, os.geteuid()), Whom(frozenset(pids), pattern)
        told = Telling(phase.replace("-", "_"), whom, config, wait=wait).run()
    for one in told:
        mark = click.style("✗", fg="red") if one.ok is False else click.style("✓", fg="green")
        click.echo(f"{mark} {one.pid:>7} {one.name:<16.16} {one.how:<8} {one.outcome}")
    if not told:
        raise click.ClickException(
            "snapext reached no process: none of those chosen is linked, or catches a signal of its SNAPEXT_SIGNALS"
        )
    sys.exit(any(one.ok is False for one in told))
