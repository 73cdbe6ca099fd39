"""No clone shares a secret: the generators of real libraries in real clones of a process's memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers import ROOT

CLONES = ROOT / "tests" / "process" / "apps" / "memory_clones.py"
FIRST = "import json, os, sys\n"
TWICE = """
draw()  # the generator has a state now
print(json.dumps(clones(2, draw)))
from snapext.hooks import reseed
{prepare}
def renewed():
    reseed.reseed("a" * 32)
    return draw()
print(json.dumps(clones(2, renewed)))
"""
DRAWS = {
    "Python's ssl": "import ssl\ndraw = lambda: ssl.RAND_bytes(16).hex()",
    "a key of a TLS handshake": """
import ssl
def draw():
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read().hex()
context = ssl.create_default_context()
""",
    "x25519": """
from cryptography.hazmat.primitives.asymmetric import x25519
draw = lambda: x25519.X25519PrivateKey.generate().public_key().public_bytes_raw().hex()
""",
    "ed25519": """
from cryptography.hazmat.primitives.asymmetric import ed25519
draw = lambda: ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
""",
    "P-256": """
from cryptography.hazmat.primitives.asymmetric import ec
draw = lambda: hex(ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value)
""",
    "an AES key": """
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
draw = lambda: AESGCM.generate_key(256).hex()
""",
    "a library of C that psycopg2-binary brings": """
import ctypes, psycopg2
path = next(line.split()[-1] for line in open("/proc/self/maps") if "psycopg2_binary.libs/libcrypto" in line)
lib = ctypes.CDLL(path)
def draw():
    drawn = ctypes.create_string_buffer(16)
    lib.RAND_bytes(drawn, 16)
    return drawn.raw.hex()
""",
    "SQLite": """
import sqlite3
database = sqlite3.connect(":memory:")
draw = lambda: database.execute("select hex(randomblob(16))").fetchone()
""",
    "tempfile": "import tempfile\ndraw = lambda: next(tempfile._get_candidate_names())",
    "numpy": "import numpy\ndraw = lambda: int(numpy.random.randint(1 << 62))",
    "random": "import random\ndraw = lambda: random.random()",
}
"""Those of `draw` repeat in clones of one memory, which each test shows first."""


def run(code: str, *, check: bool = True, **env: str) -> tuple[list[Any], str]:
    """What a program prints, as JSON, and what it says on standard error."""
    run = subprocess.run(
        [sys.executable, str(CLONES), FIRST + code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0 or not check, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()], run.stderr


@pytest.fixture(scope="module", autouse=True)
def can_clone() -> None:
    said = run("print(clones(1, os.getpid))", check=False)
    if said[0] != [[1]] and not os.environ.get("CI"):
        pytest.skip(f"no namespace of process ids can be had: {said[1][-200:]}")


@pytest.mark.parametrize("name", DRAWS)
def test_clones_draw_different_values(name: str) -> None:
    """What repeats in clones of one memory differs once each is reseeded."""
    (same, renewed), said = run(DRAWS[name] + TWICE.format(prepare="reseed.prepare()"))
    assert same[0] is not None
    assert same[0] == same[1]
    assert renewed[0] is not None
    assert renewed[0] != renewed[1]
    assert said == ""


@pytest.mark.parametrize("name", ["Python's ssl", "x25519", "a library of C that psycopg2-binary brings", "SQLite"])
@pytest.mark.parametrize(
    "prepare", ["", "from snapext.hooks import reseed; reseed.prepare()"], ids=["not", "too early"]
)
def test_what_was_not_found_before_the_snapshot_is_found_at_the_restore(prepare: str, name: str) -> None:
    """A process that joins late was not told before; one that was may have imported more since."""
    (same, renewed), _ = run(f"{prepare}\n{DRAWS[name]}" + TWICE.format(prepare=""))
    assert same[0] == same[1]
    assert renewed[0] != renewed[1]


def test_the_restore_does_not_look_again() -> None:
    """Reseeding imports nothing that is not there after the look before the snapshot: a look takes milliseconds.

    What an import has brought since is looked for, also where a renewal is made only then.
    """
    code = """
