"""Where a link of the README or of a page leads to, outside of a clone: on PyPI, and on the docs site.

In a clone all links are relative: they work on the host of the repository, and in an editor. The two addresses of the
project stand in pyproject.toml, [project.urls], and nowhere else.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from pathlib import Path

ABOVE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Pages of the site that stand above docs, each by its name there."""

_CODE = r"^```.*?^```$|``.*?``|`[^`]*`"
_CODE_OR_LINK = re.compile(rf"{_CODE}|(?<=\]\()(?P<link>[^)\s]+)", re.MULTILINE | re.DOTALL)


def rewrite(text: str, change: Callable[[str], str]) -> str:
    """`text` with the path of each relative link changed. Code stays as it is, and so do links within the page."""

    def one(found: re.Match[str]) -> str:
        link = found["link"]
        if link is None or "://" in link or link.startswith("#"):
            return found[0]
        path, hash_sign, anchor = link.partition("#")
        return change(path) + hash_sign + anchor

    return _CODE_OR_LINK.sub(one, text)


def absolute(text: str, root: Path, urls: Mapping[str, str]) -> str:
    """A page that stands in the root, for a place that has no other file of ours."""

    def change(path: str) -> str:
        page = on_site(path)
        if page is None:
            return in_repository(path, root, urls["Repository"])
        folder = re.sub(r"^index\.md$", "", page)
        return urls["Documentation"].rstrip("/") + "/" + re.sub(r"\.md$", "/", folder)

    return rewrite(text, change)


def on_site(path: str) -> str | None:
    """The page or picture of the site that a file, named by its path from the root, has become, or None."""
    if path in ABOVE:
        return ABOVE[path]
    return path.removeprefix("docs/") if path.startswith("docs/") and not path.endswith(".py") else None


def in_repository(path: str, root: Path, repository: str) -> str:
    """The address of a file or a folder, named by its path from the root, on the host of the repository."""
    kind = "tree" if (root / path).is_dir() else "blob"
    return f"{repository.rstrip('/')}/{kind}/HEAD/{posixpath.normpath(path)}"
