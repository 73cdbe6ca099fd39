"""The documents agree with the code."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

import pytest

from docs import architecture, links
from lifecycle_driver import Driver, settings
from snapext_extension.boundary.actions import Report
from snapext_extension.boundary.events import RestoreReturned
from snapext_extension.config import DEFAULT_PORT, KNOWN
from snapext_extension.log import Log

ROOT = Path(__file__).resolve().parents[3]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$|``.*?``|`[^`]*`", re.MULTILINE | re.DOTALL)


def test_the_lifecycles_document_is_drawn_from_the_table() -> None:
    """After a change: python docs/lifecycle.py."""
    spec = importlib.util.spec_from_file_location("lifecycle_document", ROOT / "docs" / "lifecycle.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "lifecycle.md").read_text() == module.document()


def test_the_architectures_picture_is_drawn_from_the_imports() -> None:
    """After a change: python docs/architecture.py."""
    assert (ROOT / "docs" / "architecture.md").read_text() == architecture.document()


def test_the_architectures_table_has_every_room() -> None:
    """And no other: docs/architecture.py has those that may import each other."""
    _, _, section = (ROOT / "docs" / "architecture.md").read_text().partition("\n## The rooms\n")
    rows = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    assert sorted(re.findall(r"`([\w.]+)`", " ".join(rows))) == sorted(architecture.ARROWS)


def test_one_page_lists_every_setting_and_no_other() -> None:
    """One table of variables, and it is complete."""
    _, _, section = (ROOT / "docs" / "configuration.md").read_text().partition("\n## The variables\n")
    section = section.partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `(SNAPEXT_\w+)` \|", section, re.MULTILINE)) == sorted(KNOWN)
    assert f"`{DEFAULT_PORT}`" in section


def test_the_menu_of_the_site_has_every_page() -> None:
    """`make docs` fails otherwise: add a line to nav in mkdocs.yml."""
    menu = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    pages = {page.name for page in (ROOT / "docs").glob("*.md")}
    above = {name for original, name in links.ABOVE.items() if (ROOT / original).exists()}
    assert sorted(re.findall(r": ([\w-]+\.md)$", menu, re.MULTILINE)) == sorted(pages | above)


@pytest.mark.parametrize("page", ["README.md", "docs/operating.md"])
def test_the_two_lines_of_the_log_are_those_of_a_life(page: str) -> None:
    """A person looks for them in the log of the real function."""
    driver = Driver(settings())
    key = driver.join()
    driver.app_ready_and_settled()
    driver.done(key)
    driver.handle(RestoreReturned(200, ""))
    driver.done(key)
    read, write = os.pipe()
    log = Log("info", write)
    for report in driver.log:
        if isinstance(report, Report):
            log.write(report.level, report.event, **report.fields)
    log.close()
    os.close(write)
    with open(read) as lines:
        said = lines.read()
    (shown,) = re.findall(r"```json\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert re.sub(r"[\d.]+", "0", shown) == re.sub(r"[\d.]+", "0", said)


def test_every_link_of_a_page_leads_to_a_file_and_a_heading() -> None:
    """In the README, beside it, in docs and in the examples: as GitHub follows them, with its anchors."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.md")]
    assert len(pages) > 20
    broken = [f"{page.relative_to(ROOT)}: {link}" for page in pages for link in links_of(page) if not leads(page, link)]
    assert broken == []


def links_of(page: Path) -> list[str]:
    """The relative links of a page."""
    return [link for link in LINK.findall(CODE.sub("`code`", page.read_text())) if "://" not in link]


def leads(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path) if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


def anchors(page: Path) -> set[str]:
    """Of its headings: small letters and digits, hyphens for spaces, and nothing of the rest."""
    if page.is_dir():
        page = page / "README.md"
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