from snapext.hooks import libcrypto, reseed
reseed.prepare()
prepared = reseed.renewal()
libcrypto.look = lambda **how: print(json.dumps("looked"))
reseed.reseed()
prepared(b"")
import wave
reseed.reseed()
prepared(b"")
reseed.renewal()(b"")
"""
    assert run(code) == (["looked"] * 3, "")


def test_reseeding_can_be_called_by_hand() -> None:
    """snapext.reseed() in a hook renews them as well."""
    draw = DRAWS["Python's ssl"] + "\nimport snapext\ndraw()\n"
    ((first, second),), _ = run(draw + "print(json.dumps(clones(2, lambda: (snapext.reseed(), draw()))))")
    assert first[1] != second[1]


REGISTERED = {
    "random.Random": ("random.Random()", "own.random()"),
    "numpy's Generator": ("numpy.random.default_rng()", "own.random()"),
    "what it spawns": ("numpy.random.default_rng()", "own.spawn(1)[0].random()"),
    "numpy's bit generator": ("numpy.random.Philox()", "int(own.random_raw())"),
    "numpy's RandomState": ("numpy.random.RandomState()", "own.random_sample()"),
}


@pytest.mark.parametrize("kind", REGISTERED)
def test_a_registered_generator_differs_in_each_clone(kind: str) -> None:
    """It stays the same object; without being registered it repeats."""
    make, draw = REGISTERED[kind]
    setup = f"import numpy, random, snapext\nown = {make}\ndraw = lambda: {draw}\n"
    (same, renewed), _ = run(setup + TWICE.format(prepare="assert snapext.register_generator(own) is own"))
    assert same[0] == same[1]
    assert renewed[0] != renewed[1]


MAPPED = """
import mmap
from snapext.hooks import libcrypto, reseed
with open(PATH, "r+b") as file:
    mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_EXEC)
reseed.prepare()
reseed.prepare()
reseed.reseed()
"""


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("driver.so", b"x" * (1 << 20) + b"OpenSSL NIST SP 800-90A DRBG", True),
        ("driver.so", b"x" * ((1 << 20) - 5) + b"OpenSSL NIST SP 800-90A DRBG", True),
        ("driver.so", b"OpenSSL 3.0.19 27 Jan 2026, which it was built for", False),
        ("libcrypto-0cb94173.so.3", b"something new", True),
    ],
    ids=["a copy of its own", "across two pieces", "the name alone", "libcrypto"],
)
def test_a_copy_that_is_not_reached_is_named_once(tmp_path: Path, name: str, content: bytes, named: bool) -> None:
    """A library with OpenSSL linked into it offers no function: a person has to know which it is."""
    path = tmp_path / name
    path.write_bytes(content)
    _, said = run(MAPPED.replace("PATH", repr(str(path))))
    assert said.count(str(path)) == said.count("\n") == int(named)
    assert ("cannot be renewed after a restore" in said) == named


def test_a_cryptography_that_keeps_its_functions_elsewhere_is_named() -> None:
    """They are private, and may be gone in the next version: nothing is raised, and the file is named."""
    code = """
import types
from cryptography.hazmat.bindings import _rust
_rust._openssl = types.SimpleNamespace(lib=object())
from snapext.hooks import reseed
reseed.{}()
print(json.dumps(_rust.__file__))
"""
    for when in ("prepare", "reseed"):
        (path,), said = run(code.format(when))
        assert path in said
        assert said.count("\n") == 1


def test_a_python_without_ctypes_renews_what_it_can() -> None:
    """Python's own copy is reached by its `ssl`; nothing is raised."""
    (same, renewed), _ = run("sys.modules['_ctypes'] = None\n" + DRAWS["Python's ssl"] + TWICE.format(prepare=""))
    assert same[0] == same[1]
    assert renewed[0] != renewed[1]
