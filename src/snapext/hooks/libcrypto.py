"""Stir each generator that a C library keeps in this process: OpenSSL's, once in each copy of it, and SQLite's.

A clone of the memory is a clone of them: what they draw next repeats in every clone. `look` finds out before the
snapshot how each is reached; after the restore they are only called. `_ctypes` is what is beneath `ctypes`, and takes
1 ms to import, not ten. This is imported with the first phase, like all that runs hooks.
"""

from __future__ import annotations

import os
import sys
import time

from snapext.guest import descriptors, notice

try:
    import _ctypes as native
except ImportError:  # a Python that was built without it
    native = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Files = dict[bytes, list["_Part"]]
    """The files that are mapped as programs are, by name."""
    Stir = Callable[[bytes], object]

MARK = b"OpenSSL NIST SP 800-90A DRBG"
"""The personalisation string of OpenSSL's generator: from 1.1.1 on it is in every build."""
MAX_SCANNED_BYTES = 64 << 20
"""A larger file is not read: that of a machine learning library takes a second, and may have to come over a network."""
MAX_NAMED = 5
RAND_ADD = "RAND_add"
SEED_BYTES = 48
"""What OpenSSL's generator is seeded with at most; a seed is never shorter."""
_CHUNK_BYTES = 1 << 20
_NOT_SCANNED = (
    b"/lib/",
    b"/lib64/",
    b"/usr/lib/",
    b"/usr/lib64/",
    os.fsencode(os.path.join(os.path.realpath(sys.base_prefix), "lib")) + b"/",
)
"""Libraries of the system and of Python, which share one libcrypto, except where packages are installed there."""
_OF_CRYPTOGRAPHY = ("cryptography.hazmat.bindings._rust", "cryptography.hazmat.bindings._openssl")
"""Where `cryptography` keeps the functions of its own copy: since version 40, and before."""


class _Part:
    """A line of /proc/self/maps."""

    __slots__ = ("access", "high", "low", "offset")

    def __init__(self, low: int, high: int, access: bytes, offset: int) -> None:
        self.low, self.high, self.access, self.offset = low, high, access, offset


_stirs: list[Stir] = []
_modules_seen = -1
_scanned: dict[bytes, bool] = {}
_offers: dict[bytes, list[tuple[str, int, Stir]]] = {}
_doubles: list[Any] = []
"""The type of C's double, once it is needed."""


def look(*, thorough: bool, deadline: float | None = None) -> None:
    """Find out how each copy is reached, call each once, and name those that are not reached.

    The first call is the slow one: OpenSSL reads its settings. With `thorough`, which is for before the snapshot, the
    mapped files are read for copies that offer no function, until the deadline (time.monotonic). Never raises; what an
    earlier look has found stays.
    """
    taken: list[int] = []
    try:
        taken = descriptors.occupy_standard()  # the app may have closed them, and would take a file of ours for its own
        _look(thorough, deadline)
    except Exception as error:
        notice.once(
            "generators not found",
            f"process {os.getpid()} cannot look for the random generators of its libraries ({error!r}): those that it "
            "has not found yet are not renewed after a restore, and repeat in every clone",
        )
    finally:
        descriptors.vacate(taken)


def _look(thorough: bool, deadline: float | None) -> None:
    global _stirs, _modules_seen
    modules = len(sys.modules)
    of_python = _of_python()
    known = [*of_python, *_of_cryptography()]
    files = _mapped_files()
    offered, reached = _of_libraries(files)
    for path, _ in of_python:  # the same copy twice would be twice the pages of a restore
        for symbol, address, _ in _offers.get(os.fsencode(os.path.realpath(path)), ()):
            if symbol == RAND_ADD:
                offered.pop(address, None)
    stirs = [*(stir for _, stir in known), *offered.values()]
    if thorough:
        for one in stirs:
            try:
                one(os.urandom(SEED_BYTES))
            except Exception as error:
                not_stirred(error)
    _stirs, _modules_seen = stirs, modules
    reached |= {os.fsencode(os.path.realpath(path)) for path, _ in known}
    others = sorted(files.keys() - reached)
    read, unread = [], []
    for name in others:
        if deadline is not None and time.monotonic() >= deadline and name not in _scanned:
            unread.append(name)
        elif _is_read(name, thorough) and _has_copy(name, files[name]):
            read.append(name)
    _name([name for name in others if _is_libcrypto(name) or name in read])
    _name_unread(unread)


