# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which files a command has in its guest: what is named, and nothing else of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Any

import pytest

from runner.errors import InfraError, UserError
from runner.guest import share
from runner.guest.share import pushed as without_folder
from runner.guest.share import stage
from runner.model import SHARED
from runner.probes.commands import KIND
from runner.probes.commands import written as files
from runner.probes.commands.written import UserCommand, WrittenCommand, command_of


def read(root: Path, *named: str, **more: Any) -> UserCommand:
    return command_of(root, WrittenCommand.model_validate({"run": ["./t"], "files": named, **more}))


def laid(mine: UserCommand, arch: str = "x86_64") -> dict[str, str]:
    """What lies in /payload: a file's content, or where a link leads."""
    return {it.path: f"-> {it.link}" if it.link else mine.contents[it.content].decode() for it in mine.files[arch]}


def written(root: Path, **contents: str) -> None:
    for name, content in contents.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_a_folder_is_copied_whole_and_by_its_name(tmp_path: Path) -> None:
    written(tmp_path, data__a="1", data__sub__b="2", t="3", other="4")
    os.mkfifo(tmp_path / "data" / "pipe")
    assert laid(read(tmp_path, "data", "t")) == {"data/a": "1", "data/sub/b": "2", "t": "3"}
    assert laid(read(tmp_path, "data:x/y", "t:z")) == {"x/y/a": "1", "x/y/sub/b": "2", "z": "3"}


@pytest.mark.parametrize("folder", ["data", "other/../data", "./data"])
def test_a_link_that_leads_out_of_its_folder_is_left_out(folder: str, tmp_path: Path) -> None:
    written(tmp_path, data__a="1", data__sub__b="2", data2__c="3", secret="4", other__d="5")
    links = {
        "data/in": "a", "data/sub/up": "../a", "data/folder": "sub", "data/sub/out": "../../secret",
        "data/whole": str(tmp_path / "secret"), "data/beside": "../data2/c", "data/etc": "/etc",
    }  # fmt: skip
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    assert laid(read(tmp_path, folder)) == {
        "data/a": "1", "data/sub/b": "2", "data/in": "-> a", "data/sub/up": "-> ../a", "data/folder": "-> sub"
    }  # fmt: skip


def test_modes_are_kept_without_setuid(tmp_path: Path) -> None:
    written(tmp_path, t="same", u="same")
    (tmp_path / "t").chmod(0o4755)
    (tmp_path / "u").chmod(0o640)
    mine = read(tmp_path, "t", "u")
    t, u = mine.files["arm64"]
    assert (t.mode, u.mode) == (0o755, 0o640)
    assert t.content != u.content  # in a guest it is one file by this name, with its mode
    assert len(mine.contents) == 2


def test_each_architecture_has_its_own_file(tmp_path: Path) -> None:
    written(tmp_path, x86_64__t="x", amd64="go", arm64__t="a")
    mine = read(tmp_path, "{arch}/t")
    assert (laid(mine), laid(mine, "arm64")) == ({"t": "x"}, {"t": "a"})
    assert mine.files.keys() == {"x86_64", "arm64"}
    assert "s390x/t: no such file" in mine.said["s390x"]
    assert laid(read(tmp_path, "{goarch}:bin/{arch}")) == {"bin/x86_64": "go"}
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path, "{arch}/none")


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (("t", "sub/t"), "two files would be /payload/t"),
        (("t:../t",), "is to lie below /payload"),
        (("t:/etc/passwd",), "is to lie below /payload"),
        (("t:a\x07b",), "is to lie below /payload"),
        (("none",), "cannot be read"),
        (("pipe",), "is no regular file"),
    ],
)
def test_mistakes_are_told(named: tuple[str, ...], said: str, tmp_path: Path) -> None:
    written(tmp_path, t="1", sub__t="2")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=said):
        read(tmp_path, *named)


def test_the_same_file_may_be_named_twice(tmp_path: Path) -> None:
    written(tmp_path, sub__t="1")
    assert laid(read(tmp_path, "sub", "sub/t:sub/t")) == {"sub/t": "1"}


