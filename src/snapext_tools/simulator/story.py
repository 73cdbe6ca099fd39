"""What `snapext simulate` prints: the story of one environment, a line for each event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT
from snapext_tools.simulator.notices import ERROR_CALLS, WARNINGS, words_of
from snapext_tools.simulator.recorder import NOTICES, Happening, Recorder, Trouble

BUDGET_MS = 10_000
TEXT_COLUMN = 28
MAX_REASONS = 3
OTHER_PORT = "listens, but not on that port"
"""The extension's words (boundary/init.py)."""
UNJUDGED = "; whether an answer is from before the snapshot is yours to see"
_CHAPTERS = {
    "extension_registered": "init",
    "process_joined": "init",
    "not_linked": "init",
    "waiting": "init",
    "invoke": "invoke",
    **dict.fromkeys(ERROR_CALLS, "failed"),
}


class Story:
    """Tells happenings as they come. The first line of each chapter carries its name.

    `write` gets a line, and the column in which a line that is too long continues.
    port_hint: said once, after the first line that says that the app listens on another port.
    """

    def __init__(self, write: Callable[[str, int], None], *, port_hint: str = "") -> None:
        self._write = write
        self._port_hint = port_hint
        self._chapter = ""
        self._names: dict[int, str] = {}
        self._boundary = False

    def tell(self, what: Happening | Trouble) -> None:
        if isinstance(what, Trouble):
            self._tell_trouble(what)
            return
        words = words_of(what.event, what.fields)
        if words is not None:
            lines = self._notice(what.event, what.fields, words)
        else:
            lines = _LINES.get(what.event, _plain)(self, what.fields)
        for text in lines:
            self._line(self._chapter_of(what), what.at_ms, text)

    def verdict(self, recorder: Recorder, *, with_snapext: bool = True) -> None:
        """The last line: whether every check passed, and if not, which failed.

        Without snapext there is no OK: nothing here can see whether an answer is what it was before the snapshot.
        """
        requests = _count(sum(happening.event == "invoke" for happening in recorder.happenings), "request")
        parts = ["SNAPEXT_MODE=off"] if recorder.is_off else []
        parts += [_count(len(recorder.processes), "process", "processes"), _count(recorder.hooks_run, "hook") + " run"]
        if recorder.restore_ms is not None:
            parts.append(f"restored in {recorder.restore_ms:.1f} ms")
        said = ", ".join([*parts, f"{requests} served"]) if with_snapext else f"{requests} served without snapext"
        said += _reasons(recorder.troubles)
        word = click.style("OK", fg="green", bold=True)
        if not recorder.ok:
            word = click.style("FAILED", fg="red", bold=True)
        elif not with_snapext:
            word, said = click.style("NOT JUDGED", fg="yellow", bold=True), said + UNJUDGED
        self._write("", 0)
        self._write(f"{word}: {said}", 0)

    def _chapter_of(self, what: Happening) -> str:
        if what.event in _CHAPTERS:
            return _CHAPTERS[what.event]
        if what.event in NOTICES:
            return self._chapter or "init"  # it belongs to where it happened
        state = what.fields.get("state", what.event)
        return str(what.fields.get("phase", state))  # of a hook; an extension before 0.2.0 calls a state so, too

    def _line(self, chapter: str, at_ms: float, text: str) -> None:
        if self._chapter == AFTER_RESTORE and chapter == "init":
            chapter = self._chapter  # a process that joins late stays in the chapter in which it joined
        label = chapter if chapter != self._chapter else ""
        self._chapter = chapter
        head = click.style(f"{label:<16}", fg="cyan", bold=True)
        self._write(f"{head}{click.style(f'{at_ms / 1000:8.3f} s', dim=True)}  {text}", TEXT_COLUMN)

    def _process(self, pid: int) -> str:
        return f"{pid:>7} {self._names.get(pid, '?'):<12}"

    def _registered(self, fields: Mapping[str, Any]) -> list[str]:
        return [f"extension {fields['name']} registered"]

    def _joined(self, fields: Mapping[str, Any]) -> list[str]:
        self._names[fields["pid"]] = fields["name"]
        return [f"{self._process(fields['pid'])} joined"]

    def _signalled(self, fields: Mapping[str, Any]) -> list[str]:
        self._names[fields["pid"]] = fields["name"]
        return [f"{self._process(fields['pid'])} signalled with {fields['signal']}"]

    def _before(self, fields: Mapping[str, Any]) -> list[str]:
        return self._hooks(fields, budget_ms=None)

    def _after(self, fields: Mapping[str, Any]) -> list[str]:
        return self._hooks(fields, budget_ms=BUDGET_MS)

    def _hooks(self, fields: Mapping[str, Any], budget_ms: int | None) -> list[str]:
        who = self._process(fields["pid"])
        lines = [
            f"{who} {_mark(True)} {hook['name']:<30} {_duration(hook['duration_ms'], budget_ms)}"
            for hook in fields["hooks"]
        ]
        if not fields["ok"]:
            name = fields.get("failed_hook") or (f"handler of {fields['signal']}" if "signal" in fields else "failed")
            ran_ms = fields.get("failed_hook_ms", fields["duration_ms"])  # of the whole phase, where it is not said
            lines.append(f"{who} {_mark(False)} {name:<30} {_duration(ran_ms, budget_ms)}")
        if not lines and "signal" in fields:
            what = f"handler of {fields['signal']}"
            return [f"{who} {_mark(True)} {what:<30} {_duration(fields['duration_ms'], budget_ms)}"]
        return lines or [f"{who} {_mark(True)} no hooks"]

    def _snapshot(self, fields: Mapping[str, Any]) -> list[str]:
        frozen = f"; all processes are stopped for {fields['freeze_s']:g} s" if fields["freeze_s"] else ""
        return [f"the snapshot is taken{frozen}"]

    def _restore(self, _fields: Mapping[str, Any]) -> list[str]:
        return ["the environment is restored; the 10 s limit starts"]

    def _ready(self, fields: Mapping[str, Any]) -> list[str]:
        if "duration_ms" not in fields:
            return ["the runtime asks for its first invocation"]
        return [f"the runtime asks for its first invocation  {_duration(fields['duration_ms'], BUDGET_MS)}"]

    def _invoke(self, fields: Mapping[str, Any]) -> list[str]:
        if "status" not in fields:
            return [f"event {fields['name']}  {_duration(fields['duration_ms'], None)}"]
        status = click.style(str(fields["status"]), fg="green" if fields["ok"] else "red")
        return [f"{fields['method']} {fields['path']}  {status}  {_duration(fields['duration_ms'], None)}"]

    def _shutdown(self, fields: Mapping[str, Any]) -> list[str]:
        how = "all processes ended" if fields["ok"] else "processes did not end in time and were killed"
        return [f"{_mark(fields['ok'])} {how}  {_duration(fields['duration_ms'], None)}"]

    def _notice(self, event: str, fields: Mapping[str, Any], text: str) -> list[str]:
        if event == "not_linked":
            self._names.setdefault(fields["pid"], fields["name"])
        if event in ERROR_CALLS:
            return [f"{_mark(False)} {text}"]
        if event == "waiting" and OTHER_PORT in text and self._port_hint:
            hint, self._port_hint = self._port_hint, ""
            return [f"… {text}", f"  {hint}"]
        return [click.style(f"! {text}", fg="yellow") if event in WARNINGS else f"… {text}"]

    def _tell_trouble(self, trouble: Trouble) -> None:
        self._write("", 0)
        first, *rest = trouble.message.splitlines() or [""]
        self._write(f"{_mark(False)} {click.style(first, fg='red', bold=True)}", 2)
        for line in rest:
            self._write(f"  {line}", 2)
        for line in trouble.stack.rstrip().splitlines():
            self._write(f"    {line}", 6)
        if trouble.seen:
            self._write(f"  On Lambda: {trouble.seen}.", 2)


