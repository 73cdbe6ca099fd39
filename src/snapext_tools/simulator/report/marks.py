"""The marks of the picture: each can be pointed at or reached by the keyboard, and says what it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT
from snapext_tools.simulator.report.axis import Axis
from snapext_tools.simulator.report.parts import FROZEN, RESTORE_LIMIT_MS, Call, Failure, Hook, Life, Turn
from snapext_tools.simulator.report.words import count, duration, moment, shown

MOST_BARS = 12
"""With more hooks in one phase of a process, those that went well are one bar."""
_SLOWEST = 3
_NARROWEST_PX = 5


def mark(kind: str, style: str, at: float, lines: list[str], text: str, failure: int | None = None) -> str:
    """Something to point at or to reach by the keyboard; it shows its lines. With a failure it leads there.

    at: its place in percent, with which its lines stay inside of the row.
    """
    said = [shown(line) for line in lines if line]
    first, *rest = said
    tip = f'<span class="tip" style="--x:{at:.2f}%"><b>{first}</b>{"".join(f"<br>{line}" for line in rest)}</span>'
    label = f'aria-label="{"; ".join(said)}"'
    if failure is not None:
        return f'<a class="{kind}" style="{style}" href="#failure-{failure}" {label}>{text}{tip}</a>'
    return f'<span class="{kind}" style="{style}" tabindex="0" role="img" {label}>{text}{tip}</span>'


def call_bar(axis: Axis, call: Call) -> str:
    left, width = axis.span(call.start_ms, call.end_ms)
    style = f"--l:{left:.3f}%;--w:{width:.3f}%;--min:{_NARROWEST_PX}px"
    lines = [
        f"{call.name} {call.answer}".strip(),
        f"{duration(call.end_ms - call.start_ms)}, at {moment(call.start_ms)}",
    ]
    return mark("call" if call.ok else "call bad", style, left, lines, "")


def turn_bar(axis: Axis, turn: Turn, failures: Mapping[int, Failure]) -> str:
    """One phase in one process. failures: those of the process, by the number that the page gives them."""
    left, width = axis.span(turn.start_ms, turn.end_ms)
    bars = list(_bars(turn, left, failures))
    style = f"--l:{left:.3f}%;--w:{width:.3f}%;--min:{len(bars) * _NARROWEST_PX}px"
    return f'<span class="turn {turn.phase}" style="{style}">{"".join(bars)}</span>'


def _bars(turn: Turn, left: float, failures: Mapping[int, Failure]) -> Iterator[str]:
    if not turn.hooks:
        what = f"{count(turn.unlisted, 'hook')}, too many to name" if turn.unlisted else "no hooks"
        yield mark("hook none", "--us:1", left, [what, f"{turn.phase}: {duration(turn.end_ms - turn.start_ms)}"], "")
    hooks = list(turn.hooks)
    if len(hooks) > MOST_BARS:
        well = [hook for hook in hooks if hook.ok]
        yield _many(turn, well, left)
        hooks = hooks[len(well) :]  # the phase ends with the first that fails
    for hook in hooks:
        yield _hook(turn, hook, left, failures)


def _hook(turn: Turn, hook: Hook, left: float, failures: Mapping[int, Failure]) -> str:
    how = "" if hook.ok else (" failed" if hook.finished else " did not finish")
    lines = [f"{hook.name}{how}", _took(turn, hook.took_ms), f"{turn.phase}, at {moment(hook.start_ms)}"]
    of_hook = [number for number, failure in failures.items() if failure.hook == hook.name]
    number = None if hook.ok else next(iter(of_hook or failures), None)
    return mark("hook" if hook.ok else "hook bad", _share(hook.took_ms), left, lines, "", number)


def _many(turn: Turn, hooks: list[Hook], left: float) -> str:
    took_ms = hooks[-1].end_ms - hooks[0].start_ms
    slowest = sorted(hooks, key=lambda hook: -hook.took_ms)[:_SLOWEST]
    named = ", ".join(f"{hook.name} {duration(hook.took_ms)}" for hook in slowest)
    lines = [count(len(hooks), "hook"), _took(turn, took_ms), f"{turn.phase}, at {moment(hooks[0].start_ms)}"]
    return mark("hook", _share(took_ms), left, [*lines, f"slowest: {named}"], "")


def _took(turn: Turn, took_ms: float) -> str:
    share = f", {100 * took_ms / RESTORE_LIMIT_MS:.2g} % of 10 s" if turn.phase == AFTER_RESTORE else ""
    return f"{duration(took_ms)}{share}"


def _share(took_ms: float) -> str:
    return f"--us:{max(1, round(took_ms * 1000))}"


def legend(life: Life) -> str:
    """What the signs mean: those that are there."""
    turns = [turn for lane in life.lanes for turn in lane.turns]
    signs = (
        ("starting", "starts and imports", any(lane.started_ms is not None for lane in life.lanes)),
        ("joined", "joined", any(lane.joined_ms is not None for lane in life.lanes)),
        (f"hook {BEFORE_SNAPSHOT}", "before_snapshot hook", any(turn.phase == BEFORE_SNAPSHOT for turn in turns)),
        (f"hook {AFTER_RESTORE}", "after_restore hook", any(turn.phase == AFTER_RESTORE for turn in turns)),
        ("call", "request", bool(life.calls)),
        ("ice", "frozen", any(chapter.kind == FROZEN for chapter in life.chapters)),
        ("hook bad", "failed", not life.ok),
    )
    items = [f'<li><span class="sample {kind}"></span>{words}</li>' for kind, words, is_there in signs if is_there]
    items += ["<li><b>…</b> notice</li>"] if any(not note.warns for note in life.notes) else []
    items += ['<li><b class="warns">▲</b> warning</li>'] if any(note.warns for note in life.notes) else []
    return f'<ul class="marks">{"".join(items)}</ul>' if items else ""
