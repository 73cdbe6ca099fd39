"""Which adapter runs beside us, read off its binary."""

import pytest

from helpers import for_each
from snapext.errors import ConfigError
from snapext_extension.platform import adapter
from snapext_extension.platform.adapter import (
    CHECK_BEFORE_CHECKPOINT_MARK,
    RESTORE_NEXT_MARK,
    SNAPSTART_MARK,
    Behaviour,
    Kind,
    checks_before_snapshot,
    decide,
    inspect,
)
from snapext_tools.simulator.folder import lay_out

NEVER = Behaviour(Kind.NEVER_ASKS, checks_before_checkpoint=False)
UNCHECKED = Behaviour(Kind.ASKS_WITHOUT_CHECK, checks_before_checkpoint=False)
CHECKED = Behaviour(Kind.ASKS_AND_CHECKS, checks_before_checkpoint=False)
LATER = Behaviour(Kind.ASKS_AND_CHECKS, checks_before_checkpoint=True)


def inspect_bytes(tmp_path, data):
    (tmp_path / "lambda-adapter").write_bytes(data)
    return inspect(str(tmp_path))


@pytest.mark.parametrize("where", ["missing", "directory"])
def test_no_adapter_is_none(tmp_path, where):
    """Without a file of that name nothing is known."""
    if where == "directory":
        (tmp_path / "lambda-adapter").mkdir()

    assert None is inspect(str(tmp_path))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", NEVER),
        (b"\x7fELF" + b"\x00" * 100, NEVER),
        (b"\x7fELF/runtime/invocation/next", NEVER),
        (SNAPSTART_MARK, NEVER),
        (b"x" + RESTORE_NEXT_MARK + b"y", UNCHECKED),
        (RESTORE_NEXT_MARK + SNAPSTART_MARK[:-1], UNCHECKED),
        (RESTORE_NEXT_MARK + b"\x00" + SNAPSTART_MARK + b"_AFTER_RESTORE_PATH", CHECKED),
        (RESTORE_NEXT_MARK[:-1] + b"\x00" + CHECK_BEFORE_CHECKPOINT_MARK, Behaviour(Kind.NEVER_ASKS, True)),
        (CHECK_BEFORE_CHECKPOINT_MARK + SNAPSTART_MARK + RESTORE_NEXT_MARK, LATER),
    ],
)
def test_the_marks_tell_the_kinds_apart(tmp_path, data, expected):
    """The path that an adapter asks for, its settings for SnapStart and the name of its check are in its data."""
    assert expected == inspect_bytes(tmp_path, data)


@pytest.mark.parametrize(
    ("mark", "prefix", "expected"),
    [
        (RESTORE_NEXT_MARK, b"", UNCHECKED),
        (SNAPSTART_MARK, RESTORE_NEXT_MARK, CHECKED),
        (CHECK_BEFORE_CHECKPOINT_MARK, RESTORE_NEXT_MARK + SNAPSTART_MARK, LATER),
    ],
)
@pytest.mark.parametrize("chunk", [7, 32, 64])
def test_a_mark_across_the_border_of_two_chunks_is_found(monkeypatch, tmp_path, mark, prefix, expected, chunk):
    """Wherever a mark begins, and however small the pieces are that are read."""
    monkeypatch.setattr(adapter, "_CHUNK_BYTES", chunk)
    found = {inspect_bytes(tmp_path, prefix + b"-" * offset + mark + b"-" * 50) for offset in range(2 * chunk + 2)}

    assert {expected} == found


def test_a_mark_across_the_real_border_is_found(tmp_path):
    """The same at the size of chunk that is used."""
    border = 1 << 20

    data = b"-" * (border - 5) + RESTORE_NEXT_MARK + b"-" * (border - 25) + SNAPSTART_MARK

    assert inspect_bytes(tmp_path, data) == CHECKED


@pytest.mark.parametrize(
    ("found", "posts", "expected"),
    [(None, False, 1), (None, True, 1), (LATER, False, 1), (LATER, True, 2), (CHECKED, True, 1)],
)
def test_one_check_comes_before_the_snapshot_or_two(found, posts, expected):
    """Another check comes only in the later releases, and only where there is a POST to come before."""
    assert expected == checks_before_snapshot(found, posts_before_checkpoint=posts)


# --- who asks for restore/next ---------------------------------------------------------------------------------------

