# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The store: an entry is whole and verified, or it is not there, whatever happens to its maker."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import InfraError
from runner.store import Store, key_of, write_atomically
from tests.samples import soon

KEY = key_of(recipe=1, name="test")


def make(tree: Path) -> None:
    (tree / "lib").mkdir()
    (tree / "lib/data").write_bytes(b"x" * 1000)
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o755)


def never(tree: Path) -> None:
    pytest.fail("made again")


def test_an_entry_is_made_once_and_found_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.get(KEY) is None
    assert not store.has(KEY)
    first = store.ensure(KEY, make, deadline=soon())
    assert store.has(KEY)
    assert store.ensure(KEY, never, deadline=soon()) == first == store.get(KEY)
    assert set(first.files) == {PurePosixPath("lib/data"), PurePosixPath("run")}
    assert (first.tree / "lib/data").stat().st_mode & 0o777 == 0o444
    assert (first.tree / "run").stat().st_mode & 0o777 == 0o555


def test_the_digest_depends_on_the_content_alone(tmp_path: Path) -> None:
    here, there = Store(tmp_path / "a"), Store(tmp_path / "b")
    assert here.ensure(KEY, make, deadline=soon()).sha256 == there.ensure(KEY, make, deadline=soon()).sha256

    def other(tree: Path) -> None:
        make(tree)
        (tree / "run").write_text("#!/bin/bash\n")

    assert here.ensure("0" * 64, other, deadline=soon()).sha256 != here.ensure(KEY, never, deadline=soon()).sha256


def flip(tree: Path) -> None:
    (tree / "lib/data").chmod(0o644)
    (tree / "lib/data").write_bytes(b"x" * 999 + b"y")


def cut(tree: Path) -> None:
    (tree / "lib/data").chmod(0o644)
    (tree / "lib/data").write_bytes(b"x" * 10)


def lose(tree: Path) -> None:
    (tree / "lib/data").unlink()


def add(tree: Path) -> None:
    (tree / "lib/more").touch()


def link(tree: Path) -> None:
    (tree / "lib/more").symlink_to("/etc/passwd")


def spoil_manifest(tree: Path) -> None:
    (tree.parent / "manifest.json").write_text('{"files": [')


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (flip, "lib/data"),
        (cut, "lib/data"),
        (lose, "lib/data"),
        (add, "lib/more"),
        (link, "lib/more"),
        (spoil_manifest, "manifest.json"),
    ],
)
def test_a_damaged_entry_is_reported_and_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None], named: str
) -> None:
    store = Store(tmp_path)
    first = store.ensure(KEY, make, deadline=soon())
    damage(first.tree)
    with caplog.at_level(logging.WARNING):
        assert store.get(KEY) is None
    assert named in caplog.text
    assert store.ensure(KEY, make, deadline=soon()) == first
    assert sorted(path.name for path in tmp_path.iterdir()) == [KEY, f"{KEY}.lock"]


def test_a_failed_maker_leaves_nothing(tmp_path: Path) -> None:
    def fail(tree: Path) -> None:
        make(tree)
        raise InfraError("no network")

    with pytest.raises(InfraError, match="no network"):
        Store(tmp_path).ensure(KEY, fail, deadline=soon())
    assert [path.name for path in tmp_path.iterdir()] == [f"{KEY}.lock"]


def test_a_link_cannot_be_stored(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="not a plain file"):
        Store(tmp_path).ensure(KEY, lambda tree: (tree / "link").symlink_to("/etc/passwd"), deadline=soon())
    assert not Store(tmp_path).has(KEY)


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.integers() | st.text() | st.lists(st.text())))
def test_keys_do_not_depend_on_order_and_differ_with_content(parts: dict[str, object]) -> None:
    key = key_of(parts=parts)
    assert key == key_of(parts=dict(reversed(parts.items())))
    assert key != key_of(parts={**parts, "one more": 1})


def test_writing_atomically_keeps_the_old_file_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, None)  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
