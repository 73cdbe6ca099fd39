"""`snapext simulate`: run the whole life of a function on this machine."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from snapext_tools.cli import asked, values
from snapext_tools.cli.documents import Documents, asked_for, error_of, no_life
from snapext_tools.cli.fail import end_on_signals
from snapext_tools.cli.of_template import TemplateStart, start_of
from snapext_tools.simulator.errors import SimulationError
from snapext_tools.simulator.plan import Event, Plan, Request
from snapext_tools.simulator.simulation import Simulation
from snapext_tools.simulator.states import InitType
from snapext_tools.simulator.story import Story
from snapext_tools.simulator.terminal import Page

APP_COLUMN = 17
ORDERED = (asked.REQUEST, asked.EVENT, asked.DATA, asked.HEADER)


class _Simulate(click.Command):
    """A command that knows the order of its options, and which leaves its documents even for wrong usage."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        before_command = args[: args.index("--")] if "--" in args else list(args)
        given = dict(values.own_options(self, args))
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.ClickException as error:
            asked_for(given, as_json="--json" in before_command).write(no_life(error))
            raise

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # The parser's order names each option once for each time it was given.
        values, _, order = self.make_parser(ctx).parse_args(args=list(args))
        given = {name: iter(values.get(name) or ()) for name in ORDERED}
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            in_order = [(p.name, next(given[p.name])) for p in order if p.name in ORDERED]
            try:
                ctx.params[asked.REQUEST] = asked.parse_asked(in_order) or (Request("GET", "/"),)
            except click.UsageError as error:
                error.ctx = ctx
                raise
            if ctx.params["report"] is not None and ctx.params["report"] == ctx.params["trace"]:
                raise click.UsageError("--report and --trace name the same file", ctx=ctx)
            _take_template(ctx)
        return rest


def _take_template(context: click.Context) -> None:
    """Let a template say how the app starts, and on which port; an option that is given stays."""
    given, template = context.params["command"], context.params["template"]
    if template is None:
        return
    if len(given) > 1:
        raise click.UsageError("with --template the only word is the name of a function", ctx=context)
    try:
        start = start_of(template, given[0] if given else None)
        if context.get_parameter_source("port") is ParameterSource.DEFAULT:
            context.params["port"] = values.free(start.port)
    except click.UsageError as error:
        error.ctx = context
        raise
    context.params["command"], context.params["template"] = start.command, start


@click.command(cls=_Simulate, context_settings={"allow_interspersed_args": False})
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    callback=values.port,
    default=8080,
    show_default=True,
    help="The app's own port, also given to it as $PORT.",
)
@click.option(
    "--workers",
    type=click.IntRange(0, 1000),
    help="How many processes must join before the snapshot; 0: do not fail when processes are missing.",
)
@click.option(
    "--expect-hooks",
    type=click.IntRange(0),
    metavar="N",
    help="How many hooks must run, counted over all processes and both phases; a signal handler counts as one. "
    "[default: at least one with snap-start]",
)
@click.option(
    "--init-type",
    type=click.Choice([str(kind) for kind in InitType]),
    default=str(InitType.SNAP_START),
    show_default=True,
    help="With on-demand there is no snapshot, and no hook runs.",
)
@click.option(
    "--freeze",
    type=click.FloatRange(0, 3600),
    default=0,
    metavar="SECONDS",
    help="Stop every process this long between snapshot and restore.",
)
@click.option(
    "--request",
    asked.REQUEST,
    multiple=True,
    metavar="'GET /path'",
    help="A request to send after the restore; repeatable. A path alone is a GET, or a POST if -d follows. "
    "[default: GET /]",
)
@click.option(
    "-d",
    "--data",
    asked.DATA,
    multiple=True,
    expose_value=False,
    metavar="DATA|@FILE",
    help="A body for the --request before it, as in curl: several are joined by &.",
)
@click.option(
    "-H",
    "--header",
    asked.HEADER,
    multiple=True,
    expose_value=False,
    metavar="'NAME: VALUE'",
    help="A header for the --request before it, as in curl.",
)
@click.option(
    "--event",
    asked.EVENT,
    multiple=True,
    expose_value=False,
    shell_complete=values.files,
    metavar="FILE.json",
    help="An event to send as it is, in its place among the requests. A web adapter posts an event that is not HTTP to "
    "AWS_LWA_PASS_THROUGH_PATH (/events).",
)
@click.option(
    "--adapter",
    callback=values.adapter,
    shell_complete=values.adapters,
    default="builtin",
    show_default=True,
    metavar="builtin|builtin-1.1|builtin-unchecked|PATH|none",
    help="The web adapter: like a release before 1.1, like one from 1.1 on, like a build before 1.1 on a newer runtime "
    "library (it asks for the restore and makes no check after it), a real binary, or none: COMMAND is then the "
    "runtime itself, and runs `snapext checkpoint`.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=150,  # longer than init may wait for readiness (SNAPEXT_READY_TIMEOUT_MS), which says more
    show_default=True,
    metavar="SECONDS",
    help="Give up after this time.",
)
@click.option(
    "--without-snapext",
    is_flag=True,
    help="The same life as it is today, without the extension and what it links: whether an answer is stale is yours "
    "to see, and only an answer of 500 or above, or an app that does not start, fails it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; the rest goes to standard error.")
