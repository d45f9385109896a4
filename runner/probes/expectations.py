# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a project says about kernels: read from bpf/, asked of a kernel, and held against what it answered."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import create_model

from runner import model, yamlfile
from runner.errors import UserError
from runner.model import (
    NETWORK_TYPES,
    Answer,
    Ask,
    Asked,
    CellResult,
    JudgedSplat,
    KnownIssue,
    Plain,
    ProgType,
    Row,
    Verdict,
)
from runner.model.version import KernelVersion
from runner.probes.files import Family, ProbeFile, Said, own_or_shipped, probe_name
from runner.probes.issues import ISSUES, Issue, issues_of, load_issues
from runner.probes.kind import Kind
from runner.probes.kinds import KINDS
from runner.text import nearest
from runner.yamlfile import Document


@dataclass(frozen=True)
class Expectations:
    """`known` has, by the name of a kind, what that kind made of the files. A kind that is not in it is not asked."""

    root: Path
    files: tuple[ProbeFile, ...]
    known: Mapping[str, Any]
    issues: tuple[Issue, ...] = ()

    @classmethod
    def load(cls, root: Path, probes: Iterable[str | Plain], matrix: Document | None = None) -> Self:
        """Those of a matrix's `probes`. Raises UserError, FILE:LINE, when one of the files is wrong."""
        files = tuple(_read(root, number, probe, matrix) for number, probe in enumerate(probes))
        return cls.made(root, files, load_issues(root))

    @classmethod
    def made(cls, root: Path, files: tuple[ProbeFile, ...], issues: tuple[Issue, ...] = ()) -> Self:
        return cls(root, files, {name: kind.load(root, files) for name, kind in KINDS.items()}, issues)

    @classmethod
    def recalled(cls, root: Path, asked: Asked) -> Self:
        """Those of a run whose probes stand in no file: what it asked tells."""
        known = {name: found for name, kind in KINDS.items() if (found := kind.recalled(asked)) is not None}
        return cls(root, (), known, load_issues(root))

    def of_files(self, names: Collection[str]) -> Self:
        """What the files of these names say."""
        if not self.files:  # recalled: a run of its own
            return self
        files = tuple(file for file in self.files if file.name in names)
        return self if files == self.files else self.made(self.root, files, self.issues)

    def grown(self, results: Iterable[CellResult]) -> Self:
        """With what these results teach: a name that one of their kernels has is looked for in all of them."""
        results = tuple(results)
        return replace(self, known={kind.name: kind.grown(known, results) for kind, known in self.kinds()})

    def everywhere(self, probe: str) -> Self:
        """With that probe asked of every kernel, whatever its `since` and `until` are."""
        return replace(self, known={kind.name: kind.everywhere(known, probe) for kind, known in self.kinds()})

    def kinds(self) -> Iterable[tuple[Kind[Any], Any]]:
        """Those that are asked, each with what it knows, in the order in which they are judged."""
        return ((kind, self.known[name]) for name, kind in KINDS.items() if name in self.known)

    # --- before a kernel is asked

    def asks(self, version: KernelVersion | None, types: Sequence[ProgType] = NETWORK_TYPES) -> tuple[Ask, ...]:
        """Everything to ask a kernel of this version; `types` where programs of any type can be asked about."""
        asked = sorted(self.kinds(), key=lambda each: each[0].name)  # the census first: it is evidence for all others
        return tuple(ask for kind, known in asked for ask in kind.asks(known, version, types))

    @property
    def modules(self) -> tuple[str, ...]:
        """To load before anything is asked, each once: those of the files, in their order, then those of the kinds."""
        of_files = [module for file in self.files for module in file.family.modules]
        of_kinds = [module for kind, known in self.kinds() for module in kind.modules(known)]
        return tuple(dict.fromkeys((*of_files, *of_kinds)))

    @property
    def objects(self) -> tuple[str, ...]:
        """The names of the BPF objects to compile."""
        return tuple(dict.fromkeys(name for kind, known in self.kinds() for name in kind.objects(known)))

    def pushed(self, arch: str) -> Mapping[str, bytes]:
        """By name, what is pushed into guests of this architecture besides those. Raises UserError."""
        return {name: content for kind, known in self.kinds() for name, content in kind.pushed(known, arch).items()}

    # --- after it

    def rows(self, result: CellResult) -> tuple[Row, ...]:
        """All that is judged of one cell, with the known issues that explain some of it. Pure."""
        rows: list[Row] = []
        for kind, _ in self.kinds():
            rows += self.rows_of(kind, result, [row for row in rows if row.kind in kind.evidence])
        return tuple(rows)

    def rows_of(self, kind: Kind[Any], result: CellResult, earlier: Sequence[Row]) -> Iterable[Row]:
        """Those of one kind. `earlier` are the rows of the kinds in its `evidence`."""
        mine = [issue for issue in self.issues if issue.is_of(result)]
        return [_explained(kind, row, result, mine) for row in kind.judge(result, self.known[kind.name], earlier)]

    def splats(self, result: CellResult) -> tuple[JudgedSplat, ...]:
        """What the kernel reported by itself, each with the known issue that allows it."""
        mine = [issue for issue in self.issues if issue.is_of(result)]
        return tuple(
            JudgedSplat(**dict(splat), known_issue=next((issue.id for issue in mine if issue.allows(splat)), ""))
            for splat in result.splats
        )

    def known_issues(self, cells: Sequence[tuple[CellResult, Sequence[Row]]]) -> tuple[KnownIssue, ...]:
        """The issues that explain something in these cells, and those that are gone."""
        return issues_of(cells, self.issues)

    def said(self) -> tuple[Said, ...]:
        """What is claimed, each with who says it, and where."""
        return tuple(said for kind, known in self.kinds() for said in kind.said(known))

    def written(self) -> dict[str, tuple[Path, int]]:
        """The file and line of what is claimed, by its id."""
        documents = {file.name: file.document for file in self.files}
        found = ((said, documents.get(said.file)) for said in self.said())
        return {said.id: (document.path, document.line(said.place)) for said, document in found if document}

    @cached_property
    def digest(self) -> str:
        """Equal where `rows` of equal results are equal."""
        return hashlib.sha256(repr((_code(), dict(self.known), self.issues)).encode()).hexdigest()


