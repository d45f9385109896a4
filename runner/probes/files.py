# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a project writes about probes: bpf/NAME.yaml, the entries of the matrix's `probes`, and bpf/kfuncs.yaml."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

import runner
from runner import userfile, yamlfile
from runner.errors import UserError
from runner.model import Plain, ProgType, SafeName
from runner.model.version import Interval, KernelVersion
from runner.text import plain
from runner.yamlfile import Document, Location

FOLDER = "bpf"  # of a project: holds NAME.yaml and OBJECT.bpf.c
PACKAGE = Path(runner.__file__).parent
# what a wheel brings lies in the package; in a checkout it is the checkout
BUILTIN = PACKAGE / "builtin" if (PACKAGE / "builtin").is_dir() else PACKAGE.parent
SHIPPED = BUILTIN / FOLDER
KFUNCS = "kfuncs.yaml"  # of bpf/
VMLINUX = "vmlinux"

Name = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
Text = Annotated[str, StringConstraints(min_length=1)]
_Option = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_]*$")]


def _points(points: tuple[str, ...]) -> tuple[str, ...]:
    Interval.parse(points)
    return points


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def form(value: object) -> str:
    """Which of two forms a value has, the tag of a union, so that a message speaks of that form only."""
    return "text" if isinstance(value, str) else "other"


Points = Annotated[tuple[str, ...], AfterValidator(_points)]  # in stable series; see runner/model/version.py
Names = Annotated[tuple[Name, ...], Field(min_length=1), BeforeValidator(_listed)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_listed)]  # or one


class Span(Plain):
    """The kernels from `since` on and before `until`."""

    since: Annotated[Points, Field(description="the first kernel of each series, and the first series")] = ()
    until: Annotated[Points, Field(description="the first kernel of each series that is none any more")] = ()

    @property
    def interval(self) -> Interval:
        return Interval.parse(self.since, self.until)

    @property
    def always(self) -> bool:
        """Does it mean every kernel, whatever its version?"""
        return not (self.since or self.until)

    def covers(self, version: KernelVersion | None) -> bool:
        """Does it mean a kernel of this version? None: its version tells nothing."""
        return version in self.interval if version else self.always


class Family(Plain):
    """The keys of bpf/NAME.yaml that belong to no kind: the kfuncs that its probes are about, and their modules."""

    modules: tuple[SafeName, ...] = ()
    modules_suffice: bool = False  # the kernel need not look for others by itself: each time it starts modprobe
    # by a word for all, and program type; of one that was renamed all its names, the newest first
    kfuncs: dict[Name, dict[ProgType, Names]] = Field(default_factory=dict)

    @property
    def kfunc_names(self) -> tuple[str, ...]:
        """Each once, sorted."""
        return tuple(sorted({name for types in self.kfuncs.values() for names in types.values() for name in names}))


def folders(root: Path) -> tuple[Path, ...]:
    """bpf/ of the project in `root`, and the shipped one beside it.

    A project with a list of kfuncs of its own is a copy of this one, and is taken alone.
    """
    own = root / FOLDER
    return (own,) if (own / KFUNCS).exists() else (own, SHIPPED)


def own_or_shipped(root: Path, name: str) -> Path:
    """bpf/NAME of the project in `root`, or the shipped one where it has none; neither may exist.

    Raises UserError when the project has another file of the name of a shipped one: nobody could tell which is meant.
    """
    own, *others = (folder / name for folder in folders(root))
    shipped = next((path for path in others if path.exists()), None)
    if shipped is None or not own.exists():
        return shipped or own
    if userfile.read(own) != userfile.read(shipped):
        raise UserError(f"{own}: runner brings another bpf/{name}", hint="rename yours, and what names it")
    return own


@contextmanager
def parsing(what: str, *, hint: str) -> Iterator[None]:
    """What pyelftools raises of damaged files, which is no short list, is a UserError: `what`, and why."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what}: {plain(str(error), 200) or type(error).__name__}", hint=hint) from None


def probe_name(number: int, probe: str | Plain) -> str:
    """What an entry of the matrix's `probes` is called: the name of its file, or by where it stands."""
    return probe if isinstance(probe, str) else f"entry-{number}"


