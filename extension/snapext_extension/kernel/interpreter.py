"""A Python interpreter, seen from outside: what it was started as, and where it looks for packages.

The rules are Python's own (site.py, Modules/getpath.py). Files are read by the functions that the caller gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast

VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.13t", "3.14t")

# By hand: regular expressions take 6 ms to import, and most functions have no other use for them.


def is_python_name(executable: str) -> bool:
    """Whether a program is a Python interpreter, by its file's name. Programs that embed one are not."""
    return _python_version(file_name(executable)) is not None


def _python_version(name: str) -> str | None:
    """What follows `python` or `pypy` in a name, as in python3.12t-dbg: a version, or nothing; None for other names."""
    family = next((family for family in ("python", "pypy") if name.startswith(family)), None)
    if family is None:
        return None
    version = name[len(family) :]
    version = version.removesuffix("-dbg") if version.endswith("-dbg") else version.removesuffix("d")
    major, dot, minor = version.partition(".")
    if not dot:
        return version if major in ("", "2", "3") else None
    if major == "3":
        minor = minor.removesuffix("t")
    return version if major in ("2", "3") and minor.isdecimal() else None


class Interpreter:
    """One interpreter that runs. The arguments are those of `channels.why_unlinked`.

    options: its own, by their letters. program: the path by which it calls itself, None if that is not known. venv: its
    virtual environment. venv_is_closed: it has one, which does not show the system's packages.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str],
        executable: str,
        exists: Callable[[str], bool],
        read: Callable[[str], str | None],
    ) -> None:
        self._environ, self._exists, self._read = environ, exists, read
        self._executable = executable.removesuffix(" (deleted)")
        self.name = file_name(executable)
        self.options = _options(argv)
        self.ignores_environment = bool(self.options & {"E", "I"})
        self.program = self._find_program(argv[0])
        self.venv = self._find_venv()
        self.venv_is_closed = self.venv is not None and not self._shows_system_site(self.venv)

    def site_folders(self) -> Iterator[str]:
        """The folders whose .pth files it reads, but for the user site."""
        prefixes = [] if self.venv is None else [self.venv]
        if not self.venv_is_closed:
            prefixes.append(parent(parent(self._executable)))
        home = "" if self.ignores_environment else self._environ.get("PYTHONHOME", "")
        prefixes += [prefix for prefix in home.split(":") if prefix]
        for prefix in prefixes:
            yield from self._site_folders_in(prefix)

    def lib_names(self) -> tuple[str, ...]:
        """The names of its folder below lib; more than one where its file does not say its version."""
        version = _python_version(self.name)
        if version is not None and "." in version:
            return (f"{'pypy' if self.name.startswith('pypy') else 'python'}{version}",)
        return tuple(f"python{version}" for version in VERSIONS)

    def sitecustomize_in(self, entry: str) -> str | None:
        """The sitecustomize in an entry of PYTHONPATH; None for a relative entry, which we cannot follow."""
        if not entry.startswith("/"):
            return None
        names = ("sitecustomize/__init__.py", "sitecustomize.py", "sitecustomize.pyc")
        paths = [f"{entry.rstrip('/')}/{name}" for name in names]
        return next((path for path in paths if self._exists(path)), None)

    def may_run_the_next(self, path: str) -> bool:
        """Whether a sitecustomize may run the next one on the path, which it hides. Those of ddtrace and newrelic do.

        To look for another one, it has to name it: by `sitecustomize`, or by its own `__name__`.
        """
        source = None if path.endswith(".pyc") else self._read(path)
        if source is None:
            return True
        import ast  # 3 ms, and hardly any function needs it

        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            return False  # Python cannot run it either
        except (RecursionError, MemoryError):
            return True  # nested too deeply for us, which says nothing of what it runs
        return any("sitecustomize" in word or word in ("__name__", "__spec__") for word in _words(tree))

    def _find_program(self, name: str) -> str | None:
        """A link is not followed, so that a virtual environment is found."""
        if name.startswith("/"):
            return name
        if "/" in name:  # from its working directory: where the shell that started it says that it was
            folders = [self._environ.get(variable, "") for variable in ("PWD", "LAMBDA_TASK_ROOT")]
        else:
            folders = self._environ.get("PATH", "").split(":")
        paths = [f"{folder.rstrip('/')}/{name}" for folder in folders if folder.startswith("/")]
        found = next((path for path in paths if self._exists(path)), None)
        return found if found is not None or "/" in name else self._executable

    def _find_venv(self) -> str | None:
        if self.program is None:
            return None
        folder = parent(self.program)
        return next((place for place in (folder, parent(folder)) if self._exists(f"{place}/pyvenv.cfg")), None)

    def _shows_system_site(self, venv: str) -> bool:
        text = self._read(f"{venv}/pyvenv.cfg") or ""
        settings = (line.partition("=") for line in text.lower().splitlines())
        return ("include-system-site-packages", "true") in ((key.strip(), value.strip()) for key, _, value in settings)

    def _site_folders_in(self, prefix: str) -> Iterator[str]:
        for name in self.lib_names():
            yield f"{prefix}/lib/{name}/site-packages"
            yield f"{prefix}/lib64/{name}/site-packages"
            if prefix == "/usr":  # Debian's own
                yield f"/usr/local/lib/{name}/dist-packages"
                yield "/usr/lib/python3/dist-packages"


def _options(argv: Sequence[str]) -> set[str]:
    """The interpreter's own options, by their letters. What comes behind -c, -m or the script is the program's."""
    found: set[str] = set()
    words = iter(argv[1:])
    for word in words:
        if not word.startswith("-") or word in ("-", "--"):
            break
        if word.startswith("--"):
            if word == "--check-hash-based-pycs":
                next(words, None)
            continue
        for position, letter in enumerate(word[1:], start=2):
            if letter in "cm":
                return found
            if letter in "WX":  # the value is the rest of the word, or the next one
                if position == len(word):
                    next(words, None)
                break
            found.add(letter)
    return found


def _words(tree: ast.Module) -> Iterator[str]:
    """Every name and string of a source, but its docstring and comments."""
    import ast

    body = tree.body
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    for node in (inner for statement in body for inner in ast.walk(statement)):
        for _, value in ast.iter_fields(node):
            if isinstance(value, str):
                yield value


def file_name(path: str) -> str:
    return path.removesuffix(" (deleted)").rpartition("/")[2]


def parent(path: str) -> str:
    return path.rpartition("/")[0]
