# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Checks on the host, before anything boots, whether a guest can start a user's program. Its bytes are hostile."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from elftools.elf.segments import InterpSegment

from runner import userfile
from runner.errors import UserError
from runner.model.architecture import Architecture
from runner.probes.files import parsing
from runner.text import plain

_GLIBC = re.compile(r"GLIBC_(\d{1,3})\.(\d{1,3})(?:\.\d{1,3})?$")
_VERNEED_BYTES = 16  # of an Elf64_Verneed, and of an Elf64_Vernaux
_MACHINES = {
    "x86_64": "EM_X86_64",
    "arm64": "EM_AARCH64",
    "riscv64": "EM_RISCV",
    "s390x": "EM_S390",
    "ppc64le": "EM_PPC64",
}
_INTERPRETERS = {  # of scripts: the Debian packages that bring them
    "bash": ("bash", "bash-static"),
    "dash": ("dash",),
    "node": ("nodejs",),
    "perl": ("perl", "perl-base"),
    "python": ("python-is-python3",),
    "python3": ("python3", "python3-minimal"),
    "ruby": ("ruby",),
    "tclsh": ("tcl",),
    "zsh": ("zsh",),
}
_OF_EACH = "{arch}, {goarch} and {debarch} in its path name a file for each architecture; --arch says which to run on"
_STATIC = "link it statically: CGO_ENABLED=0 for Go, a musl target for Rust, -static for C"


def check_program(path: Path, arch: Architecture, packages: Mapping[str, str] | None) -> None:
    """Raises UserError for a program that cannot start in guests of this architecture, with what to do.

    `packages` are those of the guest's image, with their versions; None: not known, as of a container image.
    """
    with userfile.opened(path) as stream:
        check_stream(str(path), stream, arch, packages)


def check_stream(name: str, stream: BinaryIO, arch: Architecture, packages: Mapping[str, str] | None) -> None:
    """The same of a program that is open. Raises UserError."""
    begin = stream.read(4)
    stream.seek(0)
    if begin[:2] == b"#!" and packages is not None:
        _check_script(name, stream.readline(256), packages)
    elif begin == b"\x7fELF":
        with parsing(f"{name} is an ELF file that cannot be read", hint="build it again"):
            _check_elf(name, ELFFile(stream), arch, packages)


def _check_script(path: str, line: bytes, packages: Mapping[str, str]) -> None:
    """#!/usr/bin/env bash is run by bash."""
    words = [word for word in line[2:].decode(errors="replace").split() if not word.startswith("-")]
    if len(words) > 1 and PurePosixPath(words[0]).name == "env":
        words = words[1:]
    name = PurePosixPath(words[0]).name if words else ""
    brought_by = _INTERPRETERS.get(name, ())
    if brought_by and not any(package in packages for package in brought_by):
        what = f"{path} is run by {name}, which the guest's image does not have"
        raise UserError(what, hint=f"--package {brought_by[0]} adds it")


def _check_elf(path: str, elf: ELFFile, arch: Architecture, packages: Mapping[str, str] | None) -> None:
    built_for = (elf["e_machine"], elf.elfclass, elf.little_endian)
    if built_for != (_MACHINES[arch.name], 64, arch.byte_order == "little"):
        name = next((name for name, it in _MACHINES.items() if it == built_for[0] and elf.elfclass == 64), "")
        what = name if name not in {"", arch.name} else f"{built_for[0]}, {elf.elfclass} bit"
        raise UserError(f"{path} is built for {what}, and the guest is {arch.name}", hint=_OF_EACH)
    if packages is None:
        return
    segments = (segment for segment in elf.iter_segments("PT_INTERP") if isinstance(segment, InterpSegment))
    loader = next((plain(segment.get_interp_name(), 200) for segment in segments), "")
    if loader and PurePosixPath(loader).name != PurePosixPath(arch.loader).name:
        raise UserError(f"{path} needs {loader}, which the guest's image does not have", hint=_STATIC)
    needed, have = max(_glibc_of(elf, elf.stream_len), default=(0, 0)), _version(packages.get("libc6", ""))
    if have and needed > have:
        shown = [".".join(map(str, version)) for version in (needed, have)]
        raise UserError(f"{path} needs glibc {shown[0]}, and the guest's image has {shown[1]}", hint=_STATIC)


def _version(package: str) -> tuple[int, int] | None:
    """(2, 41) of 2.41-12+deb13u5, the version of Debian's libc6."""
    found = re.match(r"(\d{1,3})\.(\d{1,3})", package)
    return (int(found[1]), int(found[2])) if found else None


def _glibc_of(elf: ELFFile, size: int) -> Iterator[tuple[int, int]]:
    """The versions of glibc that it was linked to."""
    section = elf.get_section_by_name(".gnu.version_r")
    if not isinstance(section, GNUVerNeedSection) or section["sh_size"] > size:
        return
    if section["sh_info"] > section["sh_size"] // _VERNEED_BYTES:
        raise ValueError("section .gnu.version_r is longer than the file")
    for _, versions in section.iter_versions():
        for version in versions:
            if found := _GLIBC.match(version.name):
                yield int(found[1]), int(found[2])
