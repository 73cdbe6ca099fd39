"""The page of a life, as text: what it says, and that nothing which an app says is markup."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from helpers import for_each
from snapext_tools.simulator.report.page import page_of
from snapext_tools.simulator.report.words import duration, shown
from told_lives import HOSTILE, document, error, event, hostile, process, ran, until_restore, whole


class Read(HTMLParser):
    """The elements of a page, and the text that is there without a hover."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "!doctype"):
            self.open.append((tag, dict(attrs).get("class")))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if not {("style", None), ("span", "tip")} & {*self.open}:
            self.text += data


def test_the_page_says_what_happened_without_a_hover() -> None:
    """The verdict, the facts, each process with its hooks, and the answers."""
    text = Read(page_of(whole(11, 12))).text
    for words in ("✓ OK", "The life of gunicorn", "gunicorn app:app", "13.0 ms", "0.13 % of 10 s", "frozen 1.00 s"):
        assert words in text
    assert text.count("app.reconnect2.00 ms") == 2
    assert "GET /health 200 4.00 ms" in text
    assert '{"ok":true}' in text
    assert text.count("started 0.500 s · joined 0.91") == 2


def test_a_failure_stands_first_with_its_stack_and_is_linked_from_its_lane() -> None:
    """And says what Lambda's users would have seen."""
    failed = ran(3203.0, "after_restore", 1, ok=False, failed_hook="app.b", failed_hook_ms=0.5)
    said = error(
        3203.1, "after_restore", 1, "app.b", stack="Traceback:\n  app.py, line 3", seen="each invocation fails"
    )
    page = Read(page_of(document([*until_restore(1), failed], [process(1)], [said])))
    assert "✗ FAILED" in page.text
    assert page.text.index("Traceback:\n  app.py, line 3") < page.text.index("Timeline")
    assert "after_restore · process 1 (gunicorn) · hook app.b · at 3.203 s" in page.text
    assert "On Lambda: each invocation fails." in page.text
    assert {attrs["class"] for tag, attrs in page.tags if attrs.get("href") == "#failure-1"} == {"badge", "hook bad"}
    assert [tag for tag, attrs in page.tags if attrs.get("id") == "failure-1"] == ["article"]


def test_what_an_app_says_is_text_and_never_markup() -> None:
    """Wherever it stands; every element is ours, each is closed, and none can fetch or run anything."""
    text = page_of(hostile())
    text.encode("utf-8")
    page = Read(text)
    assert page.open == []
    ours = {"a", "article", "b", "body", "br", "code", "dd", "details", "div", "dl", "dt", "em", "footer", "h1", "h2"}
    ours |= {"h3", "head", "header", "html", "i", "li", "main", "meta", "ol", "p", "pre", "section", "small", "span"}
    ours |= {"style", "summary", "table", "td", "th", "title", "tr", "ul", "tbody"}
    assert {tag for tag, _ in page.tags} <= ours
    attributes = {name for _, attrs in page.tags for name in attrs}
    assert attributes <= {
        *("class", "id", "style", "href", "tabindex", "role", "aria-label", "aria-hidden", "scope", "open", "lang"),
        *("charset", "http-equiv", "content", "name"),
    }
    assert {attrs["href"] for _, attrs in page.tags if "href" in attrs} <= {"#failure-1", "#failure-2"}
    visible = HOSTILE.replace("\u202e", "\\u202e").replace("\x00", "\\x00").replace("\udce9", "\\udce9")
    assert page.text.count(visible) > 10


def test_the_page_lets_a_browser_fetch_and_run_nothing() -> None:
    """By its policy, and by what is in it."""
    text = page_of(whole(1))
    assert "default-src 'none'; style-src 'unsafe-inline'" in text
    assert "url(" not in text
    assert "@import" not in text
    assert "http:" not in text.replace('http-equiv="', "")


def test_a_life_without_snapext_is_not_judged() -> None:
    """As the story says."""
    text = Read(page_of({**whole(), "mode": "without snapext"})).text
    assert "NOT JUDGED" in text
    assert "OK" not in text


@pytest.mark.parametrize("told", [{}, {"ok": False, "errors": [error(None, "usage", message="no such option")]}])
def test_wrong_usage_and_a_life_that_never_began_have_a_page_too(told: dict) -> None:
    """Without a timeline."""
    text = Read(page_of(told)).text
    assert "A life that did not begin" in text
    assert "✗ FAILED" in text
    assert "Timeline" not in text


def test_lists_of_very_many_hooks_are_closed_at_first_and_a_long_answer_is_cut() -> None:
    """The page stays readable: many hooks are one bar, and the one that failed is another."""
    hooks = [(f"app.h{number}", 9.0 if number == 7 else 0.01) for number in range(200)]
    many = [ran(2000.0, "before_snapshot", 1, *hooks, ok=False, failed_hook="app.last", failed_hook_ms=1.0)]
    long = event(3000.0, "invoke", name="sqs.json", ok=True, duration_ms=1.0, body="b" * 9000)
    page = Read(page_of(document([*many, long], [process(1)])))
    assert not any("open" in attrs for tag, attrs in page.tags if tag == "details")
    assert f"{'b' * 4000}… (9000 characters)" in page.text
    assert "event sqs.json" in page.text
    said = [attrs["aria-label"] for _, attrs in page.tags if str(attrs.get("class")).startswith("hook")]
    assert len(said) == 2
    assert str(said[0]).startswith("200 hooks; 11.0 ms")
    assert str(said[0]).endswith("slowest: app.h7 9.00 ms, app.h0 10 µs, app.h1 10 µs")
    assert str(said[1]).startswith("app.last failed; 1.00 ms")


@for_each(
    "ms, said",
    [
        (0.0, "0 µs"),
        (0.069, "69 µs"),
        (0.9999, "1.00 ms"),
        (9.999, "10.0 ms"),
        (12.995, "13.0 ms"),
        (99.96, "100 ms"),
        (999.6, "1.00 s"),
        (6273.786, "6.27 s"),
        (3_600_000, "3600 s"),
    ],
)
def test_a_time_has_three_digits_and_the_unit_that_reads_best(ms: float, said: str) -> None:
    """Also where rounding makes it the next unit."""
    assert duration(ms) == said


def test_text_keeps_its_letters_and_shows_what_cannot_be_seen() -> None:
    """A name in any alphabet is fine; a control character is not."""
    assert shown("größe 東京\n\t") == "größe 東京\n\t"
    assert shown("\x1b[31m\u2066") == "\\x1b[31m\\u2066"
    assert shown("<b a='\"'>&") == "&lt;b a=&#x27;&quot;&#x27;&gt;&amp;"
