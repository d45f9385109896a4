"""Building a kernel, with a tree whose makefile has the targets of a kernel's and compiles one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import BuildError, InfraError
from runner.kernels import build
from runner.kernels.build import build_kernel
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
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(build, "TOOLS", ("make",))
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "Makefile").write_text(MAKEFILE)
    (tmp_path / "source" / "x.c").write_text("int x;\n")
    return tmp_path / "source"


def made(tree: Path, fragment: Path = build.FRAGMENT) -> Path:
    objects = tree.with_name("objects")
    deadline = Deadline.after(60, "the test's limit")
    build_kernel(tree, objects, "x86_64", native=True, jobs=1, deadline=deadline, fragment=fragment)
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
    assert sorted(path.name for path in tree.iterdir()) == ["Makefile", "x.c"]


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


def test_what_is_not_installed_is_said_before_anything_is_built(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "TOOLS", ("make", "no-such-pahole"))
    with pytest.raises(InfraError, match="no-such-pahole is not installed") as caught:
        made(tree)
    assert "apt-get install" in caught.value.hint
    assert not tree.with_name("objects").exists()


def test_an_architecture_without_a_row_is_refused(tree: Path) -> None:
    deadline = Deadline.after(60, "the test's limit")
    with pytest.raises(InfraError, match="cannot be built here"):
        build_kernel(tree, tree, "vax", native=True, jobs=1, deadline=deadline)


def test_the_options_have_what_a_kernel_needs_to_answer() -> None:
    lines = set(build.FRAGMENT.read_text().splitlines())
    needs = [need for arch in ("x86_64", "arm64") for need in needs_of(architecture(arch))]
    missing = [need.option for need in needs if not {f"CONFIG_{need.option}={how}" for how in "ym"} & lines]
    assert missing == []