@click.option(
    "--report",
    callback=values.file,
    shell_complete=values.files,
    metavar="FILE.html",
    help="Write a page that shows the life: a lane for each process, its hooks, and each failure with its stack.",
)
@click.option(
    "--trace",
    callback=values.file,
    shell_complete=values.files,
    metavar="FILE.json",
    help="Write the life as Chrome trace events, which ui.perfetto.dev opens.",
)
@click.option(
    "--template",
    type=click.Path(path_type=Path),
    metavar="F",
    help="Take the start command, the port and the variables from a SAM or CloudFormation template; the name of a "
    "function takes COMMAND's place, and may be left out where there is one.",
)
@click.argument(
    "command",
    metavar="COMMAND...",
    nargs=-1,
    type=click.UNPROCESSED,
    callback=values.command,
    shell_complete=values.files,
)
def simulate(
    port: int,
    workers: int | None,
    expect_hooks: int | None,
    init_type: str,
    freeze: float,
    requests: tuple[Request | Event, ...],
    adapter: str,
    timeout: float,
    without_snapext: bool,
    as_json: bool,
    report: Path | None,
    trace: Path | None,
    command: tuple[str, ...],
    template: TemplateStart | None,
) -> None:
    """Run the life of a function on this machine: init, snapshot, restore, requests, shutdown.

    COMMAND starts the web server, which must listen on --port (also given as $PORT). snapext's real extension runs
    beside it. Exit status: 0 when every check passed; 1 when a hook or the app failed, no hook ran, a hook ran too
    late, or a process is not linked; 2 for wrong usage.

    \b
    Example:
      snapext simulate --workers 4 --port 8000 -- gunicorn -w 4 -b 127.0.0.1:8000 app:app
      snapext simulate --template template.yaml App
    """
    documents = Documents(as_json, report, trace)
    plan = Plan(
        *(command, port, workers, InitType(init_type), freeze, requests, adapter, timeout, expect_hooks),
        with_snapext=not without_snapext,
    )
    errors = Page(sys.stderr, os.environ)
    story = Story(
        (errors if as_json else Page(sys.stdout, os.environ)).write,
        port_hint="" if template is None else f"snapext doctor {template.template} says which port the app listens on",
    )
    end_on_signals(signal.SIGINT)
    if template is not None:
        os.chdir(template.folder)
        for missing in template.missing:
            errors.write(f"not set, because the template gives no value: {missing}")
    simulation = Simulation(
        plan,
        os.environ if template is None else {**os.environ, **template.variables},
        tell=story.tell,
        hear_app=lambda who, line: errors.write(click.style(f"{who:>14} | {line}", dim=True), APP_COLUMN),
    )
    document: dict[str, Any] = {}
    try:
        document = simulation.run()
        story.verdict(simulation.recorder, with_snapext=plan.with_snapext)
    except SimulationError as error:
        usage = click.UsageError(str(error))
        document = no_life(usage)
        raise usage from error
    except SystemExit:  # a signal: the last trouble says what it interrupted
        document = simulation.document()
        story.verdict(simulation.recorder, with_snapext=plan.with_snapext)
        raise
    except Exception as error:  # a bug of ours: readers of the document must see it there
        document = simulation.document()
        document["ok"] = False
        document["errors"].append(error_of("simulate", type(error).__name__, str(error)))
        raise
    finally:
        written = documents.write(document)
    if not document["ok"]:
        sys.exit(1)
    sys.exit(0 if written else 2)
