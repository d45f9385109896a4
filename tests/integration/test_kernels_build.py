# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Building a kernel, with a tree whose makefile has the targets of a kernel's and compiles one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import BuildError, InfraError, UserError
from runner.kernels import build
from runner.kernels.build import Recipe, build_kernel
from runner.kernels.needs import needs_of
from runner.model.architecture import architecture
from runner.model.deadline import Deadline

# What it made of which options, and by whom, so that tests see it. The first target is what `vng --build` makes.
MAKEFILE = """
all:
\t@if grep -q broken x.c; then echo "x.c:3:1: error: expected ';'" >&2; exit 2; fi
\t@if grep -q full x.c; then echo "x.c: fatal error: error writing to x.s: No space left on device" >&2; exit 2; fi
\t@if grep -q killed x.c; then kill -9 $$PPID; fi
\t@echo compiled
\techo "$(ARCH) $(KBUILD_BUILD_USER) $(KBUILD_BUILD_TIMESTAMP) '$(LOCALVERSION)'" > $(KBUILD_OUTPUT)/image
allnoconfig:
\techo "# CONFIG_SMALL is not set" > $(KBUILD_OUTPUT)/.config
\tcat $(KCONFIG_ALLCONFIG) >> $(KBUILD_OUTPUT)/.config
syncconfig:
\techo >> $(KBUILD_OUTPUT)/.config
\tsed -i -f drops $(KBUILD_OUTPUT)/.config
"""
KCONFIG = """
config DEBUG_INFO_BTF
\tbool "Generate BTF type information"
\tdepends on !DEBUG_INFO_SPLIT && !DEBUG_INFO_REDUCED
\tdepends on PAHOLE_VERSION >= 122
\tdepends on DEBUG_INFO_DWARF4 || PAHOLE_VERSION >= 121
\thelp
\t  Generate deduplicated BTF type information.

config PAHOLE_HAS_BTF_TAG
\tdef_bool PAHOLE_VERSION >= 123
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(build, "TOOLS", ("make",))
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "Makefile").write_text(MAKEFILE)
    (tmp_path / "source" / "x.c").write_text("int x;\n")
    (tmp_path / "source" / "drops").touch()
    (tmp_path / "source" / "lib").mkdir()
    (tmp_path / "source" / "lib" / "Kconfig.debug").write_text(KCONFIG)
    return tmp_path / "source"


def made(tree: Path, fragment: Path = build.FRAGMENT, compiler: str = "") -> Path:
    objects = tree.with_name("objects")
    deadline = Deadline.after(60, "the test's limit")
    build_kernel(tree, objects, Recipe("x86_64", fragment, compiler), jobs=1, deadline=deadline)
    return objects


def test_the_options_are_virtmes_and_ours_however_often_it_is_built(tree: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.config"
    mine.write_text("CONFIG_OURS=m\n")
    config = (made(tree, mine) / ".config").read_text()
    assert (made(tree, mine) / ".config").read_text() == config
    lines = config.splitlines()
    assert lines[:2] == ["# CONFIG_SMALL is not set", "CONFIG_OURS=m"]  # allnoconfig knew ours
    assert "CONFIG_VIRTIO_NET=y" in lines  # virtme-ng's
    assert "CONFIG_OURS=m" in lines[lines.index("CONFIG_DRM=y") :]  # ours can take back what virtme-ng proposes


def test_the_same_source_gives_the_same_image_and_is_not_touched(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "home" / ".config" / "virtme-ng"
    settings.mkdir(parents=True)
    (settings / "kernel.config").write_text("CONFIG_OF_THE_USER=y\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    objects = made(tree)
    assert (objects / "image").read_text() == "x86 runner Thu Jan  1 00:00:00 UTC 1970 ''\n"
    assert "OF_THE_USER" not in (objects / ".config").read_text()
    assert "compiled" in (objects / build.LOG).read_text()
    assert sorted(path.name for path in tree.iterdir()) == ["Makefile", "drops", "lib", "x.c"]


def test_a_source_that_does_not_build_has_the_compilers_words(tree: Path) -> None:
    (tree / "x.c").write_text("broken\n")
    with pytest.raises(BuildError, match=r"does not build:\nx\.c:3:1: error: expected ';'"):
        made(tree)
    assert "x.c:3:1" in (tree.with_name("objects") / build.LOG).read_text()


@pytest.mark.parametrize("fault", ["full", "killed"])
def test_a_machine_that_fails_says_nothing_about_the_source(tree: Path, fault: str) -> None:
    (tree / "x.c").write_text(fault)
    with pytest.raises(InfraError, match="the machine failed"):
        made(tree)


def test_a_pahole_that_is_too_old_is_told_before_anything_is_compiled(tree: Path) -> None:
    (tree / "drops").write_text("/^CONFIG_DEBUG_INFO_BTF=/d\n$aCONFIG_PAHOLE_VERSION=115\n")
    with pytest.raises(InfraError) as caught:
        made(tree)
    assert caught.value.what == "DEBUG_INFO_BTF did not take: pahole 1.15, needs 1.22"
    assert "compiled" not in (tree.with_name("objects") / build.LOG).read_text()


def test_an_option_that_a_source_does_not_take_is_told_before_anything_is_compiled(tree: Path, tmp_path: Path) -> None:
    (tree / "drops").write_text("/^CONFIG_DEBUG_INFO_BTF=/d\n$aCONFIG_PAHOLE_VERSION=130\n")
    with pytest.raises(BuildError, match=r"DEBUG_INFO_BTF did not take: it depends on !DEBUG_INFO_SPLIT && !DEBUG_INF"):
        made(tree)
    (tree / "drops").write_text("/^CONFIG_FUTEX=/d\n")
    with pytest.raises(BuildError, match=r"FUTEX did not take: this kernel does not have it"):
        made(tree)
    assert "compiled" not in (tree.with_name("objects") / build.LOG).read_text()
    mine = tmp_path / "mine.config"
    mine.write_text("CONFIG_OURS=m\n")  # who asks for something else gets that
    assert "compiled" in (made(tree, mine) / build.LOG).read_text()


def test_the_compiler_can_be_chosen(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "Makefile").write_text(
        f"CC = gcc\nHOSTCC = gcc\n{MAKEFILE}\techo $(CC) $(HOSTCC) >> $(KBUILD_OUTPUT)/compiler\n"
    )
    assert (made(tree) / "compiler").read_text() == "gcc gcc\n"
    assert (made(tree, compiler="cc") / "compiler").read_text() == "gcc gcc\ncc cc\n"
    monkeypatch.setattr(build, "TOOLS", ("gcc",))
    with pytest.raises(InfraError, match="gcc-4711 is not installed"):
        made(tree, compiler="gcc-4711")
    with pytest.raises(UserError, match="is not a compiler's name"):
        made(tree, compiler="gcc; id")


def test_a_compiler_that_is_too_new_is_told(tree: Path) -> None:
    error = "error: cannot use keyword 'false' as enumeration constant"
    (tree / "Makefile").write_text(MAKEFILE.replace("error: expected ';'", error))
    (tree / "x.c").write_text("broken\n")
    with pytest.raises(BuildError, match="need an older one here: --cc gcc-14"):
        made(tree)


def test_what_is_not_installed_is_said_before_anything_is_built(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "TOOLS", ("make", "no-such-pahole"))
    with pytest.raises(InfraError, match="no-such-pahole is not installed") as caught:
        made(tree)
    assert "apt-get install" in caught.value.hint
    assert not tree.with_name("objects").exists()


def test_an_architecture_without_a_row_is_refused(tree: Path) -> None:
    deadline = Deadline.after(60, "the test's limit")
    with pytest.raises(InfraError, match="cannot be built here"):
        build_kernel(tree, tree, Recipe("riscv64"), jobs=1, deadline=deadline)


def test_the_options_have_what_a_kernel_needs_to_answer() -> None:
    lines = set(build.FRAGMENT.read_text().splitlines())
    needs = [need for arch in ("x86_64", "arm64") for need in needs_of(architecture(arch))]
    missing = [need.option for need in needs if not {f"CONFIG_{need.option}={how}" for how in "ym"} & lines]
    assert missing == []