def _explained(kind: Kind[Any], row: Row, result: CellResult, issues: Sequence[Issue]) -> Row:
    if row.verdict is not Verdict.BROKEN or row.crashed:
        return row
    shown = next((issue for issue in issues if issue.is_shown_by(kind, row, result)), None)
    return replace(row, known_issue=shown.id) if shown else row


@cache
def _code() -> str:
    """A digest of what judges."""
    folders = (Path(__file__).parent, Path(model.__file__).parent)
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _read(root: Path, number: int, probe: str | Plain, matrix: Document | None) -> ProbeFile:
    """One entry of `probes`."""
    if isinstance(probe, Plain):
        return ProbeFile(probe_name(number, probe), probe, matrix, ("probes", number))
    path = own_or_shipped(root, f"{probe}.yaml")
    if probe == ISSUES:
        raise UserError(f"{path} holds no probes", hint=f"it is always read; `probes` must not name {ISSUES!r}")
    document = yamlfile.load(path)
    kinds = [name for name, kind in KINDS.items() if _own_keys(kind) & document.data.keys()]
    if not kinds:
        raise _no_probes(document)
    return ProbeFile(probe, yamlfile.validate(document, _model(tuple(kinds))), document)


def _own_keys(kind: Kind[Any]) -> set[str]:
    return set(kind.keys.model_fields if kind.keys else ()) - Family.model_fields.keys()


def _no_probes(document: Document) -> UserError:
    keys = sorted(key for kind in KINDS.values() for key in _own_keys(kind))
    unknown = [key for key in document.data if key not in Family.model_fields]
    problems = [((key,), f"unknown key; {nearest(key, keys)}") for key in unknown]
    return document.error(problems or [((), f"it holds no probes: it has none of the keys {', '.join(keys)}")])


