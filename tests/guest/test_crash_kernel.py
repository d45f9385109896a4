# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""crash_kexec takes a kernel down by design: the claim about it is not run. Here it is, with a crash kernel loaded."""

from __future__ import annotations

import shutil

from runner.engine.fleet import this_machine
from runner.model.deadline import Deadline
from runner.probes.compile import compile_program
from tests.guest.conftest import Project
from tests.guest.inprocess import OneCell

MATRIX = """\
kernels:
  - {debian: trixie, series: "6.12", cmdline: crashkernel=160M}
architectures: [x86_64]
probes: [crash]
"""
MARK = "runner.after_crash_kexec"  # on the command line of the crash kernel, which has no root and panics
SCRIPT = f"""\
import ctypes, os, subprocess, sys
line = b"console=ttyS0 panic=-1 {MARK} earlyprintk=serial,ttyS0,115200 nr_cpus=1"
kernel = os.open("vmlinuz", os.O_RDONLY)
# kexec_file_load(2): KEXEC_FILE_ON_CRASH, KEXEC_FILE_NO_INITRAMFS
if ctypes.CDLL(None, use_errno=True).syscall(320, kernel, -1, len(line) + 1, line, ctypes.c_ulong(2 | 4)):
    sys.exit(os.strerror(ctypes.get_errno()))
open("packet", "wb").write(bytes(64))
subprocess.run(["bpftool", "prog", "loadall", "crash.bpf.o", "/sys/fs/bpf/crash"], check=True)
subprocess.run(["bpftool", "prog", "run", "pinned", "/sys/fs/bpf/crash/any_crash", "data_in", "packet"], check=True)
"""


def test_the_crash_kernel_is_started(project: Project) -> None:
    (project.root / "matrix.yaml").write_text(MATRIX)
    cell = OneCell.of(project.root, "arch=x86_64")
    limit = Deadline.after(600, "the test's limit")
    kernel, _ = this_machine(offline=False).prepare(cell.cell, deadline=limit)
    shutil.copyfile(kernel.image, project.root / "vmlinuz")
    compile_program(project.root / "bpf" / "crash.bpf.c", ["x86_64"], project.root, deadline=limit)
    shutil.copyfile(project.root / "x86_64" / "crash.bpf.o", project.root / "crash.bpf.o")
    (project.root / "start.py").write_text(SCRIPT)
    copies = ["--copy", "start.py", "--copy", "vmlinuz", "--copy", "crash.bpf.o"]
    done = project.runner("exec", "--silence", "200", *copies, "--", "python3", "start.py")
    log = next((project.root / "reports" / "runs").glob("*/*/console.log")).read_text(errors="replace")
    assert MARK in log.partition("Linux version")[2].partition("Linux version")[2], done.stdout + log[-4000:]
    assert done.returncode != 0, "the command does not come back"
