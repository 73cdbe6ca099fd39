"""One registry with snapshot_restore_py, each case in a process of its own."""

import json
import subprocess
import sys

import pytest

from helpers import LIMIT_S, SRC, clean_environ


def run(code, *options, **variables):
    """What `code` prints as JSON in a new interpreter."""
    command = [sys.executable, *options, "-c", code]
    environ = clean_environ(PYTHONPATH=str(SRC), **variables)
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


USE_BOTH = """
import json
{first}
{second}
ours.register_before_snapshot(print, 1); theirs.register_before_snapshot(print, 2)
theirs.register_after_restore(print, 3); ours.register_after_restore(print, 4)
print(json.dumps([[args[0] for _, args, _ in get()] for get in (
    ours.get_before_snapshot, theirs.get_before_snapshot, ours.get_after_restore, theirs.get_after_restore)]))
"""
IMPORTS = ["import snapext as ours", "import snapshot_restore_py as theirs"]


@pytest.mark.parametrize("order", [IMPORTS, IMPORTS[::-1]], ids=["ours first", "theirs first"])
def test_the_registry_is_shared_with_the_real_module_whichever_is_imported_first(order):
    """A hook counts, in its place in the order, whichever of the two modules it was registered with."""
    pytest.importorskip("snapshot_restore_py")
    assert run(USE_BOTH.format(first=order[0], second=order[1])) == [[1, 2], [1, 2], [3, 4], [3, 4]]


BROKEN_MODULES = {
    "raises": "raise OSError('broken')",
    "syntax error": "def (:",
    "an unrelated module": "pass",
    "getter raises": "def get_before_snapshot(): raise OSError\ndef get_after_restore(): raise OSError",
    "half": "def get_before_snapshot(): return []",
}


@pytest.mark.parametrize("source", BROKEN_MODULES.values(), ids=BROKEN_MODULES)
def test_a_broken_module_of_that_name_does_not_break_ours(tmp_path, source):
    """Importing and registering never raises, whatever is found under the name snapshot_restore_py."""
    (tmp_path / "snapshot_restore_py.py").write_text(source)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import snapext; snapext.register_after_restore(print); "

    assert run(code + "print(len(snapext.get_after_restore()))") == 1
