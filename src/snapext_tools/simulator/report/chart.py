"""The picture itself: a row for the platform, one for the requests, and one for each process."""

from __future__ import annotations

from collections.abc import Iterator

from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT
from snapext_tools.simulator.report.axis import Axis, Column
from snapext_tools.simulator.report.parts import (
    FROZEN,
    INIT,
    SNAPSHOT,
    STOPPED,
    Call,
    Failure,
    Hook,
    Lane,
    Life,
    Turn,
)
from snapext_tools.simulator.report.words import count, duration, moment, shown

RESTORE_LIMIT_MS = 10_000
_NARROWEST_PX = 5
_NARROWEST_TURN_PX = 40
_ABOUT = {
    BEFORE_SNAPSHOT: "the hooks before the snapshot, in every process",
    SNAPSHOT: "the snapshot is taken",
    FROZEN: "the snapshot is taken; nothing runs until the restore",
    AFTER_RESTORE: "from the restore until the runtime asks for its first invocation",
    STOPPED: "the life failed or was interrupted, and its processes were ended",
}


def chart(life: Life) -> str:
    """The rows, with the list of the chapters above them. Empty for a life that did not begin."""
    if not life.chapters:
        return ""
    axis = Axis(life.chapters)
    rows = [_platform_row(axis, life.started_ms), *_calls_row(axis, life), *_notes_row(axis, life)]
    rows += [_lane_row(axis, life, lane) for lane in life.lanes]
    return f'{_key(life)}<div class="chart">{"".join(rows)}</div>{_marks(life)}'


# --- the axis -------------------------------------------------------------------------------------------------------


def _key(life: Life) -> str:
    """The chapters as a list: narrow screens have no room for it in the chart."""
    items = "".join(
        f'<li class="{chapter.kind}"><b>{chapter.kind}</b> {duration(chapter.end_ms - chapter.start_ms)}</li>'
        for chapter in life.chapters
    )
    return f'<ol class="key">{items}</ol>'


def _platform_row(axis: Axis, started_ms: float | None) -> str:
    cells = []
    for column in axis.columns:
        chapter, length = column.chapter, duration(column.length_ms)
        about = f"{moment(chapter.start_ms)} to {moment(chapter.end_ms)}"
        lines = [f"{chapter.kind}: {length}", about, _ABOUT.get(chapter.kind, "")]
        if chapter.kind == INIT and started_ms is not None:
            lines.append(f"the start command was started at {moment(started_ms)}")
        left = f"--l:{column.left:.3f}%;--w:{column.width:.3f}%"
        text = f"<b>{chapter.kind}</b><i>{length}</i>"
        cells.append(_mark(f"chapter {chapter.kind}", left, column.left, lines, text))
    ticks = "".join(_tick(column, at_ms) for column in axis.columns for at_ms in column.ticks())
    return _row("platform", "<b>Lambda</b> <span>simulated</span>", f"{ticks}{''.join(cells)}")


def _tick(column: Column, after_ms: float) -> str:
    left = column.place(column.chapter.start_ms + after_ms)
    return f'<span class="tick" style="--l:{left:.3f}%">+{_short(after_ms)}</span>'


def _short(ms: float) -> str:
    """A round time, with no more digits than it has."""
    if ms >= 1000:
        return f"{ms / 1000:g} s"
    return f"{ms:g} ms" if ms >= 1 else f"{ms * 1000:g} µs"


def _columns(axis: Axis, *, ice: bool) -> str:
    """The background of one row; the frozen time lies above what is drawn there."""
    return "".join(
        f'<span class="{"ice" if ice else "column"} {column.chapter.kind}" '
        f'style="--l:{column.left:.3f}%;--w:{column.width:.3f}%"></span>'
        for column in axis.columns
        if not ice or column.chapter.kind == FROZEN
    )


# --- the rows -------------------------------------------------------------------------------------------------------


def _row(kind: str, label: str, track: str) -> str:
    return f'<div class="row {kind}"><div class="label">{label}</div><div class="track">{track}</div></div>'


def _calls_row(axis: Axis, life: Life) -> Iterator[str]:
    if life.calls:
        bars = "".join(_call(axis, call) for call in life.calls)
        label = f"<b>requests</b> <span>{len(life.calls)}</span>"
        yield _row("calls", label, f"{_columns(axis, ice=False)}{bars}{_columns(axis, ice=True)}")


def _call(axis: Axis, call: Call) -> str:
    left, width = axis.span(call.start_ms, call.end_ms)
    style = f"--l:{left:.3f}%;--w:{width:.3f}%;--min:{_NARROWEST_PX}px"
    lines = [
        f"{call.name} {call.answer}".strip(),
        f"{duration(call.end_ms - call.start_ms)}, at {moment(call.start_ms)}",
    ]
    return _mark("call" if call.ok else "call bad", style, left, lines, "")


