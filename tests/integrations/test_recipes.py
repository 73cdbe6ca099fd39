"""docs/recipes.md: each app on that page, started by its command, with real servers behind it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
import recipes
from net_servers import aws, http_server, redis_server
from recipes import APP_AT, Recipe
from servers import Postgres
from watched import Watched

from helpers import LIMIT_S, clean_environ, free_port, wait_until
from snapext_tools.simulator.simulation import Simulation

RECIPES = recipes.read()
MOST_LINES = 30
AT_ONCE = 4
BUSY = "the main thread did not begin within"
"""The one warning that the machine may cause which runs the tests."""
POSTGRES, REDIS, AWS, SERVICE = "localhost:5432", "localhost:6379", "localhost:5000", "localhost:9000"


@dataclass
class Life:
    """What was seen: the answers after the restore, of each worker in order, and the server's connections by event."""

    answers: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    connections: dict[str, int] = field(default_factory=dict)


class Runner:
    """A folder in which one recipe after the other is run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, title: str, addresses: dict[str, str]) -> Recipe:
        recipe = RECIPES[title].at(addresses)
        for old in self._folder.glob("*.py"):
            old.unlink()
        recipe.lay_out(self._folder)
        return recipe

    def live(
        self, title: str, server: tuple[str, int] | None = None, at_snapshot: Callable[[], object] = lambda: None
    ) -> Life:
        """Run a recipe under the local Lambda; `server` is the address of its server on the page, and the port here.

        No connection is open in the snapshot, and none is opened before the restore. After it each worker is asked
        several times by ourselves, then once by the simulation, and each answer is good. Nothing is warned of.
        """
        life, lines = Life(), []
        port = free_port()
        with ExitStack() as stack:
            addresses = {APP_AT: str(port)}
            watched = Watched(server[1]) if server else None
            if server and watched:
                stack.callback(watched.close)
                addresses = {server[0]: f"127.0.0.1:{watched.port}", **addresses}
            recipe = self.take(title, addresses)
            plan = recipe.plan()

            def at(event: str) -> None:
                if event == "snapshot" and watched:
                    life.connections[event] = watched.wait_closed()
                    at_snapshot()
                elif event == "ready":
                    if watched:
                        life.connections["restored"] = watched.count()
                    life.answers = ask(port, plan.workers or 1)

            simulation = Simulation(
                plan,
                {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **recipe.exported},
                tell=lambda happened: at(getattr(happened, "event", "")),
                hear_app=lambda _who, line: lines.append(line),
            )
            document = simulation.run()
            assert document["errors"] == [], lines
            assert document["ok"], lines
            warned = [line for line in lines if "snapext: " in line and BUSY not in line]
            assert warned == [], "a recipe leaves nothing to warn of"
            assert {each["event"]: each for each in document["events"]}["invoke"]["status"] == 200
            assert len(life.answers) == plan.workers
            if watched:
                assert life.connections["snapshot"] >= 1, "nothing was open before the snapshot"
                life.connections["end"] = watched.count()
                assert life.connections["end"] > life.connections["snapshot"], "nothing was opened after the restore"
        return life


def ask(port: int, workers: int) -> dict[int, list[dict[str, Any]]]:
    """Ask, several at once, until each worker has answered twice. Each answer has to be good."""
    answers: dict[int, list[dict[str, Any]]] = {}

    def one(_: int) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        connection.request("GET", "/")
        response = connection.getresponse()
        body = response.read()
        connection.close()
        assert response.status == 200, body
        return json.loads(body) if body.startswith(b"{") else {"worker": 0, "body": body}

    def all_have() -> bool:
        for answer in pool.map(one, range(AT_ONCE)):
            answers.setdefault(answer["worker"], []).append(answer)
        return len(answers) >= workers and min(map(len, answers.values())) > 1

    with ThreadPoolExecutor(AT_ONCE) as pool:
        wait_until(all_have)
    return answers


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    return Runner(tmp_path)


@pytest.fixture
def moto() -> Iterator[tuple[int, Any]]:
    """The port of an AWS, and our own client of its Secrets Manager."""
    with aws() as port:
        secrets = boto3.client(
            "secretsmanager",
            region_name="eu-west-1",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        yield port, secrets
        secrets.close()


def test_each_app_is_short():
    """A recipe is read in a minute."""
    too_long = {
        f"{title}: {name}": len(text.splitlines())
        for title, recipe in RECIPES.items()
        for name, text in recipe.files.items()
        if len(text.splitlines()) - 1 > MOST_LINES  # but for the name of the file
    }
    assert too_long == {}


def test_each_recipe_of_the_page_is_run():
    """A recipe that is added there needs a life here."""
    source = Path(__file__).read_text()
    assert [title for title in RECIPES if f'"{title}"' not in source] == []


def test_each_link_within_the_page_leads_somewhere():
    """GitHub's anchors are the titles without their signs."""
    anchors = {re.sub(r"[^\w -]", "", title).replace(" ", "-").lower() for title in RECIPES}
    linked = set(re.findall(r"\(#([^)]+)\)", recipes.PAGE.read_text()))
    assert linked == anchors, "and the table at the top names each recipe"


