"""Which adapter runs beside us, read off its binary."""

import pytest

from snapext_extension import adapter
from snapext_extension.adapter import (
    CHECK_BEFORE_CHECKPOINT_MARK,
    RESTORE_NEXT_MARK,
    Adapter,
    checks_before_snapshot,
    inspect,
)

BOTH = Adapter(asks_restore_next=True, checks_before_checkpoint=True)


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
        (b"", Adapter(False, False)),
        (b"\x7fELF" + b"\x00" * 100, Adapter(False, False)),
        (b"\x7fELF/runtime/invocation/next", Adapter(False, False)),
        (b"x" + RESTORE_NEXT_MARK + b"y", Adapter(True, False)),
        (RESTORE_NEXT_MARK[:-1] + b"\x00" + CHECK_BEFORE_CHECKPOINT_MARK, Adapter(False, True)),
        (CHECK_BEFORE_CHECKPOINT_MARK + RESTORE_NEXT_MARK, BOTH),
    ],
)
def test_the_marks_tell_the_generations_apart(tmp_path, data, expected):
    """The path that an adapter asks for, and the name of its check, are in its read-only data."""
    assert expected == inspect_bytes(tmp_path, data)


@pytest.mark.parametrize("mark", [RESTORE_NEXT_MARK, CHECK_BEFORE_CHECKPOINT_MARK])
@pytest.mark.parametrize("chunk", [7, 32, 64])
def test_a_mark_across_the_border_of_two_chunks_is_found(monkeypatch, tmp_path, mark, chunk):
    """Wherever a mark begins, and however small the pieces are that are read."""
    monkeypatch.setattr(adapter, "_CHUNK_BYTES", chunk)
    found = {inspect_bytes(tmp_path, b"-" * offset + mark + b"-" * 50) for offset in range(2 * chunk + 2)}

    assert {Adapter(mark == RESTORE_NEXT_MARK, mark == CHECK_BEFORE_CHECKPOINT_MARK)} == found


def test_a_mark_across_the_real_border_is_found(tmp_path):
    """The same at the size of chunk that is used."""
    border = 1 << 20

    assert (
        inspect_bytes(
            tmp_path, b"-" * (border - 5) + RESTORE_NEXT_MARK + b"-" * (border - 25) + CHECK_BEFORE_CHECKPOINT_MARK
        )
        == BOTH
    )


@pytest.mark.parametrize(
    ("found", "posts", "expected"),
    [(None, False, 1), (None, True, 1), (BOTH, False, 1), (BOTH, True, 2), (Adapter(True, False), True, 1)],
)
def test_one_check_comes_before_the_snapshot_or_two(found, posts, expected):
    """Another check comes only in the later releases, and only where there is a POST to come before."""
    assert expected == checks_before_snapshot(found, posts_before_checkpoint=posts)
