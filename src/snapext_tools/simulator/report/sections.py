"""What the page says in words, for those who point at nothing: the facts, the failures, hooks, requests and notices."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from snapext_tools.simulator.plan import WITHOUT_SNAPEXT
from snapext_tools.simulator.report.parts import FROZEN, RESTORE_LIMIT_MS, Call, Failure, Lane, Life, Turn
from snapext_tools.simulator.report.words import count, duration, moment, shown

OPEN_UP_TO = 60
"""Hooks: with more of them the processes' lists are closed at first."""
BODY_LIMIT = 4_000


def head(life: Life) -> str:
    """The verdict, the command, and the facts of the whole life."""
    kind, sign = {"OK": (" ok", "✓ "), "FAILED": (" bad", "✗ ")}.get(verdict_of(life), ("", ""))
    verdict = f'<p class="verdict{kind}">{sign}{verdict_of(life)}</p>'
    title = f"<h1>{shown(title_of(life))}</h1>"
    command = f'<p class="command"><code>{shown(shlex.join(life.command))}</code></p>' if life.command else ""
    facts = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _facts(life))
    return f"<header>{verdict}{title}{command}<dl>{facts}</dl></header>"


def verdict_of(life: Life) -> str:
    """As the last line of the story begins."""
    if not life.ok:
        return "FAILED"
    return "NOT JUDGED" if life.mode == WITHOUT_SNAPEXT else "OK"


def title_of(life: Life) -> str:
    if not life.command:
        return "A life that did not begin"
    return f"The life of {life.command[0].rpartition('/')[2]}"


def _facts(life: Life) -> Iterator[tuple[str, str]]:
    linked = sum(lane.linked for lane in life.lanes)
    yield count(linked, "process", "processes").partition(" ")[2], str(linked)
    yield "hooks run", str(life.hooks_run)
    if life.restore_ms:  # without snapext there is no restore phase
        share = 100 * life.restore_ms / RESTORE_LIMIT_MS
        yield "restored in", f"{duration(life.restore_ms)} <small>{share:.2g} % of 10 s</small>"
    for chapter in life.chapters:
        if chapter.kind == FROZEN:
            yield "frozen", duration(chapter.end_ms - chapter.start_ms)
    yield "requests", str(len(life.calls))
    for name, value in (("mode", life.mode), ("init type", life.init_type), ("adapter", life.adapter)):
        if value:
            yield name, shown(value)
    if life.environment_id:
        yield "environment", f"<code>{shown(life.environment_id)}</code>"


def failures(life: Life) -> str:
    if not life.failures:
        return ""
    cards = "".join(_failure(number, failure, life) for number, failure in enumerate(life.failures, 1))
    return f'<section class="failures"><h2>{count(len(life.failures), "failure").capitalize()}</h2>{cards}</section>'


def _failure(number: int, failure: Failure, life: Life) -> str:
    names = {lane.pid: lane.name for lane in life.lanes}
    where = [failure.phase]
    if failure.pid is not None:
        where.append(
            f"process {failure.pid} ({names[failure.pid]})" if failure.pid in names else f"process {failure.pid}"
        )
    if failure.hook:
        where.append(f"hook {failure.hook}")
    if failure.at_ms is not None:
        where.append(f"at {moment(failure.at_ms)}")
    stack = f'<pre tabindex="0">{shown(failure.stack.rstrip())}</pre>' if failure.stack.strip() else ""
    seen = f"<p>On Lambda: {shown(failure.seen)}.</p>" if failure.seen else ""
    return (
        f'<article class="failure" id="failure-{number}"><h3><b aria-hidden="true">✗</b> {shown(failure.type)}</h3>'
        f'<p class="where">{shown(" · ".join(where))}</p><p class="message">{shown(failure.message)}</p>{stack}{seen}'
        "</article>"
    )


def hooks(life: Life) -> str:
    lanes = [lane for lane in life.lanes if lane.linked]
    if not lanes:
        return ""
    is_open = sum(len(turn.hooks) for lane in lanes for turn in lane.turns) <= OPEN_UP_TO
    cards = "".join(_card(lane, is_open=is_open) for lane in lanes)
    return f'<section><h2>Processes and their hooks</h2><div class="cards">{cards}</div></section>'


def _card(lane: Lane, *, is_open: bool) -> str:
    times = (("started", lane.started_ms), ("joined", lane.joined_ms), ("ended", lane.ended_ms))
    when = " · ".join(f"{word} {moment(at_ms)}" for word, at_ms in times if at_ms is not None)
    rows = "".join(row for turn in lane.turns for row in _rows(turn))
    table = f"<table>{rows}</table>" if rows else "<p>No hook ran.</p>"
    head = f"<summary><b>{shown(lane.name)}</b> <span>{lane.pid}</span></summary>"
    return f'<details class="card"{" open" if is_open else ""}>{head}<p class="when">{when}</p>{table}</details>'


def _rows(turn: Turn) -> Iterator[str]:
    yield (
        f'<tr class="phase {turn.phase}"><th scope="rowgroup">{turn.phase}{_signal(turn)}</th>'
        f"<td>{duration(turn.end_ms - turn.start_ms)}</td></tr>"
    )
    for hook in turn.hooks:
        how = "" if hook.ok else (" ✗ failed" if hook.finished else " ✗ did not finish")
        took = duration(hook.took_ms)
        name = f"{shown(hook.name)}{f'<em>{how}</em>' if how else ''}"
        yield f'<tr class="{turn.phase}{"" if hook.ok else " bad"}"><th scope="row">{name}</th><td>{took}</td></tr>'
    if not turn.hooks:
        what = f"{count(turn.unlisted, 'hook')}, too many to name" if turn.unlisted else "no hooks"
        yield f'<tr class="{turn.phase}"><th scope="row">{what}</th><td></td></tr>'


def _signal(turn: Turn) -> str:
    return "" if turn.signal is None else f" <small>signalled with {shown(turn.signal)}</small>"


def requests(life: Life) -> str:
    if not life.calls:
        return ""
    return f'<section><h2>Requests</h2><div class="answers">{"".join(map(_call, life.calls))}</div></section>'


def _call(call: Call) -> str:
    answer = f'<span class="{"good" if call.ok else "bad"}">{shown(call.answer)}</span> ' if call.answer else ""
    body = call.body if len(call.body) <= BODY_LIMIT else f"{call.body[:BODY_LIMIT]}… ({len(call.body)} characters)"
    took = duration(call.end_ms - call.start_ms)
    head = f"<summary><b>{shown(call.name)}</b> {answer}<span>{took}</span></summary>"
    return f'<details class="card">{head}<pre tabindex="0">{shown(body) or "(empty)"}</pre></details>'


def notes(life: Life) -> str:
    if not life.notes:
        return ""
    rows = "".join(
        f'<li class="{"warns" if note.warns else ""}"><span>{moment(note.at_ms)}</span> {shown(note.text)}</li>'
        for note in life.notes
    )
    return f'<section><h2>Notices</h2><ul class="notices">{rows}</ul></section>'
