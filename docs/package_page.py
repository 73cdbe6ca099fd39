"""The README as the project's page on PyPI: a hook of the build. Its links have to be absolute there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class PackagePage(MetadataHookInterface):
    """Sets `readme`, which pyproject.toml therefore calls dynamic."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        root = Path(self.root)
        sys.path.insert(0, str(root / "docs"))
        try:
            import links
        finally:
            sys.path.pop(0)
        text = links.absolute((root / "README.md").read_text(encoding="utf-8"), root, metadata["urls"])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
