"""JSON where Python lacks the parts that we take."""

import subprocess
import sys

from helpers import SRC


def test_an_interpreter_without_the_fast_parts_takes_json():
    """The values are the same where `_json` is missing."""
    code = (
        f"import sys; sys.path.insert(0, {str(SRC)!r}); sys.modules['_json'] = None\n"
        "from snapext.wire.json_text import decode, encode, quote\n"
        "print(encode(decode(' {\"a\": [1.5, null, \"x\"]} ')), quote('\\u00fc'), 'json' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == '{"a":[1.5,null,"x"]} "\\u00fc" True\n'
