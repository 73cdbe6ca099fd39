"""How a start command starts its server: which, with how many workers, on which port, and whether it stays linked.

It reads the text of a shell script, as far as that can be read without running it: what it does not understand is
unknown, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from snapext_tools.doctor.settings import Place, Setting, Start
from snapext_tools.doctor.shell import Shell, commands, expanded

Where = Callable[[int], Place]


@dataclass(frozen=True, slots=True)
class _Server:
    """A server's options. single: it has one process whatever is set. listens: its port when none is named."""

    workers: tuple[str, ...] = ()
    port: tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    config_files: tuple[str, ...] = ()
    variable: str = ""
    single: bool = False
    listens: int | None = None


_SERVERS = {
    "gunicorn": _Server(
        ("-w", "--workers"), ("-b", "--bind"), ("-c", "--config"), ("gunicorn.conf.py",), "WEB_CONCURRENCY"
    ),
    "uvicorn": _Server(("--workers",), ("--port",), (), (), "WEB_CONCURRENCY", listens=8000),
    "hypercorn": _Server(("-w", "--workers"), ("-b", "--bind"), ("-c", "--config"), (), listens=8000),
    "granian": _Server(("--workers",), ("--port",), (), (), "GRANIAN_WORKERS", listens=8000),
    "fastapi": _Server(("--workers",), ("--port",), (), (), "WEB_CONCURRENCY", listens=8000),
    "uwsgi": _Server(("-p", "--processes", "--workers"), ("--http", "--http-socket"), ("--ini", "--yaml", "--json")),
    "waitress-serve": _Server((), ("--port", "--listen"), (), (), single=True, listens=8080),
    "daphne": _Server((), ("-p", "--port"), (), (), single=True, listens=8000),
    "flask": _Server((), ("-p", "--port"), (), (), single=True, listens=5000),
}
_MODULES = {"waitress": "waitress-serve", **{name: name for name in _SERVERS}}
_PROXIES = ("nginx", "php-fpm", "caddy", "httpd")
_KEYWORDS = frozenset(["if", "then", "else", "elif", "do", "while", "until", "!", "{"])
_NO_START = frozenset(
    [
        *("pip", "pip3", "apt", "apt-get", "yum", "dnf", "apk", "npm", "npx", "echo", "printf", "which", "command"),
        *("type", "cp", "mv", "rm", "ln", "mkdir", "ls", "cat", "chmod", "chown", "cd", "test", "[", "[[", "pkill"),
        *("killall", "kill", "curl", "wait", "sed", "grep", "touch", "source", ".", "for", "case", "trap"),
    ]
)
"""Commands whose words may be the name of a server that they do not start."""
_PYTHON = re.compile(r"(?:pypy|python)[\d.]*")


def read_start(
    text: str, where: Where, variables: Mapping[str, Setting], has: Callable[[str], bool] = lambda _: False
) -> Start | None:
    """What a shell script starts; None when it starts nothing that is recognised.

    where: the place of a line, by its number. variables: the function's own. has: whether the package has a file.
    """
    shell = Shell({name: value for name, value in variables.items() if isinstance(value, str)})
    starts: list[Start] = []
    for number, words in commands(text):
        rest = shell.take(words, number)
        one = _start(rest, where(number), shell.known, has) if rest else None
        if one is not None:
            starts.append(one)
    if not starts:
        return None
    servers = [one for one in starts if one.server not in _PROXIES] or starts
    first = servers[0]
    alone = len(servers) == 1
    return Start(
        first.server,
        first.place,
        first.workers if alone else None,
        first.port if len(starts) == 1 else None,
        next((one.unlinked for one in servers if one.unlinked), shell.unlinked),
        shell.replaces,
        where(shell.replaces_at) if shell.replaces else None,
        shell.venv or any(one.venv for one in servers),
    )


def read_words(
    words: Sequence[str], place: Place, variables: Mapping[str, Setting], has: Callable[[str], bool] = lambda _: False
) -> Start | None:
    """What a command in exec form starts, as in a Dockerfile's CMD."""
    if len(words) == 3 and words[0].rpartition("/")[2] in ("sh", "bash") and words[1].startswith("-"):
        return read_start(words[2], lambda _: place, variables, has)
    return _start(list(words), place, {n: v for n, v in variables.items() if isinstance(v, str)}, has)


