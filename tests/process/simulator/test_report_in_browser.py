"""The page of a life as a person sees it: in a real browser, on a telephone and on a desk, by day and by night."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser

from snapext_tools.simulator.report.page import page_of
from told_lives import HOSTILE, hostile, whole

# What lies outside of the window, the lanes, the failures, and what reads badly. A scrolling box may be wider inside.
LOOK = """(() => {
  const wide = element => {
    const box = element.getBoundingClientRect();
    return box.width > 0 && (box.left < -0.5 || box.right > innerWidth + 0.5) && !element.closest("pre > *");
  };
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const known = new Map();
  const rgba = colour => {
    if (!known.has(colour)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      known.set(colour, canvas.getImageData(0, 0, 1, 1).data);
    }
    return known.get(colour);
  };
  const behind = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((under, [r, g, b, a]) =>
      [r, g, b].map((value, i) => value * a / 255 + under[i] * (1 - a / 255)), [255, 255, 255]);
  };
  const light = colour => {
    const [r, g, b] = [...colour].slice(0, 3).map(value => value / 255)
      .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const text = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (walker.currentNode.data.trim() && element.getClientRects().length) text.push(element);
  }
  const bars = [...document.querySelectorAll(".hook, .call")];
  const outside = [...document.querySelectorAll("body *")].filter(wide).map(element => element.outerHTML.slice(0, 200));
  const tips = [];
  for (const mark of document.querySelectorAll(".chart [tabindex], .chart a")) {
    mark.focus();
    const tip = mark.querySelector(":scope > .tip");
    if (mark.matches(".badge")) continue;
    const box = tip.getBoundingClientRect();
    tip.style.pointerEvents = "auto"; // to find it where it is
    const seen = [0.1, 0.3, 0.5, 0.7, 0.9].every(part =>
      tip.contains(document.elementFromPoint(box.left + part * box.width, box.top + box.height / 2)));
    if (!seen || !tip.textContent || wide(tip)) tips.push(mark.outerHTML.slice(0, 200));
  }
  document.activeElement.blur();
  return {
    scroll: document.documentElement.scrollWidth - innerWidth,
    outside, tips,
    marks: document.querySelectorAll(".chart [tabindex]").length,
    lanes: [...document.querySelectorAll(".lane .label span")].map(e => e.textContent),
    failures: [...document.querySelectorAll(".failure")].map(e => e.id),
    red: document.querySelectorAll(".lane .hook.bad").length,
    pale: text.filter(e => contrast(rgba(getComputedStyle(e).color), behind(e)) < 4.5)
      .map(e => e.outerHTML.slice(0, 200)),
    faint: bars.filter(e => contrast(rgba(getComputedStyle(e).backgroundColor), behind(e.closest(".panel"))) < 3)
      .map(e => e.outerHTML.slice(0, 200)),
    dark: light(behind(document.body)) < 0.2,
    foreign: document.querySelectorAll("script, img, iframe, link, object, embed, svg, form").length,
    hacked: typeof hacked, title: document.title,
  };
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


def look(browser: Browser, path: Path, width: int, scheme: str) -> dict[str, Any]:
    """What a page looks like; whatever it shows, it fits, can be read and reached, and asks for nothing."""
    browser.show(path, width, scheme)
    seen: dict[str, Any] = browser.run(LOOK)
    assert browser.requests == [path.as_uri()]
    assert browser.complaints == []
    assert (seen["scroll"], seen["outside"]) == (0, [])
    assert (seen["tips"], seen["pale"], seen["faint"]) == ([], [], [])
    assert (seen["foreign"], seen["hacked"]) == (0, "undefined")
    assert seen["dark"] is (scheme == "dark")
    return seen


@pytest.mark.parametrize("width", [390, 1400])
def test_a_life_can_be_read_on_a_telephone_and_on_a_desk_in_both_schemes(
    width: int, browser: Browser, tmp_path: Path
) -> None:
    """Each process has a lane and each failure its place; hostile text is text; no request leaves the page."""
    well, ill = tmp_path / "well.html", tmp_path / "ill.html"
    well.write_text(page_of(whole(11, 12, 13, 14)))
    ill.write_text(page_of(hostile()))
    for scheme in ("light", "dark"):
        seen = look(browser, well, width, scheme)
        assert seen["lanes"] == ["11", "12", "13", "14"]
        assert (seen["failures"], seen["red"]) == ([], 0)
        assert seen["marks"] == 6 + 2 + 4 * 4
        seen = look(browser, ill, width, scheme)
        assert seen["lanes"] == ["1", "2", "9"]
        assert (seen["failures"], seen["red"]) == (["failure-1", "failure-2"], 1)
        assert seen["title"] == "FAILED: The life of title><img src=x>"
        assert HOSTILE[:40] in browser.run("document.querySelector('.command').textContent")
