"""What `snapext status` prints, for a person."""

from __future__ import annotations

from snapext.wire.phases import PHASES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

OFF: Mapping[str, Any] = {
    "mode": "off",
    "phase": None,
    "generation": 0,
    "environment_id": None,
    "processes": [],
    "boundary": {},
    "waiting": None,
    "not_linked": [],
    "version": None,
}
"""What there is to say with SNAPEXT_MODE=off, where no extension answers."""


def lines(status: Mapping[str, Any]) -> Iterator[str]:
    """`status`: as in docs/protocol.md."""
    yield f"state        {status['phase']} (mode {status['mode']})"
    yield f"generation   {status['generation']}"
    yield f"environment  {status['environment_id'] or '-'}"
    if "version" in status:  # an extension before 0.2.0 does not say it
        yield f"extension    snapext {status['version']}"
    boundary = status["boundary"]
    took = [f"{phase} {boundary[f'{phase}_ms']:.1f} ms" for phase in PHASES if f"{phase}_ms" in boundary]
    yield f"boundary     {', '.join(took) or '-'}"
    if status.get("waiting"):
        yield f"waits for    {status['waiting']}"
    processes = status["processes"]
    left_out = status.get("processes_left_out", 0)
    yield f"processes    {len(processes) + left_out}"
    for process in processes:
        yield from _process(process)
    if left_out:
        yield f"  and {left_out} more"
    for process in status.get("not_linked", ()):
        yield f"not linked   {process['pid']} {process['name']}: {process['cause']}; {process['remedy']}"
    if status.get("not_linked_left_out"):
        yield f"not linked   and {status['not_linked_left_out']} more"


def _process(process: Mapping[str, Any]) -> Iterator[str]:
    took = [f"{phase} {process['durations_ms'][phase]:.1f} ms" for phase in PHASES if phase in process["durations_ms"]]
    running = [f"runs {process['running']} now"] if process["running"] else []
    lost = [] if process.get("connected", True) else ["its connection is lost"]
    yield f"{process['pid']:>7} {process['name']}  {', '.join([process['how'], *took, *running, *lost])}"
    for phase in PHASES:
        names = (process["hook_names"] or {}).get(phase)
        count = process["hooks"][phase]
        if names or count:
            yield f"          {phase:<16}{', '.join(names) if names else f'{count} (no names)'}"
