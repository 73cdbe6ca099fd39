"""Write docs/architecture.md's picture from the code's own imports: `python docs/architecture.py`.

ARROWS is the table of the rooms, and of what each may import; tests/unit/project/test_import_rules.py holds the code to
it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeGuard

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
TARGET = Path(__file__).with_suffix(".md")
BEGIN, END = "<!-- drawn by docs/architecture.py -->\n", "<!-- end of the drawing -->\n"
EVERYWHERE = 5
"""A room that so many others import is named below the picture; its arrows would hide the rest."""
HOUSES = {
    "In the app's process": ("snapext",),
    "The extension": ("snapext_extension",),
    "On a developer's machine": ("snapext_tools", "snapext_layer"),
}

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
    "snapext.integrations": ("snapext.guest", "snapext.hooks"),
    "snapext.link": ("snapext.errors", "snapext.guest", "snapext.hooks", "snapext.integrations", "snapext.wire"),
    "snapext.clock": (),
    "snapext.middleware": (
        *("snapext.clock", "snapext.errors", "snapext.guest", "snapext.hooks", "snapext.link", "snapext.wire"),
    ),
    "snapext.asgi": ("snapext.hooks", "snapext.middleware"),
    "snapext.wsgi": ("snapext.middleware",),
    "snapext.django": ("snapext.middleware",),
    "snapext.command": ("snapext.errors", "snapext.guest", "snapext.wire"),
    "snapext.api": (*("snapext.guest", "snapext.hooks", "snapext.integrations", "snapext.link", "snapext.command"),),
    "snapext": ("snapext.api", "snapext.guest"),
    "snapext.testing": ("snapext.errors", "snapext.guest", "snapext.hooks", "snapext.link", "snapext.wire"),
    "snapext.pytest_plugin": ("snapext.testing",),
    "snapext.__main__": ("snapext.command", "snapext.errors", "snapext_layer", "snapext_tools"),
    AUTOSTART: ("snapext", "_snapext_autostart"),
    "snapext_extension.data": ("snapext.wire",),
    "snapext_extension.boundary": ("snapext.wire", "snapext_extension.data"),
    "snapext_extension.kernel": (
        *("snapext.wire", "snapext_extension.boundary", "snapext_extension.data", "snapext_extension.reactor"),
    ),
    "snapext_extension.log": ("snapext.wire",),
    "snapext_extension.reserve": (),
    "snapext_extension.reactor": (),
    "snapext_extension.door": ("snapext_extension.reactor",),
    "snapext_extension.observing": (),
    "snapext_extension.values": ("snapext.errors",),
    "snapext_extension.adapter_config": ("snapext.errors", "snapext_extension.data", "snapext_extension.values"),
    "snapext_extension.config": (
        *("snapext.errors", "snapext.integrations", "snapext.wire"),
        *("snapext_extension.adapter_config", "snapext_extension.data", "snapext_extension.log"),
        *("snapext_extension.observing", "snapext_extension.values"),
    ),
    "snapext_extension.platform": (
        *("snapext.errors", "snapext_extension.adapter_config", "snapext_extension.boundary"),
        *("snapext_extension.config", "snapext_extension.data", "snapext_extension.door", "snapext_extension.log"),
        *("snapext_extension.observing", "snapext_extension.reactor", "snapext_extension.reserve"),
        "snapext.wire",
    ),
    "snapext_extension.peers": (
        *("snapext.errors", "snapext.wire", "snapext_extension.boundary", "snapext_extension.door"),
        *("snapext_extension.kernel", "snapext_extension.log", "snapext_extension.reactor"),
    ),
    # The shell, over all its rooms: __main__, extension, and the modules beside them that have one job of it each.
    "snapext_extension": ("snapext.clock", "snapext.errors", "snapext.wire"),
    "snapext_layer": ("snapext.errors",),
    "snapext_tools": (),
    "snapext_tools.doctor": ("snapext.errors", "snapext.wire", "snapext_extension"),
    "snapext_tools.attach": ("snapext.errors", "snapext.wire", "snapext_extension", "snapext_tools.doctor"),
    "snapext_tools.cfn_lint": ("snapext_tools.doctor",),
    "snapext_tools.simulator": ("snapext.clock", "snapext.errors", "snapext.wire", "snapext_extension"),
    "snapext_tools.cli": (
        *("snapext.command", "snapext.errors", "snapext.wire", "snapext_extension", "snapext_layer"),
        *("snapext_tools.attach", "snapext_tools.doctor", "snapext_tools.simulator"),
    ),
}
THIRD_PARTY = {
    "snapext_tools.cfn_lint": {"cfnlint"},  # cfn-lint itself imports it
    "snapext_tools": {"click", "psutil", "requests", "ruamel", "urllib3", "yaml"},
    "snapext.hooks.registry": {"snapshot_restore_py"},
    "snapext.django": {"asgiref", "django"},
    "snapext.integrations.aioboto3": {"botocore"},
    "snapext.integrations.aiohttp": {"aiohttp"},
    "snapext.integrations.aiomysql": {"aiomysql"},
    "snapext.integrations.asyncpg": {"asyncpg"},
    "snapext.integrations.boto3": {"botocore"},
    "snapext.integrations.ddtrace": {"ddtrace"},
    "snapext.integrations.django": {"django"},
    "snapext.integrations.grpc": {"grpc"},
    "snapext.integrations.httpx": {"httpcore"},
    "snapext.integrations.kombu": {"kombu"},
    "snapext.integrations.opentelemetry": {"opentelemetry"},
    "snapext.integrations.psycopg": {"psycopg"},
    "snapext.integrations.psycopg2": {"psycopg2"},
    "snapext.integrations.psycopg_pool": {"psycopg", "psycopg_pool"},
    "snapext.integrations.pymongo": {"pymongo"},
    "snapext.integrations.pymysql": {"pymysql"},
    "snapext.integrations.queries": {"asyncpg"},
    "snapext.integrations.redis": {"redis"},
    "snapext.integrations.requests": {"requests"},
    "snapext.integrations.sentry": {"sentry_sdk"},
    "snapext.integrations.sqlalchemy": {"sqlalchemy"},
    "snapext.integrations.urllib3": {"urllib3"},
    "snapext.pytest_plugin": {"pytest"},
}


def module_name(path: Path) -> str:
    root = next(root for root in ROOTS if path.is_relative_to(root))
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    module_name(path): path
    for root in ROOTS
    for path in sorted(root.rglob("*.py"))
    if "opt" not in path.relative_to(root).parts
}


def is_type_checking(node: ast.AST) -> TypeGuard[ast.If]:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


def statements(tree: ast.AST, *, at_import: bool) -> Iterator[ast.AST]:
    """Every statement; with `at_import` only what is executed when the module is imported."""
    pending = [tree]
    while pending:
        node = pending.pop()
        yield node
        if at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if is_type_checking(node):
            pending += node.orelse
        else:
            pending += [below for block in BLOCKS for below in getattr(node, block, ())]


class Source(NamedTuple):
    """What is known of a module of ours: what it imports, what of that when it is imported itself, and its strings."""

    imports: frozenset[str]
    at_import: frozenset[str]
    strings: frozenset[str]


@cache
def source(name: str) -> Source:
    """Each module is parsed once: all of them take most of a second."""
    tree = ast.parse(MODULES[name].read_text())
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    strings = frozenset(value for value in constants if isinstance(value, str))
    return Source(*(_imports(name, statements(tree, at_import=at_import)) for at_import in (False, True)), strings)


def imports(name: str, *, at_import: bool = False) -> frozenset[str]:
    """The modules that a module of ours imports: ours by their whole name, others by their first part."""
    return source(name).at_import if at_import else source(name).imports


def _imports(name: str, nodes: Iterable[ast.AST]) -> frozenset[str]:
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise ValueError(f"{name}: a relative import")
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (whole & set(MODULES)) or {node.module}
            found |= {node.module} if not whole <= set(MODULES) else set()
    return frozenset(name if name.partition(".")[0] in OURS else name.partition(".")[0] for name in found)


def ours(names: Iterable[str]) -> set[str]:
    return {name for name in names if name.partition(".")[0] in OURS}


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@cache
def room(name: str) -> str:
    """The room of a module: the longest name in the table that contains it; a package's own name is for its files."""
    if within(name, "_snapext_autostart"):
        return name
    found = [entry for entry in ARROWS if within(name, entry)]
    if not found:
        raise ValueError(f"{name} has no room: give it one in ARROWS")
    return max(found, key=len)


