"""Whether a function's package brings AWS's hook module along: the one look at the code itself."""

from __future__ import annotations

import re
from pathlib import Path

from snapext_tools.doctor.settings import Bundled, Opaque, Place, Setting

MODULE = "snapshot_restore_py"
_REQUIREMENT = re.compile(r"\s*snapshot[-_.]restore[-_.]py(?![\w.-])", re.IGNORECASE)


def look_into(folder: Path, code: Setting | None) -> Bundled | str | None:
    """What brings the module; None when nothing does; the reason as text when there is no folder to look into.

    folder: where the template is, which a relative path counts from.
    """
    if isinstance(code, Opaque):
        return f"the code is {code.text}, which cannot be read off the template"
    if not code or "://" in code or not (folder / code).is_dir():
        return "the code is not a folder on this machine"
    root = folder / code
    requirements = root / "requirements.txt"
    try:
        lines = requirements.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for number, line in enumerate(lines, 1):
        if _REQUIREMENT.match(line):
            return Bundled(Place(str(requirements), "", number), line.strip())
    for path in (root / MODULE, root / f"{MODULE}.py"):
        if path.exists():
            return Bundled(Place(str(root)), path.name)
    return None
