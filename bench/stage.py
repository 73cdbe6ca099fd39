"""The shared parts of a run's environments: the installed layer beside an adapter, the interpreter, the apps."""

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
"""A released adapter before 1.1; package registries have none newer than 1.0.0-rc1."""
STAND_IN = "builtin-1.1"
BARE = "bare"
"""An adapter from 1.1 on at its cheapest: bench/apps/bare_adapter.py."""

_TOOLS = Path(
    os.environ.get("SNAPEXT_TOOLS") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "snapext"
)


class BenchError(SnapextError):
    """A benchmark cannot run. The text is one line that says why."""


class Stage:
    """Folders below `root`, made on first use."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lives = 0
        self._precompiled: set[Path] = set()
        # The interpreter itself, not the virtual environment's: the layer's launcher would find this one on Lambda.
        self.python = str(Path(sys.executable).resolve())
        self.path = f"{Path(self.python).parent}:/usr/bin:/bin"
        self.app_python = sys.executable
        self.apps = APPS

    @property
    def layer(self) -> Path:
        """The installed layer alone, as under /opt on Lambda."""
        return self.opt(None, with_snapext=True)

    @property
    def uncompiled(self) -> Path:
        """The same, of a layer that was not built with this interpreter."""
        root = self.root / "uncompiled-snapext"
        if not root.exists():
            root.mkdir()
            install(layer_tree(), root)
        return root / "opt"

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
        """Remove the files that a life compiled below an /opt: Lambda's is read-only, so each life compiles anew."""
        for path in self.root.glob("*-with-snapext/opt/**/*.pyc"):
            if path not in self._precompiled:
                path.unlink(missing_ok=True)

    def new_folder(self) -> Path:
        """A folder for one life. Its name is short: a socket's path has at most 107 bytes."""
        self._lives += 1
        folder = self.root / str(self._lives)
        folder.mkdir()
        return folder

    def environ(self, **variables: str) -> dict[str, str]:
        """A clean environment, without any variable of the caller that Python, snapext or an adapter would read."""
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, "PATH": self.path, **variables}

    def _add(self, adapter: str, target: Path) -> None:
        if adapter in BUILTIN_ADAPTERS:
            _write_launcher(str(target), _adapter_script(adapter))
        elif adapter == BARE:
            script = shlex.join([self.python, "-I", "-S", str(APPS / "bare_adapter.py")])
            # The extension looks for this text in an adapter's file.
            marks = "# /runtime/restore/next, and AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH"
            _write_launcher(str(target), f"{marks}\nexec {script}")
        else:
            target.symlink_to(adapter_binary(adapter))


def adapter_binary(version: str) -> Path:
    """A real web adapter, from the cache of `.ci/e2e-tools`."""
    path = _TOOLS / f"lwa-{version}" / "bin" / "lambda-adapter"
    if not path.exists():
        raise BenchError(f"{path} is missing: `make bench` builds it, or `.ci/e2e-tools {sys.executable}`")
    return path


def has_awslambdaric() -> bool:
    """Whether AWS's own runtime client is installed: some interpreters have no wheel of it."""
    return importlib.util.find_spec("awslambdaric") is not None