@cache
def _model(kinds: tuple[str, ...]) -> type[Plain]:
    """A file that has the keys of these kinds."""
    keys = [keys for name in kinds if (keys := KINDS[name].keys)]
    bases: list[type[Plain]] = keys if any(issubclass(each, Family) for each in keys) else [*keys, Family]
    made: type[Plain] = create_model("bpf/NAME.yaml", __base__=tuple(bases))
    return made


class Bulk:
    """`Expectations.rows` of many results: thousands of nights that answered nearly alike are judged about once.

    A kind's judge is given the answers that it reads and nothing else, so that these tell what was judged before. Equal
    answers must be the same object, and live as long as this does.
    """

    def __init__(self, expectations: Expectations) -> None:
        self._expectations = expectations
        self._bases: dict[Hashable, int] = {}
        self._probes: dict[Hashable, tuple[Row, ...]] = {}  # rows of a probe, of a kind that has `about`
        self._orders: dict[Hashable, tuple[str, ...]] = {}  # of its probes
        self._wholes: dict[Hashable, tuple[Row, ...]] = {}
        self._seen: dict[int, Hashable] = {}  # of rows, by their id

    def rows(self, result: CellResult, context: Hashable) -> tuple[Row, ...]:
        """`context` is equal where all of `result` but its answers is. Equal rows are mostly the same object."""
        answers: dict[str, list[Answer]] = defaultdict(list)
        for answer in result.answers:
            answers[answer.kind].append(answer)
        rows: list[Row] = []
        for kind, known in self._expectations.kinds():
            others = [answer for name in kind.reads for answer in answers[name]]
            base = self._base((kind.name, context, tuple(map(id, others))))
            mine = answers[kind.name]
            if kind.about(known, ()) is not None:
                rows += self._of_probes(kind, result, base, others, mine)
            else:
                earlier = [row for row in rows if row.kind in kind.evidence]
                key = (base, tuple(map(id, mine)), tuple(map(self._evidence, earlier)))
                if key not in self._wholes:
                    given = result.model_copy(update={"answers": (*others, *mine)})
                    self._wholes[key] = tuple(self._expectations.rows_of(kind, given, earlier))
                rows += self._wholes[key]
        return tuple(rows)

    def _of_probes(
        self, kind: Kind[Any], result: CellResult, base: int, others: Sequence[Answer], answers: Iterable[Answer]
    ) -> Iterable[Row]:
        by_probe: dict[str, list[Answer]] = defaultdict(list)
        for answer in answers:
            by_probe[answer.probe].append(answer)
        ids: Mapping[str, tuple[int, ...]] = {probe: tuple(map(id, some)) for probe, some in by_probe.items()}
        order = self._orders.get(base)
        new = list(ids) if order is None else [it for it in order if (base, it, ids.get(it, ())) not in self._probes]
        if new or order is None:
            asked = [answer for probe in new for answer in by_probe.get(probe, ())]
            given = result.model_copy(update={"answers": (*others, *asked)})
            rows: dict[str, list[Row]] = defaultdict(list)
            known = self._expectations.known[kind.name]
            mine = known if order is None else kind.about(known, new)
            expectations = replace(self._expectations, known={kind.name: mine})
            for row in expectations.rows_of(kind, given, ()):
                rows[row.probe].append(row)
            for probe in rows if order is None else new:
                self._probes[base, probe, ids.get(probe, ())] = tuple(rows[probe])
            order = self._orders.setdefault(base, tuple(rows))
        return [row for probe in order for row in self._probes[base, probe, ids.get(probe, ())]]

    def _base(self, key: Hashable) -> int:
        return self._bases.setdefault(key, len(self._bases))

    def _evidence(self, row: Row) -> Hashable:
        if id(row) not in self._seen:
            self._seen[id(row)] = (row.kind, row.probe, row.subject, row.type, row.errno, row.log, repr(row.details))
        return self._seen[id(row)]
