"""Each cell of the table in docs/guarantees.md has a test on a real server that holds it, and quotes its very words.

`@pytest.mark.cells(4, before="…", first="…")` says which. Who changes a promise meets the tests that hold it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from helpers import ROOT

COLUMNS = {
    "before": "before-snapshot hooks",
    "after": "after-restore hooks",
    "first": "no request before them",
    "failing": "a failing hook",
}

Cells = dict[tuple[int, str], str]


def promised() -> Cells:
    """The cells of the table, by row and column."""
    lines = (ROOT / "docs" / "guarantees.md").read_text("utf-8").splitlines()
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    titles = next(cells for cells in table if "set-up" in cells)
    rows = {int(cells[0]): cells for cells in table if cells[0].isdigit()}
    return {
        (number, column): cells[titles.index(title)]
        for number, cells in rows.items()
        for column, title in COLUMNS.items()
    }


def marks() -> Iterator[tuple[str, int, dict[str, str]]]:
    """Each mark, and the file in which it stands. Its arguments are constants, or names of constants of that file."""
    for path in sorted((ROOT / "tests" / "process").rglob("test_*.py")):
        if "cells" in (text := path.read_text("utf-8")):
            yield from marks_in(path, ast.parse(text))


def marks_in(path: Path, tree: ast.Module) -> Iterator[tuple[str, int, dict[str, str]]]:
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        name = getattr(node, "func", None)
        if isinstance(node, ast.Call) and "cells" in (getattr(name, "attr", ""), getattr(name, "id", "")):
            said = {str(keyword.arg): keyword.value for keyword in node.keywords}
            quoted = {
                column: constants[value.id] if isinstance(value, ast.Name) else ast.literal_eval(value)
                for column, value in said.items()
            }
            yield path.name, ast.literal_eval(node.args[0]), quoted


def test_each_cell_of_the_table_has_a_test_that_quotes_it() -> None:
    """None is left out, none is promised otherwise than a test holds it, and no test holds what is not promised."""
    cells, quoted = promised(), list(marks())
    assert len(cells) == 9 * len(COLUMNS)
    wrong = [
        f"{file} quotes for row {row}, {column}: {text!r}, and the table says {cells.get((row, column))!r}"
        for file, row, texts in quoted
        for column, text in texts.items()
        if cells.get((row, column)) != text
    ]
    assert wrong == []
    held = {(row, column) for _, row, texts in quoted for column in texts}
    assert sorted(cells.keys() - held) == []
