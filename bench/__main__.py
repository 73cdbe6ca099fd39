"""`python -m bench`: measure, then write the figures, the plots and the report."""

from __future__ import annotations

import gc
import json
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from bench.compare import comparison
from bench.machine import describe
from bench.parts import PARTS
from bench.report import document, write_plots
from bench.stage import BenchError, Stage

DIGITS = 4
GOT_WORSE = 3


@click.command()
@click.option("--quick", is_flag=True, help="Few rounds: rough figures, within two minutes.")
@click.option("--only", multiple=True, type=click.Choice([part.name for part in PARTS]), help="One part; repeatable.")
@click.option("--rounds", type=click.IntRange(min=2), help="The number of rounds of each part, instead of its own.")
@click.option("--render", is_flag=True, help="Measure nothing; write the report again from results.json.")
@click.option(
    "--compare",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help=f"Print what changed since FILE, a recorded results.json; exit status {GOT_WORSE} if a headline got worse.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("docs"), show_default=True, metavar="DIR")
def main(
    quick: bool, only: tuple[str, ...], rounds: int | None, render: bool, compare: Path | None, output: Path
) -> None:
    """Measure snapext against the alternatives, and write DIR/benchmarks.md."""
    folder = output / "benchmarks"
    raw = folder / "results.json"
    try:
        record = None if compare is None else json.loads(compare.read_text())  # now: it may be about to be replaced
        results = json.loads(raw.read_text()) if render else measure(quick, only, rounds)
    except (BenchError, OSError, ValueError) as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(1)
    if not render:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        raw.write_text(dumped(results))
    write_plots(results, folder)
    (output / "benchmarks.md").write_text(document(results))
    click.echo(f"{output / 'benchmarks.md'}: written")
    if record is not None:
        text, worse = comparison(record, results)
        click.echo(text)
        sys.exit(GOT_WORSE if worse else 0)


def dumped(results: dict[str, Any]) -> str:
    """JSON with each list of figures on one line: ten thousand lines of one number each are unreadable."""
    text = json.dumps(results, indent=1)
    return re.sub(r"\[\s+([-\d.,\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


def measure(quick: bool, only: tuple[str, ...], rounds: int | None) -> dict[str, Any]:
    """Everything in results.json."""
    run, began = describe(), time.monotonic()
    gc.disable()  # no collection while something is timed; each life collects when it ends
    parts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as root:
        stage = Stage(Path(root))
        for part in PARTS:
            if only and part.name not in only:
                continue

            def tell(line: str, name: str = part.name) -> None:
                click.echo(f"{time.monotonic() - began:6.0f} s  {name}: {line}", err=True)

            count = rounds or (part.quick_rounds if quick else part.rounds)
            result = (part.quick if quick else part.measure)(stage, count, tell)
            figures = {
                metric: {name: [round(value, DIGITS) for value in values] for name, values in by_setup.items()}
                for metric, by_setup in result.figures.items()
            }
            about = {"rounds": result.rounds, "warm_up": result.warm_up, "dropped": result.dropped}
            missing = {"missing": result.missing} if result.missing else {}
            parts[part.name] = {**about, **missing, "figures": figures}
    run["took"] = f"{(time.monotonic() - began) / 60:.1f} min"
    chosen = [*(f"--only {name}" for name in only), *([f"--rounds {rounds}"] if rounds else [])]
    command = " ".join(
        ["make bench", *(["QUICK=1"] if quick else []), *([f"ARGS='{' '.join(chosen)}'"] if chosen else [])]
    )
    return {"about": {"command": command, "quick": quick, "run": run}, "parts": parts}


if __name__ == "__main__":
    main()