def test_there_is_a_limit_of_bytes_and_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, data__a="12", data__b="34")
    monkeypatch.setattr(files, "LARGEST", 3)
    with pytest.raises(UserError, match=r"for one command, with .*data/b"):
        read(tmp_path, "data")
    monkeypatch.setattr(files, "LARGEST", 4)
    assert len(read(tmp_path, "data").files["x86_64"]) == 2
    monkeypatch.setattr(files, "_MOST_FILES", 1)
    with pytest.raises(UserError, match=r"for one command, with .*data/b"):
        read(tmp_path, "data")


def test_what_is_too_large_to_copy_is_named_by_its_path_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, data__a="12", data__sub__b="34")
    (tmp_path / "data/link").symlink_to("sub/b")
    monkeypatch.setattr(files, "MOST_COPIED", 3)
    mine = read(tmp_path, "data")
    assert {name[:7] for name in mine.contents} == {SHARED}
    assert sorted(map(os.fsdecode, mine.contents.values())) == [f"{tmp_path}/data/a", f"{tmp_path}/data/sub/b"]
    (ask,) = KIND.asks((mine,), None, ())
    assert ask.body["shared"] is True
    shown = KIND.shared(ask, "x86_64", KIND.pushed((mine,), "x86_64"))
    folder = tmp_path / "shown"
    stage(shown, folder)
    tree = folder / str(ask.body["tree"])
    assert {str(it.relative_to(tree)): it.read_text() for it in tree.rglob("*") if not it.is_dir()} == {
        "data/a": "12", "data/sub/b": "34", "data/link": "34"
    }  # fmt: skip
    assert (tree / "data/link").readlink() == Path("sub/b")
    pushed = without_folder(KIND.pushed((mine,), "x86_64"))
    assert sorted(pushed.values()) == [b"12", b"34"], "where no folder can be shown"
    assert not KIND.shared(ask, "x86_64", pushed)
    monkeypatch.setattr(share, "MOST_PUSHED", 3)
    with pytest.raises(InfraError, match="go only to guests of this machine with 9p"):
        without_folder(KIND.pushed((mine,), "x86_64"))


@pytest.mark.parametrize("change", [lambda path: path.write_text("56"), Path.unlink], ids=["another", "gone"])
def test_a_file_that_changes_after_the_plan_is_noticed(
    change: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, data__a="12")
    monkeypatch.setattr(files, "MOST_COPIED", 1)
    mine = read(tmp_path, "data")
    (ask,) = KIND.asks((mine,), None, ())
    pushed = KIND.pushed((mine,), "x86_64")
    change(tmp_path / "data/a")
    with pytest.raises(InfraError, match="data/a changed since the run was planned"):
        stage(KIND.shared(ask, "x86_64", pushed), tmp_path / "shown")
    with pytest.raises(InfraError, match="data/a changed since the run was planned"):
        without_folder(pushed)


def test_a_command_is_called_as_its_program(tmp_path: Path) -> None:
    assert [read(tmp_path, run=[run]).id for run in ("./x/prog.test", "../.a b", "///")] == [
        "prog.test",
        "a-b",
        "command",
    ]
    assert read(tmp_path, id="mine").files["x86_64"] == ()


@pytest.mark.parametrize("named", [("{arch}/t", "{arch}/t:/t"), ("{arch}/t", "{arch}/u:t"), ("{arch}/t", "absent")])
def test_a_file_for_each_architecture_hides_no_other_mistake(named: tuple[str, ...], tmp_path: Path) -> None:
    written(tmp_path, arm64__t="a", arm64__u="b")
    with pytest.raises(UserError, match=r"is to lie below /payload|two files would be /payload/t|absent"):
        read(tmp_path, *named)


def test_each_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, t="x", arm64__u="a")
    reads: list[int] = []
    real = files._read

    def counting(stream: BufferedReader, *, whole: bool) -> tuple[str, bytes]:
        reads.append(stream.fileno())
        return real(stream, whole=whole)

    monkeypatch.setattr(files, "_read", counting)
    mine = read(tmp_path, "t", "{arch}/u")
    assert laid(mine, "arm64") == {"t": "x", "u": "a"}
    assert len(reads) == 2
