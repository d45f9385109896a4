"""Building a kernel, with a tree whose makefile has the targets of a kernel's and compiles one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.deadline import Deadline
from runner.errors import BuildError, InfraError
from runner.kernels import build
from runner.kernels.build import build_kernel
from runner.kernels.needs import NEEDS

# what it made of which options, and by whom, so that tests see it
MAKEFILE = """
allnoconfig:
\tcp $(KCONFIG_ALLCONFIG) $(O)/.config
\techo new >> $(O)/configured
olddefconfig:
\techo old >> $(O)/configured
bzImage:
\t@if grep -q broken x.c; then echo "x.c:3:1: error: expected ';'" >&2; exit 2; fi
\t@if grep -q full x.c; then echo "x.c: fatal error: error writing to x.s: No space left on device" >&2; exit 2; fi
\t@if grep -q killed x.c; then kill -9 $$PPID; fi
\techo "$(ARCH) $(KBUILD_BUILD_USER) $(KBUILD_BUILD_TIMESTAMP)" > $(O)/image
modules:
\ttouch $(O)/modules.order
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(build, "_TOOLS", ("make",))
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "Makefile").write_text(MAKEFILE)
    (tmp_path / "source" / "x.c").write_text("int x;\n")
    return tmp_path / "source"


def made(tree: Path, fragment: Path = build.FRAGMENT) -> Path:
    objects = tree.with_name("objects")
    deadline = Deadline.after(60, "the test's limit")
    build_kernel(tree, objects, "x86_64", native=True, jobs=1, deadline=deadline, fragment=fragment)
    return objects


def test_the_configuration_is_made_anew_only_for_other_options(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.config"
    other.write_text("CONFIG_NET=y\n")
    made(tree)
    made(tree)
    objects = made(tree, other)
    assert (objects / "configured").read_text().split() == ["new", "old", "new"]
    assert (objects / ".config").read_text() == "CONFIG_NET=y\n"
    assert (objects / "image").read_text() == "x86_64 runner Thu Jan  1 00:00:00 UTC 1970\n"
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
    monkeypatch.setattr(build, "_TOOLS", ("make", "no-such-pahole"))
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
    missing = [need.option for need in NEEDS if not {f"CONFIG_{need.option}={how}" for how in "ym"} & lines]
    assert missing == []
