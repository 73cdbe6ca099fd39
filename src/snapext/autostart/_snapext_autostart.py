"""Let an app that never mentions snapext take part: the first import of a hook module links the process.

This runs at the start of every Python process that one of our channels reaches, so it must cost next to nothing: it
puts one finder in place and imports nothing of snapext. The first import of `snapext`, `snapshot_restore_py` or
`snapshot_restore` links the process; with SNAPEXT_INTEGRATIONS, also that of a library that it takes care of. The three
come from here only if nobody else has them.

The channels: `sitecustomize.py` beside this file, by PYTHONPATH; `user-base`, by PYTHONUSERBASE; and the `snapext.pth`
that `snapext layer install` writes for the interpreters of an image. Whichever come, the finder is put in place once.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_FOLDER = os.path.dirname(os.path.abspath(__file__))
_PACKAGE = os.path.dirname(_FOLDER)
_visited: "list[str]" = []  # quoted: older Pythons than ours start with this folder on their path, too
"""Folders of ours whose hidden `sitecustomize` has been looked for. Two copies of us may be on the path."""
_ALIASES = ("snapshot_restore_py", "snapshot_restore")
_LIBRARIES = (
    "aiobotocore",
    "aiohttp",
    "aiomysql",
    "asyncpg",
    "botocore",
    "ddtrace",
    "django",
    "grpc",
    "httpcore",
    "kombu",
    "opentelemetry",
    "psycopg",
    "psycopg2",
    "psycopg_pool",
    "pymongo",
    "pymysql",
    "redis",
    "requests",
    "sentry_sdk",
    "sqlalchemy",
    "urllib3",
)
"""What SNAPEXT_INTEGRATIONS takes care of, as far as it is no part of Python: importing one links the process then."""
_HAS_INTEGRATIONS = (
    os.environ.get("SNAPEXT_INTEGRATIONS", "none") not in ("none", "")
    and os.environ.get("SNAPEXT_MODE") not in ("off", "false")  # as in snapext.guest.own
)
_LINKING = frozenset(("snapext",) + _ALIASES + (_LIBRARIES if _HAS_INTEGRATIONS else ()))


class _LinkingLoader:
    """Load a module with its own loader, then link this process."""

    def __init__(self, loader: "Loader") -> None:
        self._loader = loader

    def create_module(self, spec: "ModuleSpec") -> "ModuleType | None":
        return self._loader.create_module(spec)

    def exec_module(self, module: "ModuleType") -> None:
        # The module must not show that we were here: inspect and pkgutil ask its loader for sources and files.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        try:
            import snapext  # noqa: F401 - it shares its hooks with AWS's module, and links the process if it should be
        except Exception as error:  # the module that the app asked for is there; the app goes on without us
            if os.environ.get("SNAPEXT_LOG_LEVEL") == "debug":
                os.write(2, f"snapext: this process is not linked: {error!r}\n".encode())

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)  # runpy, pkgutil and inspect ask a spec's loader for code and sources


class LinkingFinder:
    """Finds these names as everyone else would, adds the link, and is the last resort for ours that are absent."""

    def __init__(self) -> None:
        self._searching: set[str] = set()

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        if name not in _LINKING or name in self._searching:
            return None
        self._searching.add(name)
        try:
            spec = self._find_elsewhere(name, path, target) or self._last_resort(name)
        finally:
            self._searching.discard(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _LinkingLoader(spec.loader)  # type: ignore[assignment]  # a loader by its two methods
        return spec

    def _find_elsewhere(
        self, name: str, path: "Sequence[str] | None", target: "ModuleType | None"
    ) -> "ModuleSpec | None":
        for finder in sys.meta_path:
            find_spec = getattr(finder, "find_spec", None)
            if finder is not self and find_spec is not None:
                spec: ModuleSpec | None = find_spec(name, path, target)
                if spec is not None:
                    return spec
        return None

    def _last_resort(self, name: str) -> "ModuleSpec | None":
        if name in _LIBRARIES:
            return None
        from importlib.util import spec_from_file_location  # 3 ms, which only this process needs

        if name == "snapext":
            init = os.path.join(_PACKAGE, "__init__.py")
            return spec_from_file_location(name, init, submodule_search_locations=[_PACKAGE])
        snapext = sys.modules.get("snapext")
        if snapext is not None and not hasattr(snapext, "register_after_restore"):
            return None  # snapext itself, half imported, asks whether the real one exists
        return spec_from_file_location(name, os.path.join(_FOLDER, "_snapext_stand_in.py"))


def run_hidden_sitecustomize(folder: str) -> None:
    """Run the `sitecustomize` that Python would have imported without the one in `folder`, as the module of that name.

    It is looked for behind `folder` alone: one before it has run already, and has brought us here. And not where we
    have been: it may itself look for the next one, and find us again.
    """
    if folder in _visited:
        return
    _visited.append(folder)
    places = [os.path.abspath(entry) for entry in sys.path]
    if folder not in places:
        return
    elsewhere = [place for place in places[places.index(folder) + 1 :] if place not in _visited]
    # On the path alone: importlib.machinery has this very class, but its import takes longer than all the rest.
    path_finder = next((finder for finder in sys.meta_path if getattr(finder, "__name__", "") == "PathFinder"), None)
    spec = None if path_finder is None else path_finder.find_spec("sitecustomize", elsewhere)
    if spec is None or spec.loader is None:
        return
    from importlib.util import module_from_spec

    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


def restore_user_site(known_paths: "set[str] | None" = None) -> None:
    """Add the user's own site, in whose place `user-base` was read, as Python would have done without us.

    Called by the .pth file in `user-base`. PYTHONUSERBASE stays, for the Python processes that this one starts.
    """
    import site  # it runs us

    ours, base = site.USER_SITE, os.environ.pop("PYTHONUSERBASE", None)
    site.USER_BASE = site.USER_SITE = None  # worked out anew
    try:
        theirs = site.getusersitepackages()
    finally:
        if base is not None:
            os.environ["PYTHONUSERBASE"] = base
    if ours in sys.path:
        sys.path.remove(ours)
    if os.path.isdir(theirs):
        site.addsitedir(theirs, known_paths)


def _install() -> None:
    if getattr(sys, "_snapext_autostart", False):
        return
    sys._snapext_autostart = True  # type: ignore[attr-defined]
    sys.meta_path.insert(0, LinkingFinder())


_install()
