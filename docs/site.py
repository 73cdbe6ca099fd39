"""The docs site, as far as mkdocs.yml cannot say it: hooks of MkDocs (`make docs`).

The README and the files beside it are pages, too. Links to what is not on the site lead to the repository. A drawing
becomes a table: drawing it would need a script from another host, and no page may need one.
"""

from __future__ import annotations

import posixpath
import re
import tomllib
from pathlib import Path
from typing import Any

import links  # beside this file: MkDocs looks there
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
URLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
DRAWING = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LOADED = re.compile(r"<(?:script|img|iframe)\b[^>]+\bsrc=\W?(?:https?:)?//[^>]+|<link[^>]+\bstylesheet\b[^>]+//[^>]+")
"""What a browser would fetch from another host."""
PICTURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<name>[\w/-]+)\.png\)")
WIDE = re.compile(r"^\|(?: *-+ *\|){5}", re.MULTILINE)
"""A table of five columns or more."""
FROM_ABOVE = {name: original for original, name in links.ABOVE.items()}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    config.site_url = URLS["Documentation"]
    config.repo_url = URLS["Repository"]
    config.repo_name = "source"
    config.edit_uri = None
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for original, name in links.ABOVE.items():
        if (ROOT / original).exists():
            files.append(File.generated(config, name, content=(ROOT / original).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    here = page.file.src_uri
    folder = "." if here in FROM_ABOVE else "docs"

    def change(link: str) -> str:
        path = posixpath.normpath(posixpath.join(folder, link))
        if not (ROOT / path).exists():
            return link  # MkDocs says on which page it stands
        return links.on_site(path) or links.in_repository(path, ROOT, URLS["Repository"])

    if WIDE.search(markdown) or "\n## " not in markdown:
        page.meta["hide"] = ["toc"]  # its column goes to the rest
    return PICTURE.sub(both_pictures, DRAWING.sub(as_table, links.rewrite(markdown, change)))


def both_pictures(picture: re.Match[str]) -> str:
    """A picture that there is for the dark as well: the theme shows the one that fits."""
    dark = picture["name"] + "-dark.png"
    if not (ROOT / "docs" / dark).exists():
        return picture[0]
    return f"![{picture['alt']}]({picture['name']}.png#only-light)![{picture['alt']}]({dark}#only-dark)"


def as_table(drawing: re.Match[str]) -> str:
    """What each part of a flowchart imports. A diagram of states has its table below it on the page."""
    text = drawing[1]
    if not text.startswith("flowchart"):
        return ""
    names = dict(re.findall(r"(\w+)\[\"(.+?)\"\]", text))
    rows = []
    for group, parts in re.findall(r"subgraph \w+\[\"(.+?)\"\]\n(.*?)\n    end", text, re.DOTALL):
        rows.append(f"| **{group}** | |")
        for part, name in re.findall(r"(\w+)\[\"(.+?)\"\]", parts):
            imports = [f"`{names[to]}`" for to in re.findall(rf"^    {part} --> (\w+)$", text, re.MULTILINE)]
            rows.append(f"| `{name}` | {', '.join(imports)} |")
    if not rows:
        raise PluginError("a drawing has no parts: docs/architecture.py writes it otherwise than docs/site.py reads it")
    return "\n".join(["| part | imports |", "| --- | --- |", *rows])


def on_post_page(output: str, page: Page, **_: Any) -> str:
    if found := LOADED.search(output):
        raise PluginError(f"{page.file.src_uri} would load {found[0]}: every page has to stand on its own")
    return output
