"""`make demo`: two lives of one app, without snapext and with it.

Processes, sockets and requests are real, and each line is what was seen: the lives are those of `snapext simulate`.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import click
from database import Database

HERE = Path(__file__).resolve().parent
FREEZE_S = 1.5  # a busy machine may give the database its turn late
OLD = "from before the snapshot"
ASKED = 4  # requests of each kind for each worker: enough to reach all of them
SERVER = "gunicorn -k uvicorn_worker.UvicornWorker -b 127.0.0.1:{port} app:app"

INTRODUCTION = """\
A FastAPI app under gunicorn: {workers} workers, each with a token and a connection to a database. Lambda takes a
snapshot of them; meanwhile the database closes connections that are idle. Then a clone is restored and serves.
"""
NEXT = """
Next, after `. .venv/bin/activate`:
  your app        snapext simulate --port 8000 -- gunicorn -w 4 -b 127.0.0.1:8000 app:app
                  before --port: --without-snapext (as it is today), --report life.html (a picture of it)
  your template   snapext doctor template.yaml
                  snapext attach --template template.yaml"""


class Life:
    """One life of the app under `snapext simulate`, and what it showed."""

    def __init__(self, database, workers, *options):
        self.old_tokens, self.lines = set(), []
        self.database = database
        database.begin()
        port = free_port()
        asked = [word for path in ("/", "/db") for _ in range(ASKED * workers) for word in ("--request", path)]
        simulate = ["simulate", "--json", "--freeze", str(FREEZE_S), "--port", str(port), *options, *asked]
        process = subprocess.Popen(
            [sys.executable, "-m", "snapext", *simulate, "--", *SERVER.format(port=port).split()],
            cwd=HERE,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "AWS_LWA_READINESS_CHECK_PATH": "/ready",
                "DATABASE_PORT": str(database.port),
                "WEB_CONCURRENCY": str(workers),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        story = threading.Thread(target=self.read_story, args=(process.stderr,))
        story.start()
        text = process.stdout.read()
        story.join()
        process.wait()
        document = json.loads(text) if text else {}
        self.ok = process.returncode == 0
        self.events = document.get("events", [])
        self.answers = [
            (event["path"], event["status"], json.loads(event["body"]))
            for event in self.events
            if event["event"] == "invoke"
        ]

    def read_story(self, stream):
        """Line by line, as it happens: the database acts while the snapshot is taken."""
        is_old = True
        for line in stream:
            self.lines.append(line)
            if is_old and (token := re.search(r"has the token (\w+)", line)):
                self.old_tokens.add(token[1])
            elif line.startswith("snapshot"):
                is_old = False
                self.database.close_idle()
            elif line.startswith("restore"):
                self.database.thaw()
        self.database.thaw()  # a life that ended early

    def workers(self):
        """What each worker has answered: {worker: {(path, status, words): times}}."""
        found = {}
        for path, status, body in self.answers:
            words = body.get("said") or f"token {body['token']} {self.age(body['token'])}"
            found.setdefault(body["worker"], Counter())[path, status, words] += 1
        return found

    def age(self, token):
        return OLD if token in self.old_tokens else "new"

    def shows_the_problem(self):
        return set(self.seen()) == {f"a token {OLD}", "500 at /db"}

    def seen(self):
        """What the answers were, each kind with its number."""
        return Counter(
            f"a token {self.age(body['token'])}" if "token" in body else f"{status} at {path}"
            for path, status, body in self.answers
        )

    def hooks(self):
        """How many processes ran each hook: {(phase, hook): number}."""
        return Counter(
            (event["event"], hook["name"])
            for event in self.events
            if event["event"] in ("before_snapshot", "after_restore")
            for hook in event["hooks"]
        )


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def show(life):
    for (phase, hook), number in life.hooks().items():
        click.echo(f"  {phase:<16} {click.style('✓', fg='green')} {hook} in {number} workers")
    for worker, answers in sorted(life.workers().items()):
        cells = []
        for (path, status, words), _ in sorted(answers.items()):
            colour = "red" if status >= 500 or words.endswith(OLD) else "green"
            cells.append(f"GET {path}  {click.style(f'{status} {words}', fg=colour)}")
        click.echo(f"  worker {worker:<7}  {'   '.join(cells)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=4)
    workers = parser.parse_args().workers
    click.echo(INTRODUCTION.format(workers=workers))
    database = Database()

    click.secho("Without snapext", bold=True)
    without = Life(database, workers, "--without-snapext")
    show(without)

    click.secho("\nWith snapext", bold=True)
    attached = Life(database, workers, "--workers", str(workers))
    show(attached)
    click.echo(f"  {''.join(attached.lines[-1:]).strip()}")

    for life, what, expected, went_as_expected in (
        (without, "without snapext", f"only a token {OLD}, and 500 at /db", without.shows_the_problem()),
        (attached, "with snapext", "a life that is OK", attached.ok),
    ):
        if not went_as_expected:
            click.echo("".join(["\nThis is not what the demo is to show. The whole life:\n\n", *life.lines]), err=True)
            seen = ", ".join(f"{number} times {kind}" for kind, number in sorted(life.seen().items())) or "no answer"
            sys.exit(f"The demo FAILED in the life {what}: expected {expected}; seen: {seen}.")
    click.echo(NEXT)


if __name__ == "__main__":
    main()
