"""Whether a function's package contains AWS's hook module: only this check reads the code itself."""

from __future__ import annotations

import re
from pathlib import Path

from snapext_tools.doctor.settings import Bundled, Opaque, Place, Setting

MODULE = "snapshot_restore_py"
_REQUIREMENT = re.compile(r"\s*snapshot[-_.]restore[-_.]py(?![\w.-])", re.IGNORECASE)


def look_into(folder: Path, code: Setting | None) -> Bundled | str | None:
    """Where the package has the module; None when it has none; the reason as text when there is no folder to read.

    folder: the template's folder; a relative path starts there.
    """
    if isinstance(code, Opaque):
        return f"the code is {code.text}, and the template does not give its value"
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
