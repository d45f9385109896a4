# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels as a command line names them: `6.12`, `>=6.1,<7`, `./bzImage`, `./linux` or `oci:REF`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import UserError
from runner.kernels import BY_WORD, KernelSource, Means, offered, source_of
from runner.kernels.local import LocalSource
from runner.kernels.source import meant
from runner.matrix import Matrix
from runner.model import Cell, Lock, Pin, Plain
from runner.model.architecture import architecture
from runner.model.version import Versions


@dataclass(frozen=True, slots=True)
class Named:
    """A matrix of the kernels that were named. Of its ranges only some kernels may be meant: see `cells`."""

    matrix: Matrix
    versions: tuple[Versions, ...]
    sources: frozenset[str]  # of which every kernel is meant

    def cells(self, lock: Lock) -> tuple[Cell, ...]:
        """Raises UserError when `lock` lacks a kernel."""
        return tuple(cell for cell in self.matrix.cells(lock) if self._is_meant(cell))

    def _is_meant(self, cell: Cell) -> bool:
        return cell.kernel.source in self.sources or any(cell.kernel.upstream in it for it in self.versions)


def named_kernels(
    words: Sequence[str], archs: Sequence[str], matrix: Matrix, lock: Lock, *, probes: Sequence[Plain], means: Means
) -> Named:
    """The kernels of `words`, by default those of the matrix, on `archs`, by default the matrix's, asked `probes`.

    A version is looked for in the matrix, as far as it is pinned, and then in the archives. Raises UserError when there
    is no such kernel, InfraError when it cannot be found out.
    """
    file = matrix.file
    every = tuple(dict.fromkeys(archs or (one.arch for one in matrix.wanted())))
    for arch in archs:
        architecture(arch)
    own = [_on(entry, entry.architectures or file.architectures, every) for entry in (*file.kernels, *file.include)]
    own = [entry for entry in own if entry.architectures]
    versions, found, sources = [], [], set()
    for word in words:
        if entry := _source(word):
            found.append(_on(entry, _architectures(entry, archs) or every, every))
            sources |= _texts(found[-1])
            continue
        try:
            wanted = Versions.parse(word)
        except ValueError as error:
            raise UserError(f"--kernel {word}: {error}", hint="or ./bzImage, ./linux (a tree), oci:REF") from None
        mine = [entry for entry in own if any(pin.upstream in wanted for pin in _pins(entry, lock))]
        if mine:
            versions.append(wanted)
            found += [entry for entry in mine if entry not in found]
        else:
            offers = list(_of_archives(wanted, word, every, means))
            found += offers
            sources |= {text for entry in offers for text in _texts(entry)}
    entries = tuple(found if words else own)
    made = file.model_copy(
        update={"kernels": (), "include": entries, "probes": tuple(probes), "exclude": () if words else file.exclude}
    )
    every_kernel = sources if words else {text for entry in own for text in _texts(entry)}
    return Named(matrix.holding(made), tuple(versions), frozenset(every_kernel))


def _on(entry: KernelSource, of_entry: Sequence[str], wanted: Sequence[str]) -> KernelSource:
    """The same on those of its architectures that are wanted; on none the entry has no architectures."""
    return entry.model_copy(update={"architectures": tuple(arch for arch in of_entry if arch in wanted)})


def _texts(entry: KernelSource) -> set[str]:
    """What its kernels are pinned as: each of its flavours has a text."""
    return {wanted.source for arch in entry.architectures or () for wanted in entry.wanted(arch)}


def _pins(entry: KernelSource, lock: Lock) -> Iterator[Pin]:
    archs, texts = entry.architectures or (), _texts(entry)
    return (pin for pin in lock.kernels if pin.source in texts and pin.arch in archs)


def _source(word: str) -> KernelSource | None:
    """A kernel that is named by its source, or that lies at a path. None: it looks like a version."""
    if word.partition(":")[0] in BY_WORD:
        return source_of(word)
    path = Path(word).expanduser()
    if not word or not path.exists():
        if word.startswith((".", "/", "~")):
            raise UserError(f"--kernel {word}: there is no such file or folder")
        return None
    whole = path.resolve()
    is_tree = (whole / "Makefile").is_file() or (whole / "include/config/kernel.release").is_file()
    return source_of(f"{'tree' if is_tree else 'path'}:{whole}")


def _architectures(entry: KernelSource, archs: Sequence[str]) -> tuple[str, ...]:
    """Of a kernel on this machine those that it was built for; empty where that is not to be seen."""
    if archs or not isinstance(entry, LocalSource):
        return tuple(archs)
    return tuple(dict.fromkeys(found for parts in entry.kernels() if (found := parts.architecture())))


def _of_archives(wanted: Versions, word: str, archs: Sequence[str], means: Means) -> Iterator[KernelSource]:
    """The newest of each series that is meant, or the one version, of what the archives offer."""
    known = [pin for pin in offered((), archs, means) if not pin.variant]
    there = False
    for arch in archs:
        for best, *_ in meant([pin for pin in known if pin.arch == arch], wanted, None, lambda pin: pin.upstream):
            there = True
            yield source_of(best.source).model_copy(update={"architectures": (arch,)})
    if not there:
        near = ", ".join(dict.fromkeys(".".join(map(str, pin.upstream.series)) for pin in known))
        raise UserError(
            f"--kernel {word}: no archive has such a kernel for {', '.join(archs)}", hint=f"they have: {near}"
        )
