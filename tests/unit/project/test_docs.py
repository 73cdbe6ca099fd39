"""The documents agree with the code."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from docs import architecture
from snapext_extension.config import DEFAULT_PORT, KNOWN

ROOT = Path(__file__).resolve().parents[3]


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


def test_the_readme_lists_every_setting_and_no_other() -> None:
    """One table of variables, and it is complete."""
    _, _, section = (ROOT / "README.md").read_text().partition("\n## Configuration\n")
    section = section.partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `(SNAPEXT_\w+)` \|", section, re.MULTILINE)) == sorted(KNOWN)
    assert f"`{DEFAULT_PORT}`" in section
