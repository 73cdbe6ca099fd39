"""`make demo`'s program: what a newcomer sees first."""

from __future__ import annotations

import re
import subprocess
import sys

from helpers import ROOT, clean_environ
from snapext_tools.cli import COMMANDS


def test_the_demo_shows_the_problem_then_its_end_and_the_next_step() -> None:
    """Every worker has the old token and the closed connection without snapext, and neither with it."""
    demo = [sys.executable, str(ROOT / "examples" / "demo" / "demo.py"), "--workers", "2"]
    done = subprocess.run(
        demo, env=clean_environ(), capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    without, _, attached = done.stdout.partition("\nWith snapext\n")
    assert set(re.findall(r"GET /  200 token \w+ (.*?) {3}GET /db  (.*)", without)) == {
        ("from before the snapshot", "500 connection closed by the database")
    }
    assert set(re.findall(r"GET /  200 token \w+ (.*?) {3}GET /db  (.*)", attached)) == {("new", "200 fine")}
    assert re.findall(r"✓ (.*)", attached) == [
        *("app.close_connection in 2 workers", "app.reconnect in 2 workers", "app.renew_token in 2 workers")
    ]
    assert "OK: 2 processes, 6 hooks run" in attached
    _, _, after = attached.partition("\nNext")
    assert set(re.findall(r"(?<=\s)snapext (\w+) ", after)) == {"simulate", "doctor", "attach"} <= set(COMMANDS)