REFUSED_KIND = "no readiness check after the restore"
NEVER_WILL = "never asks for restore/next"
NO_EFFECT = "has no effect"
BOTH_ASK = "the second caller is refused"
DOES_NOT_WAIT = "does not wait for `snapext checkpoint`"
NOBODY_HELD = "nothing may wait for it"
NOT_THERE = "if nothing asks"
TABLE = [
    # adapter, mode, setting: who asks, what is refused, what is warned of
    (None, "gate", None, "extension", None, [NOBODY_HELD]),
    (None, "gate", "extension", "extension", None, []),
    (None, "gate", "adapter", "adapter", None, [NOT_THERE]),
    (NEVER, "gate", None, "extension", None, []),
    (NEVER, "gate", "extension", "extension", None, []),
    (NEVER, "gate", "adapter", "adapter", NEVER_WILL, []),
    (UNCHECKED, "gate", None, "adapter", REFUSED_KIND, []),
    (UNCHECKED, "gate", "extension", "extension", REFUSED_KIND, []),
    (UNCHECKED, "gate", "adapter", "adapter", REFUSED_KIND, []),
    (CHECKED, "gate", None, "adapter", None, []),
    (CHECKED, "gate", "extension", "extension", None, [BOTH_ASK]),
    (CHECKED, "gate", "adapter", "adapter", None, []),
    (None, "explicit", None, "extension", None, []),
    (None, "explicit", "extension", "extension", None, []),
    (None, "explicit", "adapter", "extension", None, [NO_EFFECT]),
    (NEVER, "explicit", None, "extension", None, [DOES_NOT_WAIT]),
    (NEVER, "explicit", "extension", "extension", None, [DOES_NOT_WAIT]),
    (NEVER, "explicit", "adapter", "extension", NEVER_WILL, []),
    (UNCHECKED, "explicit", None, "extension", None, [DOES_NOT_WAIT]),
    (UNCHECKED, "explicit", "extension", "extension", None, [DOES_NOT_WAIT]),
    (UNCHECKED, "explicit", "adapter", "extension", None, [NO_EFFECT, DOES_NOT_WAIT]),
    (CHECKED, "explicit", None, "extension", None, [DOES_NOT_WAIT]),
    (CHECKED, "explicit", "extension", "extension", None, [DOES_NOT_WAIT]),
    (CHECKED, "explicit", "adapter", "extension", None, [NO_EFFECT, DOES_NOT_WAIT]),
    (None, "auto", None, "extension", None, []),
    (None, "auto", "extension", "extension", None, []),
    (None, "auto", "adapter", "extension", None, [NO_EFFECT]),
    (NEVER, "auto", None, "extension", None, []),
    (NEVER, "auto", "extension", "extension", None, []),
    (NEVER, "auto", "adapter", "extension", NEVER_WILL, []),
    (UNCHECKED, "auto", None, "extension", None, []),
    (UNCHECKED, "auto", "extension", "extension", None, [BOTH_ASK]),
    (UNCHECKED, "auto", "adapter", "extension", None, [NO_EFFECT]),
    (CHECKED, "auto", None, "extension", None, []),
    (CHECKED, "auto", "extension", "extension", None, [BOTH_ASK]),
    (CHECKED, "auto", "adapter", "extension", None, [NO_EFFECT]),
]


def test_the_table_has_every_cell():
    """No pair of an adapter and a setting is left to chance."""
    adapters, modes, settings = (
        (None, NEVER, UNCHECKED, CHECKED),
        ("gate", "explicit", "auto"),
        (None, "extension", "adapter"),
    )

    assert {(a, m, s) for a in adapters for m in modes for s in settings} == {row[:3] for row in TABLE}


@for_each("found, mode, setting, caller, refused, warned", TABLE)
def test_who_asks_follows_from_adapter_mode_and_setting(found, mode, setting, caller, refused, warned):
    """One line for each contradiction; an error alone, for then nothing else matters."""
    decision = decide(found, mode, setting, snap_start=True)

    assert (caller, len(warned)) == (decision.caller, len(decision.warnings))
    assert all(word in text for word, text in zip(warned, decision.warnings, strict=True))
    assert (refused is None) == (decision.error is None)
    assert refused is None or refused in str(decision.error)
    assert all(len(text.splitlines()) == 1 for text in (*decision.warnings, str(decision.error)))


@for_each("found, mode, setting, caller, refused, warned", TABLE)
def test_without_snapstart_nothing_is_refused(found, mode, setting, caller, refused, warned):
    """Nobody asks for restore/next there. What would end the initialisation of a version is said before it is one."""
    decision = decide(found, mode, setting, snap_start=False)

    assert decision.error is None
    assert [refused is not None] * len(decision.warnings) == ([] if refused is None else [True])
    assert refused is None or refused in decision.warnings[0]


def test_a_refusal_is_a_configuration_error_that_says_what_to_use():
    """It ends as every setting that is not accepted does: exit status 2, and one line."""
    errors = [decide(*cell, snap_start=True).error for cell in ((UNCHECKED, "gate", None), (NEVER, "gate", "adapter"))]

    assert all(isinstance(error, ConfigError) for error in errors)
    assert "use 0.9.1 or 1.0.x as released, or 1.1.0 and later" in str(errors[0])
    assert str(errors[0]).startswith("the web adapter (lambda-adapter) asks for restore/next by itself")
    assert str(errors[1]).startswith("SNAPEXT_RESTORE_CALLER='adapter' is not accepted: ")
    assert "unset it" in str(errors[1])


@pytest.mark.parametrize(("name", "kind"), [("builtin", Kind.NEVER_ASKS), ("builtin-1.1", Kind.ASKS_AND_CHECKS)])
def test_our_stand_in_has_the_marks_of_what_it_plays(tmp_path, name, kind):
    """So that the extension beside it decides as it would beside a real one."""
    layout = lay_out(str(tmp_path), name)
    found = inspect(layout.extensions_folder)

    assert kind is found.kind
    assert found.checks_before_checkpoint is (name == "builtin-1.1")