def look_again() -> None:
    """Look once more if a module was imported since the last look: a library usually comes with one.

    What was loaded since then by other means is not found. Never raises.
    """
    if len(sys.modules) != _modules_seen:
        look(thorough=False)


def modules_seen() -> int:
    """How many modules there were at the last look."""
    return _modules_seen


def found() -> list[Stir]:
    """What is to be called with a seed of at least SEED_BYTES, to mix it into each generator that is reached."""
    return _stirs


def not_stirred(error: Exception) -> None:
    """What one of them has raised."""
    notice.once("not stirred", f"a generator of process {os.getpid()} could not be renewed: {error!r}")


def _of_python() -> list[tuple[str, Stir]]:
    """The copy that Python's `ssl` uses, linked in or not. Not imported: an app without TLS does not draw from it."""
    add = getattr(sys.modules.get("_ssl"), "RAND_add", None)
    path = getattr(sys.modules.get("_ssl"), "__file__", None) or "/proc/self/exe"
    return [] if add is None else [(path, lambda seed: add(seed, float(SEED_BYTES)))]


def _of_cryptography() -> list[tuple[str, Stir]]:
    """The copy inside the wheel of `cryptography`. Where it is kept is private, and may be elsewhere tomorrow."""
    found: list[tuple[str, Stir]] = []
    for name in _OF_CRYPTOGRAPHY:
        module = sys.modules.get(name)
        lib = getattr(getattr(module, "_openssl", module), "lib", None)
        add = getattr(lib, "RAND_add", None)
        path = getattr(module, "__file__", None)
        if add is not None and path is not None:
            found.append((path, lambda seed, add=add: add(seed, len(seed), float(SEED_BYTES))))  # type: ignore[misc]
    return found


def _of_libraries(files: Files) -> tuple[dict[int, Stir], set[bytes]]:
    """Ways into libraries by the functions that they offer, by address, and the files that these are in."""
    stirs: dict[int, Stir] = {}
    of_openssl: set[int] = set()  # a file that offers SQLite's alone may have an OpenSSL that it hides
    if native is not None:
        for name in files:
            if b".so" in name.rpartition(b"/")[2]:
                offers = _offers.get(name)
                if offers is None and (offers := _offered(os.fsdecode(name))) is not None:
                    _offers[name] = offers
                for symbol, address, stir in offers or ():
                    stirs.setdefault(address, stir)
                    if symbol == RAND_ADD:
                        of_openssl.add(address)
    reached = {
        name
        for name, parts in files.items()
        if any(part.low <= address < part.high for address in of_openssl for part in parts)
    }
    return stirs, reached


