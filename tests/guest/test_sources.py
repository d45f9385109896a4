# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A kernel of this machine answers like the archive's: one that lies as a build left it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.guest.conftest import Project, exported
from tests.guest.inprocess import OneCell

MATRIX = """\
kernels:
  - {{tree: {tree}, name: built}}
architectures: [x86_64]
probes: [small]
"""


def as_built(folder: Path, tree: Path) -> None:
    """What is in `folder` as packages lay it out, laid out as `make` does."""
    (modules,) = folder.glob("lib/modules/*")
    names = [path.relative_to(modules / "kernel") for path in (modules / "kernel").rglob("*.ko")]
    for path in names:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        os.link(modules / "kernel" / path, tree / path)
    for target, source in {
        ".config": folder / f"boot/config-{modules.name}",
        "arch/x86/boot/bzImage": folder / f"boot/vmlinuz-{modules.name}",
        "modules.builtin": modules / "modules.builtin",
        "modules.builtin.modinfo": modules / "modules.builtin.modinfo",
    }.items():
        (tree / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tree / target)
    (tree / "include/config").mkdir(parents=True)
    (tree / "include/config/kernel.release").write_text(f"{modules.name}\n")
    (tree / "modules.order").write_text("".join(f"{path.with_suffix('.o')}\n" for path in names))


def test_a_kernel_of_this_machine_answers_as_the_archives_does(project: Project) -> None:
    folder = OneCell.of(project.root, "kernel=6.12,arch=x86_64").copy_tree(project.root / "unpacked")
    tree = project.root / "built"
    as_built(folder, tree)
    project.small()
    (project.root / "matrix.yaml").write_text(MATRIX.format(tree=tree))
    done = project.runner("matrix", "run")
    assert done.returncode == 0, done.stdout + done.stderr  # every claim holds, as on the kernel from the archive
    (cell,) = exported(project)["cells"]
    assert cell["kernel"]["name"] == "built"
    assert cell["outcome"] == "ran"
    assert [claim["verdict"] for claim in cell["claims"]] == ["holds", "holds"]
    assert cell["kernel"]["compiler"].startswith("x86_64-linux-gnu-gcc")
    assert (cell["kernel"]["pahole"], cell["kernel"]["lacks"]) == ("1.30", [])
