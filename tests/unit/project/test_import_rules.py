"""Which way imports may point, read off the source."""

import sys
from graphlib import CycleError, TopologicalSorter

import pytest

from docs.architecture import ARROWS, MODULES, THIRD_PARTY, imports, ours, room, within
from helpers import for_each


def test_the_rules_see_imports():
    """The rules would notice: what is known to be imported is found, at import time or later."""
    linking = imports("snapext.link.linking", at_import=True)

    assert {"os", "snapext.link.handler", "snapext.link.link"} <= linking
    assert "snapext.link.signal_handlers" in imports("snapext.link.linking") - linking
    group = imports("snapext_tools.cli.group") - {"__future__"}
    assert group == {"click", "importlib", "snapext.wire", "snapext_tools.cli"}
    assert room("snapext.link.told") == "snapext.link"
    assert room("snapext_extension.extension") == "snapext_extension"


@for_each("name", MODULES)
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
    modules = {f"snapext.wire.{name}" for name in ("fields", "json_text", "phases", "record", "messages", "connection")}
    names = set().union(*map(imports, modules))

    assert ours(names) <= {"snapext.errors", *modules}
    assert not {"socket", "asyncio", "threading", "os", "time", "select"} & names


def test_the_boundary_does_no_io():
    """The machines take time and events as arguments."""
    names = set().union(*(imports(name) for name in MODULES if room(name) == "snapext_extension.boundary"))

    assert not {"socket", "asyncio", "threading", "os", "time", "select"} & names


def test_what_registering_needs_is_light():
    """Before the extension has registered, it imports no more than sockets: each module delays the user's runtime."""
    first = ("__main__", "observing", "platform", "platform.lambda_api", "platform.http1")
    names = set().union(*(imports(f"snapext_extension.{name}", at_import=True) for name in first))

    assert {"os", "sys", "_socket"} == names - ours(names) - {"__future__"}
    assert {f"snapext_extension.{name}" for name in first} >= ours(names)