@pytest.mark.parametrize(
    "title", ["FastAPI and async SQLAlchemy", "Django", "FastAPI with sync endpoints, and psycopg_pool"]
)
def test_databases(runner: Runner, postgres: Postgres, title: str):
    life = runner.live(title, (POSTGRES, postgres.port))
    if "pool" in title:
        assert life.connections["snapshot"] == 2  # its min_size


def test_redis(runner: Runner, tmp_path: Path):
    with redis_server(tmp_path) as port:
        runner.live("Flask and Redis, in threads", (REDIS, port))


def test_aws(runner: Runner, moto: tuple[int, Any]):
    """The client of boto3; and a secret that changes while the snapshot is taken: no worker knows the old one."""
    port, secrets = moto
    runner.live("boto3", (AWS, port))
    secrets.create_secret(Name="shop", SecretString="old:1")
    secret = runner.live(
        "A secret",
        (AWS, port),
        at_snapshot=lambda: secrets.put_secret_value(SecretId="shop", SecretString="new:2"),
    )
    assert {answer["user"] for of_worker in secret.answers.values() for answer in of_worker} == {"new"}
    assert secret.connections["end"] == secret.connections["snapshot"] + len(secret.answers), "one question in each"


def test_http(runner: Runner):
    """Clients of the app, and hooks by hand, which connect before the first request."""
    with http_server() as port:
        clients = runner.live("httpx and aiohttp", (SERVICE, port))
        (answers,) = clients.answers.values()
        assert all(answer["answers"] == ["hello", "hello"] for answer in answers)
        assert clients.connections["restored"] == clients.connections["snapshot"], "they connect when they are used"
        by_hand = runner.live("Hooks by hand", (SERVICE, port))
        assert by_hand.connections == {"snapshot": 1, "restored": 2, "end": 2}


def test_generators(runner: Runner):
    """Two workers that were copies of one another draw different numbers."""
    life = runner.live("A random generator of your own")
    for name in ("dice", "noise"):
        one, other = ({answer[name] for answer in of_worker} for of_worker in life.answers.values())
        assert not one & other


@pytest.mark.needs("curl")
def test_the_middleware_alone(runner: Runner, tmp_path: Path):
    recipe = runner.take("No layer", {APP_AT: str(free_port())})
    environ = clean_environ(SNAPEXT_SOCKET=str(tmp_path / "none" / "bridge.sock"))
    bash = subprocess.Popen(
        ["bash", "-c", recipe.script],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = bash.communicate(timeout=3 * LIMIT_S)
    finally:
        with suppress(ProcessLookupError):  # its group has ended, unless something went wrong
            os.killpg(bash.pid, signal.SIGKILL)
    assert out == recipe.output, err


def test_pytest(runner: Runner):
    recipe = runner.take("Hooks in pytest", {})
    environ = clean_environ(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", PYTEST_ADDOPTS="-p snapext.pytest_plugin")  # it alone
    done = subprocess.run(recipe.script.split(), env=environ, capture_output=True, text=True, timeout=3 * LIMIT_S)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
