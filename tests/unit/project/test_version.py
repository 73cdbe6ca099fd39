"""One version: each place that says it says the same."""

import re
import tomllib

from helpers import ROOT
from snapext.link.conversation import CLIENT
from snapext.wire import VERSION

FIRST_HEADING = re.compile(r"^## (\S+) \((unreleased|\d{4}-\d\d-\d\d)\)$", re.MULTILINE)


def test_the_version_stands_in_one_place():
    """The wheel, the layer's command and `snapext --version` are held to it in tests/layer."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert ROOT / project["tool"]["hatch"]["version"]["path"] == ROOT / "src" / "snapext" / "wire" / "__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+(rc\d+)?", VERSION)
    assert f"snapext-python/{VERSION}" == CLIENT


def test_the_changelog_begins_with_this_version():
    """With its date, or as unreleased: `.ci/check-dist` wants the date for a release."""
    first = FIRST_HEADING.search((ROOT / "CHANGELOG.md").read_text())
    assert first is not None
    assert first[1] == VERSION.partition("rc")[0]
