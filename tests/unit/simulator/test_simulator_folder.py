"""What the simulated environment sets for the web adapter and for us, and what it leaves as the user has set it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from helpers import for_each
from snapext_tools.simulator.folder import extension_environment


@dataclass(frozen=True)
class Settings:
    port: int = 8000
    workers: int | None = None
    init_type: str = "snap-start"
    adapter: str = "builtin"
    with_snapext: bool = True


READINESS_PORT, OUR_PORT = NAMES = "AWS_LWA_READINESS_CHECK_PORT", "SNAPEXT_PORT"


def ports(tmp_path: Path, environ: dict[str, str], adapter: str = "builtin") -> tuple[str | None, ...]:
    env = extension_environment(environ, "127.0.0.1:9", str(tmp_path), Settings(adapter=adapter), None)
    return tuple(env.get(name) for name in NAMES)


@for_each("environ", [{}, {READINESS_PORT: "9555"}, {"SNAPEXT_MODE": "gate"}])
def test_the_gate_gets_a_port_that_is_free(tmp_path: Path, environ: dict[str, str]) -> None:
    """Also where the readiness check points at the gate of a function: another simulation may have that port."""
    readiness, ours = ports(tmp_path, environ)
    assert readiness == ours
    assert ours not in (None, "9555")


@for_each("environ", [{OUR_PORT: "7000"}, {OUR_PORT: "7000", READINESS_PORT: "7000"}])
def test_a_port_of_the_users_is_the_gates(tmp_path: Path, environ: dict[str, str]) -> None:
    assert ports(tmp_path, environ) == ("7000", "7000")


@for_each(
    "environ, adapter",
    [
        ({"SNAPEXT_MODE": "observe"}, "builtin"),
        ({"SNAPEXT_MODE": "observe", OUR_PORT: "7000"}, "builtin"),
        ({READINESS_PORT: "8080"}, "builtin"),
        ({READINESS_PORT: "9555", OUR_PORT: "7000"}, "builtin"),
        ({"SNAPEXT_MODE": "explicit", READINESS_PORT: "9555"}, "builtin"),
        ({}, "none"),
    ],
)
def test_without_a_gate_no_port_is_set(tmp_path: Path, environ: dict[str, str], adapter: str) -> None:
    """The extension tells the user to set one: it has to be the one that a function takes."""
    assert ports(tmp_path, environ, adapter) == tuple(environ.get(name) for name in NAMES)


@for_each("port, stays", [("9555", False), ("7000", False), ("8080", True)])
def test_without_snapext_a_readiness_check_that_points_at_us_is_the_apps_again(
    tmp_path: Path, port: str, stays: bool
) -> None:
    """Nobody would answer it there, under its new name nor under the older one. The user's other settings stay."""
    user = {READINESS_PORT: port, "READINESS_CHECK_PORT": port, "SNAPEXT_RESEED": "0"}
    user |= {OUR_PORT: "7000"} if port == "7000" else {}
    env = extension_environment(user, "127.0.0.1:9", str(tmp_path), Settings(with_snapext=False), None)
    assert [name in env for name in (READINESS_PORT, "READINESS_CHECK_PORT")] == [stays, stays]
    assert {name for name in env if name.startswith("SNAPEXT")} == {name for name in user if "SNAPEXT" in name}
