# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the distribution says that it changed between two of its kernels, as far as it touches what is asked.

Each of Debian's kernel packages holds the whole changelog, and that lists the commits of every stable release:

    linux (6.12.111-1) trixie-security; urgency=high

      * New upstream stable update:
        https://www.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.12.108
        - RDMA/rxe: Fix responder UAF on IB_QP_MAX_DEST_RD_ATOMIC modify_qp
"""

from __future__ import annotations

import gzip
import re
import subprocess
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from debian.changelog import Changelog, ChangelogParseError
from debian.debian_support import Version

from runner.caches import need_space
from runner.errors import InfraError
from runner.kernels.archive import Archive
from runner.model import Pin
from runner.model.deadline import Deadline
from runner.process import own_folder, spawn
from runner.results.bisections import Mention

_LIMIT = 64 << 20  # bytes of a changelog; Debian's are 4 MiB
_BLOCKS = 200  # entries, the newest first: some years
_FILE = re.compile(r"(?:\./)?usr/share/doc/[^/]+/changelog(?:\.Debian)?\.gz")
_STABLE = re.compile(r"/ChangeLog-(\d[\w.-]*)\s*$")
_ITEM = re.compile(r"^\s*[*-]\s+")
_REBUILD = re.compile(r"~(?:bpo|deb)\d.*$")  # 6.12.100-1~deb12u1 is 6.12.100-1, built for another release
_SIGNED = re.compile(r"^(.*)\+(\d+[\w.~]*)$")  # linux-signed-amd64 writes 6.12.113+1 for 6.12.113-1
_TOUCHES = r"\b(?:bpf|netfilter|nf_\w+|nft_\w+|conntrack|ctnetlink|kfuncs?|btf)\b"


def changelog_of(kernel: Pin, archive: Archive, scratch: Path, *, deadline: Deadline) -> str:
    """The changelog in a kernel's packages; empty without one. Raises InfraError when they cannot be had."""
    with own_folder(scratch, "changelog-", end_s=deadline.end_s) as own:
        folder = own.path
        for package in sorted(kernel.packages, key=lambda package: package.size_bytes):
            need_space(folder, package.size_bytes, f"the changelog of {kernel.release}")
            files = archive.download([package], kernel.arch, folder, deadline=deadline)
            if text := packed_changelog(files[package], deadline=deadline):
                return text
    return ""


def packed_changelog(deb: Path, *, deadline: Deadline) -> str:
    """The changelog in a package, which is read no further than that; empty when there is none. Raises InfraError."""
    argv: list[str | Path] = ["dpkg-deb", "--fsys-tarfile", deb]
    with (
        spawn(argv, end_s=deadline.end_s, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process,
        deadline.at_end(process.terminate),
    ):
        try:
            with tarfile.open(fileobj=cast("IO[bytes]", process.stdout), mode="r|") as tar:
                for member in tar:
                    if member.isfile() and _FILE.fullmatch(member.name) and (file := tar.extractfile(member)):
                        with gzip.open(file) as stream:
                            return stream.read(_LIMIT).decode(errors="replace")
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise InfraError(f"cannot read the changelog in {deb.name}: {error}") from error
        finally:
            process.terminate()
    return ""


# Words of names and of the verifier's lines that tell nothing of what they are about, and what stands for some of them.
_COMMON = re.compile(
    "and|are|arg|bpf|call|cannot|einval|eacces|expected|failed|for|from|get|has|invalid|kernel|leads|len|loads|must|not|"
    "off|only|pair|pos|program|prog|refused|set|size|that|the|this|type|with"
)
_ALSO = {"context": "ctx", "uninitialized": "uninit", "instructions": "insn"}

# What commits are about that change how many instructions and states the verifier looks at.
VERIFIER = ("verifier", "precision", "precise", "liveness", "pruning", "states", "bpf_loop", "scc")


def asked_words(*said: str) -> tuple[str, ...]:
    """The words of a probe's and a kfunc's name, of answers and of the verifier's lines that a commit which changed the
    answer may mention."""
    words = dict.fromkeys(re.findall(r"[a-z]{3,}", " ".join(said).lower()))
    known = {also: None for word in words for also in (word, _ALSO.get(word, word))}
    return tuple(word for word in known if not _COMMON.fullmatch(word))


def mentions(
    changelog: str, before: str, after: str, files: Iterable[str], asked: Iterable[str] = ()
) -> tuple[Mention, ...]:
    """The lines between two builds, without the first and with the last, that touch BPF, netfilter or one of `files`.

    Of these, where there are any, those with a word that begins with one of `asked`; first those with most of the words
    that few lines have. ValueError: it is no changelog.
    """
    touches = re.compile("|".join([_TOUCHES, *(rf"\b{re.escape(name)}\b" for name in files)]), re.IGNORECASE)
    try:
        blocks = list(Changelog(changelog, max_blocks=_BLOCKS, strict=False))
    except (ChangelogParseError, ValueError) as error:
        raise ValueError(f"no changelog: {error}") from error
    first, last = Version(_base(before)), Version(_base(after))
    found = tuple(
        mention
        for block in blocks
        if first < Version(_base(str(block.version))) <= last
        for mention in _lines(block.changes(), str(block.version))
        if touches.search(mention.text)
    )
    return _nearest(found, asked) or found


def _nearest(found: Sequence[Mention], asked: Iterable[str]) -> tuple[Mention, ...]:
    """Those with a word of `asked`. A word counts the more, the fewer lines have it; a third if it only begins so."""
    weights = dict.fromkeys(found, 0.0)
    for word in asked:
        begins = re.compile(rf"(?<![^\W_]){re.escape(word)}((?:s|es)?(?![^\W_]))?", re.IGNORECASE)
        mine = {
            mention: max(3 if it[1] is not None else 1 for it in seen)
            for mention in weights
            if (seen := list(begins.finditer(mention.text)))
        }
        for mention, how_near in mine.items():
            weights[mention] += how_near / len(mine)
    return tuple(sorted((mention for mention in found if weights[mention]), key=lambda it: -weights[it]))


def _base(version: str) -> str:
    """The version of the source that a build is of: the same changes, built again."""
    plain = _REBUILD.sub("", version)
    signed = _SIGNED.match(plain) if "-" not in plain else None
    return f"{signed[1]}-{signed[2]}" if signed else plain


def _lines(changes: Iterable[str], build: str) -> Iterator[Mention]:
    """The items of one entry, each on one line, with the stable release under which it stands."""
    upstream, item = "", ""
    for line in [*changes, ""]:
        stable = _STABLE.search(line)
        begins = bool(_ITEM.match(line))
        if item and (stable or begins or not line.strip()):
            yield Mention(build=build, upstream=upstream, text=item)
            item = ""
        if stable:
            upstream = stable[1]
        elif begins:
            upstream = "" if line.lstrip().startswith("*") else upstream
            item = _ITEM.sub("", line).strip()
        elif item:
            item = f"{item} {line.strip()}"
