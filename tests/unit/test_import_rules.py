"""Which way imports may point, read off the source."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest

from helpers import ROOT, SRC

ROOTS = (SRC, ROOT / "extension", ROOT / "layer")
AUTOSTART = "snapext.autostart"
"""Found by Python itself, by name; it is not imported as a part of the package."""
OURS = ("snapext", "snapext_tools", "snapext_extension", "snapext_layer", "_snapext_autostart")

# Each room, and the rooms that its modules may import besides themselves. A room is a folder, or a module on its own.
ARROWS = {
    "snapext.errors": (),
    "snapext.guest": (),
    "snapext.wire": ("snapext.errors", "snapext.guest"),
    "snapext.hooks": ("snapext.guest", "snapext.wire"),
    "snapext.link": ("snapext.errors", "snapext.guest", "snapext.hooks", "snapext.wire"),
    "snapext.command": ("snapext.errors", "snapext.guest", "snapext.wire"),
    "snapext.api": ("snapext.guest", "snapext.hooks", "snapext.link", "snapext.command"),
    "snapext": ("snapext.api", "snapext.guest"),
    "snapext.__main__": ("snapext.command", "snapext_tools"),
    AUTOSTART: ("snapext", "_snapext_autostart"),
    "snapext_extension.boundary": ("snapext.wire",),
    "snapext_extension.kernel": ("snapext.wire", "snapext_extension.boundary", "snapext_extension.reactor"),
    "snapext_extension.log": (),
    "snapext_extension.reserve": (),
    "snapext_extension.reactor": (),
    "snapext_extension.door": ("snapext_extension.reactor",),
    "snapext_extension.config": ("snapext.errors", "snapext.wire", "snapext_extension.log"),
    "snapext_extension.platform": (
        *("snapext.errors", "snapext_extension.boundary", "snapext_extension.config", "snapext_extension.door"),
        *("snapext_extension.log", "snapext_extension.reactor", "snapext_extension.reserve"),
    ),
    "snapext_extension.peers": (
        *("snapext.errors", "snapext.wire", "snapext_extension.boundary", "snapext_extension.door"),
        *("snapext_extension.kernel", "snapext_extension.log", "snapext_extension.reactor"),
    ),
    "snapext_extension": ("snapext.errors", "snapext.wire"),  # the shell: __main__ and extension, over all its rooms
    "snapext_layer": ("snapext.errors",),
    "snapext_tools": (),
    "snapext_tools.doctor": ("snapext.errors", "snapext.wire", "snapext_extension"),
    "snapext_tools.simulator": ("snapext.errors", "snapext.wire", "snapext_extension"),
    "snapext_tools.cli": (
        *("snapext.command", "snapext.errors", "snapext_extension", "snapext_layer"),
        *("snapext_tools.doctor", "snapext_tools.simulator"),
    ),
}
THIRD_PARTY = {
    "snapext_tools": {"click", "psutil", "requests", "urllib3", "yaml"},
    "snapext.hooks.registry": {"snapshot_restore_py"},
}


def module_name(path):
    root = next(root for root in ROOTS if path.is_relative_to(root))
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    module_name(path): path
    for root in ROOTS
    for path in sorted(root.rglob("*.py"))
    if "opt" not in path.relative_to(root).parts
}


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


def imports(name, *, at_import=False):
    """The modules that a module of ours imports: ours by their whole name, others by their first part."""
    found = set()
    for node in nodes(ast.parse(MODULES[name].read_text()), at_import=at_import):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (whole & set(MODULES)) or {node.module}
            found |= {node.module} if not whole <= set(MODULES) else set()
    return {name if name.partition(".")[0] in OURS else name.partition(".")[0] for name in found}


def ours(names):
    return {name for name in names if name.partition(".")[0] in OURS}


def within(name, *packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def room(name):
    """The room of a module: the longest name in the table that contains it; a package's own name is for its files."""
    if within(name, "_snapext_autostart"):
        return name
    found = [entry for entry in ARROWS if within(name, entry)]
    assert found, f"{name} has no room: give it one in ARROWS"
    return max(found, key=len)


def test_the_rules_see_imports():
    """The rules would notice: what is known to be imported is found, at import time or later."""
    link = imports("snapext.link.link", at_import=True)

    assert {"threading", "snapext.hooks.runner", "snapext.wire.messages"} <= link
    assert "snapext.link.doorbell" in imports("snapext.link.link") - link
    assert {"click", "importlib", "snapext_tools.cli"} == imports("snapext_tools.cli.group") - {"__future__"}
    assert room("snapext.link.told") == "snapext.link"
    assert room("snapext_extension.extension") == "snapext_extension"


@pytest.mark.parametrize("name", MODULES)
def test_arrows_point_one_way(name):
    """A module imports its own room and those that the table names, now or later, and no third-party package else."""
    own = room(name)
    allowed = (own, *ARROWS[own]) if own != "snapext" else ARROWS[own]
    found = imports(name)
    foreign = {other for other in found - ours(found) if other not in sys.stdlib_module_names}

    assert {other for other in ours(found) if not within(other, *allowed) and other != own} == set()
    assert foreign <= next((names for prefix, names in THIRD_PARTY.items() if within(name, prefix)), set())


def test_no_module_imports_itself_by_a_detour():
    """No circles, neither at import nor later."""
    graph = {name: {other for other in imports(name) if other in MODULES and other != name} for name in MODULES}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))
    assert len(order) == len(MODULES)


def test_every_room_is_lived_in():
    """The table names nothing that is gone."""
    assert set(ARROWS) == {room(name) for name in MODULES}


def test_the_messages_do_no_io():
    """What reads and writes them imports neither sockets, tasks, threads, the system nor a clock."""
    names = imports("snapext.wire.messages") | imports("snapext.wire.connection")

    assert ours(names) == {"snapext.errors", "snapext.wire.messages"}
    assert not {"socket", "asyncio", "threading", "os", "time", "select"} & names


def test_the_boundary_does_no_io():
    """The machines take time and events as arguments."""
    names = set().union(*(imports(name) for name in MODULES if room(name) == "snapext_extension.boundary"))

    assert not {"socket", "asyncio", "threading", "os", "time", "select"} & names


def test_a_command_inside_a_function_is_light():
    """`snapext checkpoint` and `snapext done` import neither the protocol's messages, nor click, nor sockets."""
    code = "import snapext.__main__, snapext.command.checkpoint; print(*sys.modules)"
    run = f"import sys; sys.path.insert(0, {str(SRC)!r}); {code}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", run], capture_output=True, check=True, text=True)
    loaded = done.stdout.split()

    assert "snapext.command.main" in loaded
    heavy = {"click", "socket", "dataclasses", "typing", "snapext.wire.messages", "snapext.link.link", "snapext_tools"}
    assert not heavy & set(loaded)


def test_what_registering_needs_is_light():
    """Before the extension has registered, it imports no more than sockets: each module delays the user's runtime."""
    first = ("__main__", "platform", "platform.lambda_api", "platform.http1")
    names = set().union(*(imports(f"snapext_extension.{name}", at_import=True) for name in first))

    assert {"os", "sys", "socket"} == names - ours(names) - {"__future__"}
    assert {f"snapext_extension.{name}" for name in first} >= ours(names)