def _notes_row(axis: Axis, life: Life) -> Iterator[str]:
    """Notices, and the failures that belong to no process."""
    pids = {lane.pid for lane in life.lanes}
    marks = []
    for note in life.notes:
        left = axis.point(note.at_ms)
        sign = "▲" if note.warns else "…"
        lines = [note.text, f"at {moment(note.at_ms)}"]
        marks.append(_mark("sign warns" if note.warns else "sign", f"--l:{left:.3f}%", left, lines, sign))
    for number, failure in enumerate(life.failures, 1):
        if failure.at_ms is not None and failure.pid not in pids:
            left = axis.point(failure.at_ms)
            lines = [_failed(failure), f"at {moment(failure.at_ms)}"]
            marks.append(_mark("sign bad", f"--l:{left:.3f}%", left, lines, "✗", number))
    if marks:
        yield _row("notes", "<b>notices</b>", f"{_columns(axis, ice=False)}{_columns(axis, ice=True)}{''.join(marks)}")


def _lane_row(axis: Axis, life: Life, lane: Lane) -> str:
    failed = [number for number, failure in enumerate(life.failures, 1) if failure.pid == lane.pid]
    bad = f'<a class="badge" href="#failure-{failed[0]}">✗ failed</a>' if failed else ""
    alone = "" if lane.linked else '<em class="alone">not linked</em>'
    label = f"<b>{shown(lane.name)}</b> <span>{lane.pid}</span>{alone}{bad}"
    track = [
        _columns(axis, ice=False),
        _line(axis, "line" if lane.linked else "line alone", lane.begins_ms, lane.until_ms),
    ]
    if lane.started_ms is not None and lane.joined_ms is not None:
        track.append(_line(axis, "line starting", lane.started_ms, lane.joined_ms))
    track.append(_columns(axis, ice=True))
    if lane.joined_ms is not None:
        left = axis.point(lane.joined_ms)
        since = "" if lane.started_ms is None else f", {duration(lane.joined_ms - lane.started_ms)} after its start"
        track.append(_mark("joined", f"--l:{left:.3f}%", left, [f"joined at {moment(lane.joined_ms)}{since}"], ""))
    track += [_turn(axis, turn, failed[0] if failed else None) for turn in lane.turns]
    return _row("lane", label, "".join(track))


def _line(axis: Axis, kind: str, start_ms: float, end_ms: float) -> str:
    left, width = axis.span(start_ms, end_ms)
    return f'<span class="{kind}" style="--l:{left:.3f}%;--w:{width:.3f}%"></span>'


def _turn(axis: Axis, turn: Turn, failure: int | None) -> str:
    left, width = axis.span(turn.start_ms, turn.end_ms)
    narrowest = min(max(1, len(turn.hooks)) * _NARROWEST_PX, _NARROWEST_TURN_PX)
    style = f"--l:{left:.3f}%;--w:{width:.3f}%;--min:{narrowest}px"
    hooks = [_hook(turn, hook, left, failure) for hook in turn.hooks]
    if not hooks:
        what = f"{count(turn.unlisted, 'hook')}, too many to name" if turn.unlisted else "no hooks"
        hooks = [
            _mark("hook none", "--us:1", left, [what, f"{turn.phase}: {duration(turn.end_ms - turn.start_ms)}"], "")
        ]
    return f'<span class="turn {turn.phase}" style="{style}">{"".join(hooks)}</span>'


def _hook(turn: Turn, hook: Hook, left: float, failure: int | None) -> str:
    took_ms = hook.end_ms - hook.start_ms
    share = f", {100 * took_ms / RESTORE_LIMIT_MS:.2g} % of 10 s" if turn.phase == AFTER_RESTORE else ""
    how = "" if hook.ok else (" failed" if hook.finished else " did not finish")
    began = f"{turn.phase}, at {moment(hook.start_ms)}"
    lines = [f"{hook.name}{how}", f"{duration(took_ms)}{share}", began]
    kind = "hook" if hook.ok else "hook bad"
    return _mark(kind, f"--us:{max(1, round(took_ms * 1000))}", left, lines, "", None if hook.ok else failure)


# --- one mark -------------------------------------------------------------------------------------------------------


def _mark(kind: str, style: str, at: float, lines: list[str], text: str, failure: int | None = None) -> str:
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


def _failed(failure: Failure) -> str:
    return f"{failure.type}: {' '.join(failure.message.split())[:200]}"


def _marks(life: Life) -> str:
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
