"""What the environments of a run share: the installed layer with an adapter beside it, the interpreter, the apps."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from pathlib import Path

from snapext.errors import SnapextError
from snapext_layer.tree import layer_tree
from snapext_layer.write import install
from snapext_tools.simulator.folder import ADAPTER, BUILTIN_ADAPTERS, _adapter_script, _write_launcher

APPS = Path(__file__).parent / "apps"
REAL = "0.9.1"
"""A released adapter before 1.1; newer ones than 1.0.0-rc1 cannot be had from a package registry."""
STAND_IN = "builtin-1.1"
BARE = "bare"
"""An adapter from 1.1 on at its cheapest: bench/apps/bare_adapter.py."""

_TOOLS = Path(
    os.environ.get("SNAPEXT_TOOLS") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "snapext"
)


class BenchError(SnapextError):
    """A benchmark cannot be run. The text is one line that says what is in the way."""


class Stage:
    """Folders below `root`, made when they are first asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lives = 0
        self._precompiled: set[Path] = set()
        # The interpreter itself and not the virtual environment's: what the layer's launcher would find on Lambda.
        self.python = str(Path(sys.executable).resolve())
        self.path = f"{Path(self.python).parent}:/usr/bin:/bin"
        self.app_python = sys.executable
        self.apps = APPS

    @property
    def layer(self) -> Path:
        """The installed layer on its own: what is under /opt on Lambda."""
        return self.opt(None, with_snapext=True)

    def opt(self, adapter: str | None, *, with_snapext: bool) -> Path:
        """An /opt with an adapter in it, or snapext, or both."""
        root = self.root / f"{adapter}-{'with' if with_snapext else 'without'}-snapext"
        opt = root / "opt"
        if not root.exists():
            root.mkdir()
            if with_snapext:
                install(layer_tree([self.python]), root)
                self._precompiled |= {*root.rglob("*.pyc")}
            (opt / "extensions").mkdir(parents=True, exist_ok=True)
            if adapter is not None:
                self._add(adapter, opt / "extensions" / ADAPTER)
        return opt

    def forget_compiled(self) -> None:
        """Remove what a life has compiled below an /opt: on Lambda it is read-only, and each life compiles anew."""
        for path in self.root.glob("*-with-snapext/opt/**/*.pyc"):
            if path not in self._precompiled:
                path.unlink(missing_ok=True)

    def new_folder(self) -> Path:
        """A folder for one life. Its name is short: a socket's path may have 107 bytes."""
        self._lives += 1
        folder = self.root / str(self._lives)
        folder.mkdir()
        return folder

    def environ(self, **variables: str) -> dict[str, str]:
        """A clean environment: nothing of the caller's that Python, snapext or an adapter would listen to."""
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, "PATH": self.path, **variables}

    def _add(self, adapter: str, target: Path) -> None:
        if adapter in BUILTIN_ADAPTERS:
            _write_launcher(str(target), _adapter_script(adapter))
        elif adapter == BARE:
            script = shlex.join([self.python, "-I", "-S", str(APPS / "bare_adapter.py")])
            # What the extension reads off a file of this kind.
            marks = "# /runtime/restore/next, and AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH"
            _write_launcher(str(target), f"{marks}\nexec {script}")
        else:
            target.symlink_to(adapter_binary(adapter))


def adapter_binary(version: str) -> Path:
    """A real web adapter, from the cache that `.ci/e2e-tools` fills."""
    path = _TOOLS / f"lwa-{version}" / "bin" / "lambda-adapter"
    if not path.exists():
        raise BenchError(f"{path} is missing: `make bench` builds it, or `.ci/e2e-tools {sys.executable}`")
    return path


def has_awslambdaric() -> bool:
    """Whether AWS's own runtime client is there: it has no wheel for some interpreters."""
    return importlib.util.find_spec("awslambdaric") is not None