def edges() -> dict[str, set[str]]:
    """Which rooms import which, as the code stands."""
    found = defaultdict(set)
    for name in MODULES:
        for other in imports(name):
            if other in MODULES and room(other) != room(name):
                found[room(name)].add(room(other))
    return dict(found)


def label(name: str) -> str:
    """A package's own files are its shell: what the package's name alone would not say."""
    parts = name.split(".")
    return parts[-1] if len(parts) > 1 else f"{name} itself"


def box(name: str) -> str:
    """A name that Mermaid takes for a box."""
    return name.replace(".", "_")


def drawing() -> str:
    """A Mermaid flowchart: a box a room, a subgraph a house, an arrow an import; and what everything imports."""
    arrows = edges()
    importers = defaultdict(set)
    for name, others in arrows.items():
        for other in others:
            importers[other].add(name)
    common = sorted(name for name, who in importers.items() if len(who) >= EVERYWHERE)
    lived_in = sorted({*arrows, *importers} - set(common))
    lines = ["```mermaid", "flowchart TD"]
    for house, packages in HOUSES.items():
        lines.append(f'    subgraph {house.split()[-1]}["{house}"]')
        lines += [f'        {box(name)}["{label(name)}"]' for name in lived_in if within(name, *packages)]
        lines.append("    end")
    for name in lived_in:
        lines += [f"    {box(name)} --> {box(other)}" for other in sorted(arrows.get(name, ())) if other not in common]
    named = ", ".join(f"`{name}`" for name in common)
    return "\n".join([*lines, "```", "", f"Not drawn, because {EVERYWHERE} rooms or more import them: {named}.", ""])


def document() -> str:
    """The page with its picture drawn anew."""
    before, _, rest = TARGET.read_text().partition(BEGIN)
    return before + BEGIN + drawing() + END + rest.partition(END)[2]


if __name__ == "__main__":
    TARGET.write_text(document())
    print(f"{TARGET} is written")