def _offered(path: str) -> list[tuple[str, int, Stir]] | None:
    """What a library offers, itself or in one that it is linked with, by address. It stays loaded if it has any.

    None if it cannot be asked now: the next look asks again.
    """
    try:
        handle = native.dlopen(path, os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:  # replaced on the disk since, or mapped and not loaded yet
        return None
    found: list[tuple[str, int, Stir]] = []
    for symbol, make in ((RAND_ADD, _rand_add), ("sqlite3_randomness", _sqlite_begin_anew)):
        try:
            address = native.dlsym(handle, symbol)
        except OSError:
            continue
        found.append((symbol, address, make(address)))
    if not found:
        native.dlclose(handle)
    return found


def _rand_add(address: int) -> Stir:
    """RAND_add(3): the primary generator takes new bytes of the kernel and the seed; those of all threads follow.

    In OpenSSL 1.1.1 they follow only when as many bytes of entropy are claimed as its generator is seeded with.
    """
    entropy = _double(float(SEED_BYTES))

    def stir(seed: bytes) -> None:
        native.call_cdeclfunction(address, (seed, len(seed), entropy))

    return stir


def _double(value: float) -> Any:
    if not _doubles:
        _doubles.append(type("Double", (native._SimpleCData,), {"_type_": "d"}))
    return _doubles[0](value)


def _sqlite_begin_anew(address: int) -> Stir:
    """sqlite3_randomness(0, NULL): it takes new bytes of the kernel when it is asked next."""
    return lambda _seed: native.call_cdeclfunction(address, (0, None))


def _mapped_files() -> Files:
    """What /proc/self/maps (proc(5)) names and has a part that can be executed."""
    parts: Files = {}
    programs = set()
    with open("/proc/self/maps", "rb") as maps:
        for line in maps:
            place, access, offset, _, _, *path = line.split(maxsplit=5)
            if path and path[0].startswith(b"/"):
                name = path[0].rstrip()
                low, _, high = place.partition(b"-")
                parts.setdefault(name, []).append(_Part(int(low, 16), int(high, 16), access, int(offset, 16)))
                if b"x" in access:
                    programs.add(name)
    return {name: parts[name] for name in parts if name in programs}


def _has_copy(name: bytes, parts: list[_Part]) -> bool:
    """Whether OpenSSL's generator is linked into a file. It is read once in a family of forks."""
    if name not in _scanned:
        shared = b"-packages/" not in name and name.startswith(_NOT_SCANNED)
        _scanned[name] = not shared and _is_marked(name, parts)
    return _scanned[name]


def _is_read(name: bytes, thorough: bool) -> bool:
    """After a restore there is time for one file: for that which is known to have a copy, and has become another."""
    return thorough or b"/cryptography/" in name


def _is_libcrypto(name: bytes) -> bool:
    return name.rpartition(b"/")[2].startswith((b"libcrypto.", b"libcrypto-"))


def _is_marked(name: bytes, parts: list[_Part]) -> bool:
    """Read the constants of a file; where the linker has put them among the code, the code as well."""
    among_code = any(part.offset == 0 and b"x" in part.access for part in parts)
    constants = [part for part in parts if b"w" not in part.access and (among_code or b"x" not in part.access)]
    if sum(part.high - part.low for part in constants) > MAX_SCANNED_BYTES:
        return False
    try:
        with open(name, "rb", buffering=0) as file:
            return any(_part_is_marked(file.fileno(), part) for part in constants)
    except OSError:  # gone from the disk
        return False


def _part_is_marked(fd: int, part: _Part) -> bool:
    before, offset, end = b"", part.offset, part.offset + part.high - part.low
    while offset < end and (chunk := os.pread(fd, min(_CHUNK_BYTES, end - offset), offset)):
        if MARK in before + chunk:
            return True
        before, offset = chunk[-len(MARK) :], offset + len(chunk)
    return False


def _name_unread(unread: list[bytes]) -> None:
    """The time of the phase was used up."""
    if unread:
        notice.once(
            "files not read",
            f"process {os.getpid()} had no time left to look into {_named(unread)} for copies of OpenSSL whose random "
            "generator cannot be renewed after a restore: SNAPEXT_BEFORE_SNAPSHOT_TIMEOUT_MS gives it more",
        )


def _named(files: list[bytes]) -> str:
    more = f" and {len(files) - MAX_NAMED} more" if len(files) > MAX_NAMED else ""
    return ", ".join(os.fsdecode(name) for name in files[:MAX_NAMED]) + more


def _name(unreached: list[bytes]) -> None:
    """Once in a process, and before the snapshot if we are asked to look then: it is a choice of the app's builder."""
    if unreached:
        notice.once(
            "generator not reached",
            f"process {os.getpid()} has copies of OpenSSL whose random generator cannot be renewed after a restore: "
            f"{_named(unreached)}. If one is used before the snapshot, its keys and nonces repeat in every clone: use "
            "it first after the restore (docs/generators.md)",
        )