def _start(words: list[str], place: Place, known: Mapping[str, str], has: Callable[[str], bool]) -> Start | None:
    """What one command starts, behind its own wrappers (`exec`, `env`, `uv run`, an agent that runs the rest)."""
    unlinked, venv = "", False
    while words and words[0] in _KEYWORDS:
        words = words[1:]
    if words and PurePosixPath(words[0]).name in _NO_START:
        return None
    for at, word in enumerate(words):
        name = PurePosixPath(word).name
        if "venv/bin/" in word:
            venv = True
        if name == "env" and {"-i", "-"}.intersection(words[at + 1 : at + 3]):
            passed = any(each.startswith("PYTHONPATH=") for each in words[at + 1 :])
            unlinked = "" if passed else "env -i, which unsets PYTHONPATH and PYTHONUSERBASE"
        if _PYTHON.fullmatch(name):
            options, rest = _python_options(words[at + 1 :])
            letters = "".join(each[1:] for each in options if not each.startswith("--"))
            hides = next((f"python -{letter}" for letter in "IS" if letter in letters), "")
            if not hides and {"E", "s"} <= set(letters):
                hides = "python -E -s"
            unlinked = f"{hides}, which ignores PYTHONPATH and the user site" if hides else unlinked
            if rest[:2] == ["-m", "pip"]:
                return None
            if rest[:1] == ["-m"] and len(rest) > 1 and rest[1] in _MODULES:
                return _server(_MODULES[rest[1]], rest[2:], place, known, has, unlinked, venv)
            return Start("python", place, None, None, unlinked, venv=venv)
        if name in _SERVERS and (name not in ("flask", "fastapi") or "run" in words[at + 1 :]):
            return _server(name, words[at + 1 :], place, known, has, unlinked, venv)
        if name in _PROXIES or name in ("node", "java", "bun", "deno", "php", "dotnet"):
            return Start(name, place, None, None, venv=venv)
    return None


def _python_options(words: Sequence[str]) -> tuple[list[str], list[str]]:
    options = []
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] not in ("-m", "-c", "-"):
        options.append(rest.pop(0))
        if options[-1] in ("-W", "-X") and rest:
            rest.pop(0)
    return [each for each in options if not each.startswith(("-W", "-X"))], rest


def _server(
    name: str,
    words: Sequence[str],
    place: Place,
    known: Mapping[str, str],
    has: Callable[[str], bool],
    unlinked: str,
    venv: bool,
) -> Start:
    server = _SERVERS[name]
    configured = any(_option(words, each) is not None for each in server.config) or any(
        has(file) for file in server.config_files
    )
    configured = configured or "GUNICORN_CMD_ARGS" in known or (name == "uwsgi" and any("." in w for w in words[:1]))
    return Start(
        name,
        place,
        _workers(server, words, known, configured=configured),
        _port(name, server, words, known, configured=configured),
        unlinked,
        venv=venv,
    )


def _workers(server: _Server, words: Sequence[str], known: Mapping[str, str], *, configured: bool) -> int | None:
    if server.single:
        return 1
    for option in server.workers:
        value = _option(words, option)
        if value is not None:
            return _number(expanded(value, known))
    if configured:
        return None
    if server.variable and server.variable in known:
        return _number(known[server.variable])
    return 1


def _port(
    name: str, server: _Server, words: Sequence[str], known: Mapping[str, str], *, configured: bool
) -> int | None:
    for option in server.port:
        value = _option(words, option)
        if value is not None:
            address = expanded(value, known)
            return None if address is None or "unix:" in address else _number(address.rpartition(":")[2])
    if configured or any(each.startswith(("--uds", "--fd", "--unix")) for each in words):
        return None
    if name == "gunicorn":  # its own default: 0.0.0.0:$PORT where PORT is set, else 127.0.0.1:8000
        return _number(known["PORT"]) if known.get("PORT") else 8000
    if name == "granian" and "GRANIAN_PORT" in known:
        return _number(known["GRANIAN_PORT"])
    if name == "uvicorn" and "UVICORN_PORT" in known:
        return _number(known["UVICORN_PORT"])
    if name == "flask" and "FLASK_RUN_PORT" in known:
        return _number(known["FLASK_RUN_PORT"])
    return server.listens


def _option(words: Sequence[str], option: str) -> str | None:
    """The last value of an option: `-w 4`, `-w4`, `--workers 4`, `--workers=4`."""
    value = None
    for at, word in enumerate(words):
        if word == option and at + 1 < len(words):
            value = words[at + 1]
        elif word.startswith(f"{option}=") and option.startswith("--"):
            value = word.partition("=")[2]
        elif not option.startswith("--") and word.startswith(option) and len(word) > 2 and not word.startswith("--"):
            value = word[2:].removeprefix("=")
    return value


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
