"""JSON without the module `json`: it must read and write what that does."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapext.wire import json_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
TEXTS = [
    *("", " ", "{", "{}x", "{} {}", "[1,]", '{"a":1,}', "nul", "NaN", "-Infinity", "[Infinity]", '"\x01"', "'a'", "01"),
    *("1e999", "-0", "1.", ".5", "\ufeff{}", "\xa0{}", '{"a":1,"a":2}', " \t\r\n[1, 2]\n", '"\\ud800"', '"\\u12"'),
    "[" * 100_000,
    "9" * 5_000,
]
OF_PYTHON = json.JSONDecoder(parse_constant=json_text.refuse_constant).decode


def outcome(read, text):
    try:
        return repr(read(text))
    except (ValueError, RecursionError) as error:
        return "RecursionError" if isinstance(error, RecursionError) else "ValueError"


@given(value=VALUES)
def test_a_value_is_written_and_read_as_json_does(value):
    """The same text, and back again."""
    text = json_text.encode(value)

    assert text == json.dumps(value, separators=(",", ":"))
    assert json_text.decode(f" {text}\n") == value


@given(value=VALUES, place=st.integers(0, 50), character=st.sampled_from('{}[],:"0a \\\x00'))
def test_a_broken_text_gets_the_verdict_of_json(value, place, character):
    """Whatever one character does to a text."""
    text = json.dumps(value)
    text = text[:place] + character + text[place:]

    assert outcome(json_text.decode, text) == outcome(OF_PYTHON, text)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:20])
def test_an_odd_text_gets_the_verdict_of_json(text):
    """The edges of the format, and what Python's reader takes beyond it."""
    assert outcome(json_text.decode, text) == outcome(OF_PYTHON, text)


def test_what_json_has_not_is_not_written():
    """As with json, an object of another class is an error of ours."""
    with pytest.raises(TypeError, match="set is not written as JSON"):
        json_text.encode({"a": {1}})
