"""The page of a life: one file that needs nothing else, and from which a browser may fetch nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snapext_tools.simulator.report import sections
from snapext_tools.simulator.report.chart import chart
from snapext_tools.simulator.report.life import life_of
from snapext_tools.simulator.report.parts import Life
from snapext_tools.simulator.report.words import shown

_STYLE = Path(__file__).with_name("page.css")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The page has neither scripts nor pictures. Whatever an app writes, a browser runs and fetches nothing."""


def page_of(document: Mapping[str, Any]) -> str:
    """HTML, in characters that UTF-8 knows."""
    life = life_of(document)
    parts = (
        sections.head(life),
        sections.failures(life),
        _timeline(life),
        sections.hooks(life),
        sections.requests(life),
        sections.notes(life),
    )
    verdict = sections.verdict_of(life)
    style = _STYLE.read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{verdict}: {shown(sections.title_of(life))}</title>"
        f"<style>{style}</style></head>\n"
        f"<body><main>{''.join(parts)}<footer>Made by snapext simulate.</footer></main></body></html>\n"
    )


def _timeline(life: Life) -> str:
    rows = chart(life)
    if not rows:
        return ""
    hint = "Each chapter has its own scale: a restore takes milliseconds, init takes seconds."
    return f'<section><h2>Timeline</h2><p class="hint">{hint}</p><div class="panel">{rows}</div></section>'
