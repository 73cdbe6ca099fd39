"""JSON without the module `json`: it must read and write what that does."""

import pytest

from json_verdict import OF_PYTHON, outcome
from snapext.wire import json_text

TEXTS = [
    *("", " ", "{", "{}x", "{} {}", "[1,]", '{"a":1,}', "nul", "NaN", "-Infinity", "[Infinity]", '"\x01"', "'a'", "01"),
    *("1e999", "-0", "1.", ".5", "\ufeff{}", "\xa0{}", '{"a":1,"a":2}', " \t\r\n[1, 2]\n", '"\\ud800"', '"\\u12"'),
    "[" * 100_000,
    "9" * 5_000,
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:20])
def test_an_odd_text_gets_the_verdict_of_json(text):
    """The edges of the format, and what Python's reader takes beyond it."""
    assert outcome(json_text.decode, text) == outcome(OF_PYTHON, text)


def test_what_json_has_not_is_not_written():
    """As with json, an object of another class is an error of ours."""
    with pytest.raises(TypeError, match="set is not written as JSON"):
        json_text.encode({"a": {1}})
