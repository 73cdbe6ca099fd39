"""Write docs/lifecycle.md from the table of transitions: `python docs/lifecycle.py`."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from snapext_extension.boundary import lifecycle
from snapext_extension.boundary.states import ENDED, TRANSITIONS, State, Trigger

TARGET = Path(__file__).with_suffix(".md")


def diagram() -> str:
    """The table as a Mermaid diagram; what leads to the same state by the same trigger from everywhere is told once."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.INIT.name}"]
    everywhere = defaultdict(set)
    for (state, trigger), target in TRANSITIONS.items():
        everywhere[trigger, target].add(state)
    for (trigger, target), states in everywhere.items():
        if states == set(State) - ENDED:
            lines.append(f"    note left of {target.name}: from every state but the ends, when {trigger.value}")
        else:
            lines += [f"    {state.name} --> {target.name}: {trigger.value}" for state in states]
    lines += [f"    {state.name} --> [*]" for state in sorted(ENDED, key=lambda state: state.name)]
    return "\n".join(lines)


def table() -> str:
    rows = [
        f"| {state.name} | {trigger.value} | {TRANSITIONS[state, trigger].name} |"
        for state in State
        for trigger in Trigger
        if (state, trigger) in TRANSITIONS
    ]
    return "\n".join(["| from | when | to |", "| --- | --- | --- |", *rows])


def document() -> str:
    about = (lifecycle.__doc__ or "").strip()
    return (
        "# The boundary's lifecycle\n\nWritten by `docs/lifecycle.py` from the table in "
        "`extension/snapext_extension/boundary/states.py`.\n\n"
        f"```mermaid\n{diagram()}\n```\n\n```text\n{about}\n```\n\n{table()}\n"
    )


if __name__ == "__main__":
    TARGET.write_text(document())
    print(f"{TARGET} is written")
