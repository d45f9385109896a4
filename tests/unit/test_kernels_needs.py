"""What a kernel says of itself before it is booted."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from runner.kernels.needs import NEEDS, cannot_answer, read_build
from runner.model import Build, Kernel, Pin
from runner.probes.kind import Need
from runner.probes.kinds import KINDS
from tests.unit.kernel_samples import CONFIG, RELEASE, installed


def kernel(folder: Path, config: str = CONFIG) -> Kernel:
    root = PurePosixPath(installed(folder, config=config))
    return Kernel(
        pin=Pin(source="path:/x", arch="x86_64", version="6.12.10", release=RELEASE),
        sha256="0" * 64,
        root=root,
        image=root / f"boot/vmlinuz-{RELEASE}",
        config=root / f"boot/config-{RELEASE}",
    )


def said(folder: Path, config: str) -> tuple[Build, str]:
    one = kernel(folder, config)
    build = read_build(Path(one.config))
    return build, cannot_answer(one, build, KINDS)


def test_a_kernel_with_everything(tmp_path: Path) -> None:
    build, why = said(tmp_path, CONFIG)
    assert build == Build(compiler="gcc-14 (Debian 14.2.0-19) 14.2.0", pahole="1.30")
    assert why == ""


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: need.option)
def test_each_option_is_missed_by_name_and_only_a_vital_one_is_in_the_way(tmp_path: Path, need: Need) -> None:
    lines = [line for line in CONFIG.splitlines() if not line.startswith(f"CONFIG_{need.option}=")]
    build, why = said(tmp_path, "\n".join(lines))
    assert build.lacks == (need.option,)
    assert (f"CONFIG_{need.option} " in why) == need.vital


def test_a_module_that_is_not_there_is_in_the_way(tmp_path: Path) -> None:
    one = kernel(tmp_path)
    for path in tmp_path.rglob("virtio_blk.ko"):
        path.unlink()
    assert "without its module virtio_blk" in cannot_answer(one, read_build(Path(one.config)), KINDS)


def test_what_a_kernel_must_have_depends_on_what_is_asked(tmp_path: Path) -> None:
    one = kernel(tmp_path, CONFIG.replace("CONFIG_DEBUG_INFO_BTF=y\n", ""))
    build = read_build(Path(one.config))
    assert "CONFIG_DEBUG_INFO_BTF (kfuncs" in cannot_answer(one, build, ["claims"])
    assert cannot_answer(one, build, []) == ""


def test_without_modules_no_btf_of_modules_is_missed(tmp_path: Path) -> None:
    config = CONFIG.replace("CONFIG_MODULES=y", "# CONFIG_MODULES is not set").replace("=m", "=y")
    assert said(tmp_path, config.replace("CONFIG_DEBUG_INFO_BTF_MODULES=y\n", ""))[0].lacks == ()


def test_what_is_not_known_is_not_missing(tmp_path: Path) -> None:
    one = kernel(tmp_path)
    Path(one.config).unlink()
    build = read_build(Path(one.config))
    assert (build, cannot_answer(one, build, KINDS)) == (Build(), "")


@pytest.mark.parametrize(
    ("line", "compiler", "pahole"),
    [
        ('CONFIG_CC_VERSION_TEXT="a\x1b[2Jb"', "a?[2Jb", ""),
        ("CONFIG_PAHOLE_VERSION=0", "", ""),
        ("CONFIG_PAHOLE_VERSION=124", "", "1.24"),
        ("CONFIG_PAHOLE_VERSION=x", "", ""),
        (f'CONFIG_CC_VERSION_TEXT="{"x" * 5000}"', "x" * 200, ""),
    ],
)
def test_whoever_built_it_wrote_it(tmp_path: Path, line: str, compiler: str, pahole: str) -> None:
    path = tmp_path / "config"
    path.write_text(line + "\n")
    assert (read_build(path).compiler, read_build(path).pahole) == (compiler, pahole)
