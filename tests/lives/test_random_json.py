"""JSON without the module `json`: whatever the value or the text, it writes and reads what that does."""

import json

from hypothesis import given
from hypothesis import strategies as st

from json_verdict import OF_PYTHON, outcome
from snapext.wire import json_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


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
