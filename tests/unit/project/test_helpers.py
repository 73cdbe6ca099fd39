"""What the tests lean on: a table of rows in one test, none of which can be lost; and what none of these may do."""

import os
import subprocess

import pytest

from helpers import for_each


def test_each_row_is_tried_and_each_that_fails_is_named():
    """One test for a whole table says as much as one for each row would."""
    tried = []

    @for_each("number", [1, 2, 3])
    @for_each("word, length", [("a", 1), ("bb", 2)])
    def test(word, length, number, fixture):
        tried.append((word, length, number, fixture))
        assert length != number

    with pytest.raises(AssertionError) as failed:
        test(fixture="f")

    assert tried == [(word, length, number, "f") for number in (1, 2, 3) for word, length in (("a", 1), ("bb", 2))]
    assert failed.value.__notes__ == ["fails with word='a', length=1", "fails with number=1", "and with number=2"]


def test_a_table_without_rows_or_with_an_uneven_one_is_refused():
    """Nothing would be tried, or the wrong thing."""
    with pytest.raises(AssertionError, match="no row has number"):
        for_each("number", [])
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        for_each("number, word", [(1,)])


@for_each("start", [lambda: subprocess.run(["true"], check=True), lambda: os.fork()])
def test_a_unit_test_starts_no_process(start):
    """All of them have ten seconds."""
    with pytest.raises(pytest.fail.Exception, match="belongs to tests/process"):
        start()
