"""A client that speaks the protocol by hand (docs/protocol.md), and loses its link.

    raw_client.py WHEN [THEN]

WHEN its connection ends: `init`, `before` (when it has answered before_snapshot), `snapshot`, `twice` (in init, when it
has a second one), or `never`. THEN it does one of these: `live`, `exit`, `exec` another program, `exec-same`
interpreter with another script, or `return`: half a second after the restore.
ERROR_MS: its before-snapshot hook has failed, after that time.
"""

import json
import os
import socket
import sys
import time

import traced

LIMIT_S = 20


def wait_until(what):
    deadline = time.monotonic() + LIMIT_S
    while not what():
        assert time.monotonic() < deadline, "it has not happened in time"
        time.sleep(0.01)


class Link:
    def __init__(self, role="app"):
        self._socket = socket.socket(socket.AF_UNIX)
        wait_until(self._connects)
        count = int(role == "app")
        hooks = {"before_snapshot": count, "after_restore": count}
        self.say("hello", protocol=1, pid=os.getpid(), role=role, name="raw", hooks=hooks, generation=0)
        self._lines = self._socket.makefile("rb")
        self.phase = self.hear("welcome")["phase"]

    def _connects(self):
        try:
            self._socket.connect(os.environ["SNAPEXT_SOCKET"])
        except OSError:
            return False
        return True

    def say(self, kind, **fields):
        self._socket.sendall(json.dumps({"type": kind, **fields}).encode() + b"\n")

    def hear(self, *kinds):
        for line in self._lines:
            message = json.loads(line)
            if message["type"] in kinds:
                return message
        raise SystemExit(f"the extension has hung up before {kinds[0]}")

    def answer(self, phase):
        """Wait for a phase and end it. Told again of an earlier one, it answers as before."""
        while (message := self.hear("before_snapshot", "after_restore"))["type"] != phase:
            self.say("done", id=message["id"], ok=True, duration_ms=1)
        number = message["id"]
        if "ERROR_MS" in os.environ:
            error = {"type": "ValueError", "message": "no", "stack": "", "hook": "raw.hook"}
            error["duration_ms"] = float(os.environ["ERROR_MS"])
            self.say("done", id=number, ok=False, duration_ms=5000, error=error)
        else:
            traced.record(phase, hook=phase)
            self.say("done", id=number, ok=True, duration_ms=1, hooks=[{"name": phase, "duration_ms": 1}])

    def close(self):
        self._lines.close()
        self._socket.close()


def phase():
    link = Link("control")
    link.close()
    return link.phase


def count_lost():
    link = Link("control")
    link.say("status")
    status = link.hear("result")["status"]
    link.close()
    return sum(not process["connected"] for process in status["processes"])


def lose(when, link):
    """Come to the moment at which the link ends, and end it."""
    if when == "twice":
        other = Link()
        link.close()
        traced.record("up")
        return other
    if when != "init":
        traced.record("up")
        link.answer("before_snapshot")
    if when == "snapshot":
        wait_until(lambda: phase() in ("snapshot", "after_restore"))  # the latter on a busy machine
    if when != "never":
        link.close()
    return link


def main(when, then):
    link = lose(when, Link())
    if when in ("init", "before") and then in ("live", "return"):
        wait_until(count_lost)
    if when == "init":
        traced.record("up")
    if then.startswith("exec"):
        wait_until(count_lost)
    traced.record("lost")
    if then == "exit":
        os._exit(0)
    if then == "exec":
        os.execvp("sleep", ["sleep", "60"])
    if then == "exec-same":
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(60)"])
    if then == "return":
        wait_until(lambda: phase() == "after_restore")
        time.sleep(0.5)
        link = Link()
    if when == "twice":
        link.answer("before_snapshot")
    if when == "twice" or then == "return":
        link.answer("after_restore")
    time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if sys.argv[2:] else "live")
