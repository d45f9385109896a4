# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Compiling BPF programs, with the real clang."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from runner.errors import InfraError, UserError
from runner.model.deadline import Deadline
from runner.probes import compile_objects, compile_program, included

SOURCE = '#include "v.h"\nint value = VALUE;\n'


def project(tmp_path: Path, source: str = SOURCE) -> Path:
    (tmp_path / "bpf").mkdir()
    (tmp_path / "bpf" / "a.bpf.c").write_text(source)
    (tmp_path / "bpf" / "v.h").write_text("#define VALUE 1\n")
    return tmp_path


def objects(root: Path) -> dict[str, dict[str, bytes]]:
    return compile_objects(root, ["a"], ["little", "big"], root / "cache", deadline=Deadline.after(60, "test"))


def test_both_byte_orders(tmp_path: Path) -> None:
    made = objects(project(tmp_path))
    data = {order: files["a.bpf.o"][5] for order, files in made.items()}  # EI_DATA of the ELF header
    assert data == {"little": 1, "big": 2}


def test_made_again_only_when_a_source_changed(tmp_path: Path) -> None:
    root = project(tmp_path)
    first = objects(root)
    entries = sorted((root / "cache" / "objects").iterdir())
    assert objects(root) == first
    assert sorted((root / "cache" / "objects").iterdir()) == entries
    (root / "bpf" / "v.h").write_text("#define VALUE 2\n")
    assert objects(root)["little"] != first["little"], "a header counts as well"


def test_the_compilers_words_are_shown(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.bpf\.c does not compile") as caught:
        objects(project(tmp_path, "int broken(\n"))
    assert "error: expected" in caught.value.what


def test_no_source(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.bpf\.c does not exist"):
        objects(tmp_path)


def test_a_source_that_needs_a_newer_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = project(tmp_path, f"/* needs clang 97 */\n{SOURCE}")
    assert objects(root) == {"little": {}, "big": {}}, "what it asks has no answer"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "clang-97").symlink_to(shutil.which("clang") or "")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert {order: [*files] for order, files in objects(root).items()} == {"little": ["a.bpf.o"], "big": ["a.bpf.o"]}


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InfraError, match="clang is not installed"):
        objects(project(tmp_path))


def test_a_program_of_a_users_for_each_architecture(tmp_path: Path) -> None:
    source = tmp_path / "lb.bpf.c"
    source.write_text('#include "one.h"\n#include "two words.h"\n#ifdef __TARGET_ARCH_s390\nint s390;\n#endif\n')
    (tmp_path / "two words.h").touch()
    limit = Deadline.after(60, "test")
    found = included(source, "x86_64", deadline=limit)
    assert {path.name for path in found} == {"lb.bpf.c", "one.h", "two words.h"}
    (tmp_path / "one.h").touch()
    compile_program(source, ["x86_64", "s390x"], tmp_path / "out", deadline=limit)
    made = {arch: (tmp_path / "out" / arch / "lb.bpf.o").read_bytes() for arch in ("x86_64", "s390x")}
    assert {arch: (content[5], b"s390\0" in content) for arch, content in made.items()} == {
        "x86_64": (1, False),
        "s390x": (2, True),
    }
