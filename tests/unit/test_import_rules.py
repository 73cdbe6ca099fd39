"""Which way imports may point, read off the source."""

import ast
import subprocess
import sys

import pytest

from helpers import ROOT, SRC

EXTENSION = ROOT / "extension"
OURS = ("snapext", "snapext_extension", "_snapext_autostart")
APP_SIDE = sorted(
    path for path in (SRC / "snapext").rglob("*.py")
    if not {"cli", "doctor", "simulator"} & set(path.parts) and path.name != "__main__.py"
)  # fmt: skip
PROTOCOL = sorted((SRC / "snapext" / "protocol").glob("*.py"))
EXTENSION_SIDE = sorted(EXTENSION.rglob("*.py"))


def is_type_checking(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def nodes(tree, *, at_import):
    """Every node; with `at_import` only what is executed when the module is imported."""
    pending = [tree]
    while pending:
        node = pending.pop()
        yield node
        if at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        pending += node.orelse if is_type_checking(node) else ast.iter_child_nodes(node)


def imports(path, *, at_import=False):
    """The dotted names that a module imports. `from a import b` counts as a and as a.b, for b may be a module."""
    found = set()
    for node in nodes(ast.parse(path.read_text()), at_import=at_import):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def ours(names):
    return {name for name in names if name.partition(".")[0] in OURS}


def third_party(names):
    return {name for name in names if name.partition(".")[0] not in (*OURS, *sys.stdlib_module_names)}


def within(names, *packages):
    return all(name in packages or name.startswith(tuple(f"{package}." for package in packages)) for name in names)


def named(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda path: str(path.relative_to(ROOT)))


def test_the_rules_see_imports():
    """The rules would notice: what is known to be imported is found, at import time or later."""
    link, registry = SRC / "snapext" / "_link.py", SRC / "snapext" / "_registry.py"

    assert {"threading", "snapext._runner"} <= imports(link, at_import=True)
    assert "snapext._doorbell" in imports(link) - imports(link, at_import=True)
    assert "snapext._link" in imports(registry)
    assert {"click"} == {n.partition(".")[0] for n in third_party(imports(SRC / "snapext" / "cli" / "group.py"))}


BOTTOM = ["errors", "_registry", "_endpoint", "_own", "_notice", "_descriptors", "_primitives"]


@pytest.mark.parametrize("name", BOTTOM)
def test_the_bottom_modules_import_nothing_of_ours(name):
    """`import snapext` pays for these alone, and either side may use them."""
    assert set() == ours(imports(SRC / "snapext" / f"{name}.py", at_import=True))


@named(PROTOCOL)
def test_the_protocol_does_no_io(path):
    """It imports the errors and itself of ours, and neither sockets, tasks, threads, the system nor a clock."""
    names = imports(path)

    assert within(ours(names), "snapext.errors", "snapext.protocol")
    assert not {"socket", "asyncio", "threading", "os", "time", "select"} & {n.partition(".")[0] for n in names}


@named(EXTENSION_SIDE)
def test_the_extension_imports_the_protocol_the_errors_and_the_standard_library(path):
    """Nothing else of ours, and nothing that would have to be installed."""
    names = imports(path)

    shared = ("snapext._descriptors", "snapext._endpoint", "snapext._signals", "snapext.errors", "snapext.protocol")
    assert within(ours(names) - {"snapext"}, *shared, "snapext_extension")
    assert set() == third_party(names)


@named(APP_SIDE)
def test_what_an_app_imports_reaches_nothing_foreign(path):
    """No module of the client imports the command line, the simulator, the extension or a third-party package."""
    names = imports(path)

    assert not [
        name
        for name in ours(names)
        if within([name], "snapext.cli", "snapext.doctor", "snapext.simulator", "snapext_extension")
    ]
    assert third_party(names) <= {"snapshot_restore_py"}
    assert path.name == "_registry.py" or set() == third_party(names)


def test_a_command_inside_a_function_is_light():
    """`snapext checkpoint` and `snapext done` import neither the protocol's messages, nor click, nor sockets."""
    code = "import snapext.cli; from snapext import _checkpoint, _commands; print(*sys.modules)"
    run = f"import sys; sys.path.insert(0, {str(SRC)!r}); {code}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", run], capture_output=True, check=True, text=True)
    loaded = done.stdout.split()

    assert "snapext._commands" in loaded
    assert not {"click", "socket", "dataclasses", "typing", "snapext.protocol", "snapext._link"} & set(loaded)


def test_what_registering_needs_is_light():
    """Before the extension has registered, it imports no more than sockets: each module delays the user's runtime."""
    first = [EXTENSION / "snapext_extension" / name for name in ("__main__.py", "lambda_api.py", "http1.py")]
    names = set().union(*(imports(path, at_import=True) for path in first))

    assert {"os", "sys", "socket"} == {name for name in names if name.partition(".")[0] not in OURS}
