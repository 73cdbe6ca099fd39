"""Apps that fork, close and signal around their hooks: nothing hangs or runs twice, nothing of theirs is touched."""

from __future__ import annotations

import pytest

from lives import Simulate


@pytest.mark.parametrize(
    "what",
    [
        "pool in a hook",
        "fork in a hook",
        "pool closed by a hook",
        "closes every descriptor",
        "forks all the time",
        "asks and forks in a signal handler",
        "waits for a blocked signal",
        "removes our modules and imports them again",
    ],
)
def test_a_rough_app_passes_the_boundary_unharmed(simulate: Simulate, what: str) -> None:
    """Its hook has run once in it, and its own sockets carry nothing but its own words.

    Of an app that forks all the time, a child from before the hooks may say hello after them: then it is named.
    """
    life = simulate("python rough.py", ROUGH=what)
    print(life.stderr)
    late = [error for error in life.document["errors"] if error["type"] == "JoinedTooLate"]
    assert life.document["errors"] == (late if what == "forks all the time" else [])
    assert life.status == (1 if late else 0)
    assert [event["status"] for event in life.events("invoke")] == [200]