def _plain(_story: Story, fields: Mapping[str, Any]) -> list[str]:
    return [", ".join(f"{key} {value}" for key, value in fields.items())]


_LINES: dict[str, Callable[[Story, Mapping[str, Any]], list[str]]] = {
    "extension_registered": Story._registered,
    "runtime_started": lambda _story, _fields: [],
    "process_joined": Story._joined,
    "process_signalled": Story._signalled,
    BEFORE_SNAPSHOT: Story._before,
    "snapshot": Story._snapshot,
    "restore": Story._restore,
    AFTER_RESTORE: Story._after,
    "ready": Story._ready,
    "invoke": Story._invoke,
    "shutdown": Story._shutdown,
}


def _reasons(troubles: Sequence[Trouble]) -> str:
    """The first troubles, each on one line."""
    if not troubles:
        return ""
    said = [" ".join(trouble.message.split()) for trouble in troubles[:MAX_REASONS]]
    more = [f"and {len(troubles) - MAX_REASONS} more"] if len(troubles) > MAX_REASONS else []
    return f"; {'; '.join(said + more)}"


def _mark(ok: bool) -> str:
    return click.style("✓", fg="green") if ok else click.style("✗", fg="red", bold=True)


def _duration(duration_ms: float, budget_ms: int | None) -> str:
    share = f"  {100 * duration_ms / budget_ms:5.1f} % of {budget_ms // 1000} s" if budget_ms else ""
    return f"{duration_ms:9.1f} ms{share}"


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
