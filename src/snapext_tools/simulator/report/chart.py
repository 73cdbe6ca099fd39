"""The picture itself: a row for the platform, one for the requests, one for notices, and one for each process."""

from __future__ import annotations

from collections.abc import Iterator

from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT
from snapext_tools.simulator.report.axis import Axis, Column
from snapext_tools.simulator.report.marks import call_bar, legend, mark, turn_bar
from snapext_tools.simulator.report.parts import (
    FROZEN,
    INIT,
    SNAPSHOT,
    STOPPED,
    Failure,
    Lane,
    Life,
)
from snapext_tools.simulator.report.words import duration, moment, shown

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
    return f'{_key(life)}<div class="chart">{"".join(rows)}</div>{legend(life)}'


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
        cells.append(mark(f"chapter {chapter.kind}", left, column.left, lines, text))
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
        bars = "".join(call_bar(axis, call) for call in life.calls)
        label = f"<b>requests</b> <span>{len(life.calls)}</span>"
        yield _row("calls", label, f"{_columns(axis, ice=False)}{bars}{_columns(axis, ice=True)}")


def _notes_row(axis: Axis, life: Life) -> Iterator[str]:
    """Notices, and the failures that belong to no process."""
    pids = {lane.pid for lane in life.lanes}
    marks = []
    for note in life.notes:
        left = axis.point(note.at_ms)
        sign = "▲" if note.warns else "…"
        lines = [note.text, f"at {moment(note.at_ms)}"]
        marks.append(mark("sign warns" if note.warns else "sign", f"--l:{left:.3f}%", left, lines, sign))
    for number, failure in enumerate(life.failures, 1):
        if failure.at_ms is not None and failure.pid not in pids:
            left = axis.point(failure.at_ms)
            lines = [_failed(failure), f"at {moment(failure.at_ms)}"]
            marks.append(mark("sign bad", f"--l:{left:.3f}%", left, lines, "✗", number))
    if marks:
        yield _row("notes", "<b>notices</b>", f"{_columns(axis, ice=False)}{_columns(axis, ice=True)}{''.join(marks)}")


def _lane_row(axis: Axis, life: Life, lane: Lane) -> str:
    failures = {number: failure for number, failure in enumerate(life.failures, 1) if failure.pid == lane.pid}
    bad = f'<a class="badge" href="#failure-{min(failures)}">✗ failed</a>' if failures else ""
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
        track.append(mark("joined", f"--l:{left:.3f}%", left, [f"joined at {moment(lane.joined_ms)}{since}"], ""))
    track += [turn_bar(axis, turn, failures) for turn in lane.turns]
    return _row("lane", label, "".join(track))


def _line(axis: Axis, kind: str, start_ms: float, end_ms: float) -> str:
    left, width = axis.span(start_ms, end_ms)
    return f'<span class="{kind}" style="--l:{left:.3f}%;--w:{width:.3f}%"></span>'


def _failed(failure: Failure) -> str:
    return f"{failure.type}: {' '.join(failure.message.split())[:200]}"
