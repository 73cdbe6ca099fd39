"""The recipes of docs/recipes.md: the files and the command of each, as they stand on the page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from helpers import ROOT
from snapext_tools.cli.simulate import simulate
from snapext_tools.simulator.plan import Plan
from snapext_tools.simulator.states import InitType

PAGE = ROOT / "docs" / "recipes.md"
APP_AT = "8000"
"""The app's port on the page."""
SHORT_FREEZE_S = 0.05


@dataclass(frozen=True)
class Recipe:
    """`files`: the text of each by its name. `script`: what is typed. `output`: what it prints, if the page says so."""

    title: str
    files: Mapping[str, str]
    script: str
    output: str

    def lay_out(self, folder: Path) -> None:
        for name, text in self.files.items():
            (folder / name).write_text(text)

    def at(self, addresses: Mapping[str, str]) -> Recipe:
        """The same with other addresses; each must be on the page."""
        for theirs in addresses:
            assert theirs in self.script, f"{self.title}: the command does not name {theirs}"
        any_of_them = "|".join(rf"\b{re.escape(theirs)}\b" for theirs in addresses)
        script = re.sub(any_of_them, lambda found: addresses[found[0]], self.script) if addresses else self.script
        return replace(self, script=script)

    @property
    def exported(self) -> dict[str, str]:
        """The variables that the script exports."""
        lines = [shlex.split(line) for line in self.script.splitlines() if line.startswith("export ")]
        return dict(word.split("=", 1) for line in lines for word in line[1:])

    def plan(self) -> Plan:
        """What `snapext simulate` makes of the script's last line; only the freeze is shorter."""
        words = shlex.split(self.script.splitlines()[-1])
        assert words[:2] == ["snapext", "simulate"], f"{self.title}: the last line does not start a simulation"
        given = simulate.make_context("simulate", words[2:]).params
        assert given["freeze"] > 0, self.title
        return Plan(
            command=given["command"],
            port=given["port"],
            workers=given["workers"],
            init_type=InitType(given["init_type"]),
            freeze_s=SHORT_FREEZE_S,
            requests=given["requests"],
            adapter=given["adapter"],
            timeout_s=60.0,
            expected_hooks=given["expect_hooks"],
        )


def read() -> dict[str, Recipe]:
    """All recipes of the page, by title."""
    _, *sections = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    return {recipe.title: recipe for recipe in map(_recipe, sections)}


def _recipe(section: str) -> Recipe:
    title = section.partition("\n")[0]
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    files = {text.partition("\n")[0].removeprefix("# "): text for kind, text in blocks if kind == "python"}
    assert all(name.endswith(".py") for name in files), f"{title}: a block does not begin with the name of its file"
    (script,) = (text for kind, text in blocks if kind == "sh")
    return Recipe(title, files, script.rstrip(), "".join(text for kind, text in blocks if kind == "json"))
