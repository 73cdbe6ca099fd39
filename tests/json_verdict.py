"""What is read of a text as JSON, by Python's reader or by ours, in words that can be compared."""

import json

from snapext.wire import json_text

OF_PYTHON = json.JSONDecoder(parse_constant=json_text.refuse_constant).decode


def outcome(read, text):
    try:
        return repr(read(text))
    except (ValueError, RecursionError) as error:
        return "RecursionError" if isinstance(error, RecursionError) else "ValueError"