@dataclass(frozen=True, slots=True)
class ProbeFile:
    """One entry of the matrix's `probes`: bpf/NAME.yaml, or a mapping that stands there itself."""

    name: str
    written: Plain  # a Family with the keys of the kinds that it has, or an `entry` of a kind
    document: Document | None = None  # where it stands; None: on a command line
    place: Location = ()  # in it

    @property
    def family(self) -> Family:
        return self.written if isinstance(self.written, Family) else Family()

    @contextmanager
    def at(self, *place: str | int) -> Iterator[None]:
        """A UserError inside is about this place of what is written: it is raised with FILE:LINE."""
        try:
            yield
        except UserError as error:
            if self.document is None:
                raise
            placed = self.document.error([((*self.place, *place), error.what)])
            raise UserError(placed.what, hint=error.hint) from None


def listed(files: Iterable[ProbeFile], keys: type[Plain], entry: type[Plain]) -> Iterator[ProbeFile]:
    """What a kind lists in files under its one key, and mappings of its `entry`: each by itself."""
    (key,) = keys.model_fields
    for file in files:
        if isinstance(file.written, keys):
            for number, each in enumerate(getattr(file.written, key)):
                yield replace(file, written=each, place=(*file.place, key, number))
        elif isinstance(file.written, entry):
            yield file


class Sentence(NamedTuple):
    """Of a page of eBPF Docs, `<page>: <sentence>`. Unless it is `alike`, it says the opposite of what decides it."""

    ref: str
    alike: bool


@dataclass(frozen=True, slots=True)
class Said:
    """What a probe claims, in words, and who says it."""

    id: str
    probe: str
    subject: str
    type: str
    says: str
    source: str = ""  # ebpf-docs, commit, source
    refs: tuple[str, ...] = ()
    sentences: tuple[Sentence, ...] = ()  # of pages, that it decides besides
    file: str = ""  # of ProbeFile
    place: Location = ()  # in it
    program: tuple[str, str] | None = None  # that shows the subject at work: its object, its name there

    @property
    def sources(self) -> str:
        return f"{self.source}: {'; '.join(self.refs)}" if self.source else ""


# --- the kfuncs that there are ----------------------------------------------------------------------------------------


class Holder(Plain):
    """What holds kfuncs."""

    config: _Option = ""
    kfuncs: tuple[Name, ...]


class KfuncList(Plain):
    """bpf/kfuncs.yaml: the kfuncs that some kernel has or had, by the object that holds them.

    Kernels whose BTF has no `bpf_kfunc` tags (before v6.10, or an older pahole) are asked by these names. And a name
    that one kernel has is absent on another only if it is known. Names that a run has seen are known to all its cells.
    """

    objects: dict[SafeName, Holder] = Field(default_factory=dict)

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(name for holder in self.objects.values() for name in holder.kfuncs)

    @property
    def modules(self) -> tuple[str, ...]:
        return tuple(name for name in self.objects if name != VMLINUX)

    @cached_property
    def homes(self) -> Mapping[str, tuple[str, ...]]:
        """For each kfunc the objects that hold it on some kernel."""
        homes: dict[str, tuple[str, ...]] = defaultdict(tuple)
        for name, holder in self.objects.items():
            for kfunc in holder.kfuncs:
                homes[kfunc] += (name,)
        return dict(homes)

    def grown(self, seen: Iterable[tuple[str, str]]) -> KfuncList:
        """With these kfuncs, each with what holds it; nothing is taken away."""
        kfuncs = {name: set(holder.kfuncs) for name, holder in self.objects.items()}
        for kfunc, holder in seen:
            kfuncs.setdefault(holder, set()).add(kfunc)
        order = sorted(kfuncs, key=lambda name: (name != VMLINUX, name))
        configs = {name: holder.config for name, holder in self.objects.items()}
        holders = {name: Holder(config=configs.get(name, ""), kfuncs=tuple(sorted(kfuncs[name]))) for name in order}
        return KfuncList(objects=holders)


NO_KFUNCS = KfuncList()


def load_kfuncs(root: Path) -> KfuncList:
    """The list below `root`, else the shipped one. Raises UserError with FILE:LINE when it is wrong."""
    path = own_or_shipped(root, KFUNCS)
    return yamlfile.validate(yamlfile.load(path), KfuncList) if path.exists() else KfuncList()
