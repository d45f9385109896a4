# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One bisection over the releases of an archive, from the kernels that may be asked to what was found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from runner.bisect.boots import BisectSetup, Journal, begun, digest
from runner.bisect.changelog import VERIFIER, asked_words, changelog_of, mentions
from runner.bisect.conclude import BisectEvidence
from runner.bisect.search import Tell, expected_rounds, search
from runner.caches import SCRATCH, cache_root
from runner.engine.fleet import Fleet
from runner.engine.storing import programs_of
from runner.errors import InfraError, UserError
from runner.kernels import Means, have_kernel, offered
from runner.kernels.source import age
from runner.matrix.cells import cell_id
from runner.model import Cell, CellResult, Outcome, Pin
from runner.model.architecture import architecture
from runner.model.version import KernelVersion
from runner.probes import KINDS
from runner.results.bisections import AnswerChange, Bisection, Candidate, ChangeEnd, Reply, Why
from runner.text import counted


def cells_of(kernels: Sequence[Pin], setup: BisectSetup) -> dict[str, Cell]:
    """The cell that boots each candidate, by its key. Where a version has several builds, so do the ids."""
    builds = Counter((it.version, it.variant, it.arch) for it in kernels)
    found = {}
    for it in kernels:
        several = builds[it.version, it.variant, it.arch] > 1
        revision = it.package_version.partition("-")[2] or it.package_version
        found[candidate_of(it).key] = setup.cell(cell_id(it, revision if several else ""), it.release, it)
    return found


@dataclass(slots=True)
class ReleaseBisection:
    """`cells` are in the order of their kernels, see `cells_of`. `every`: ask all of them; `fresh`: do not use what the
    store knows."""

    setup: BisectSetup
    cells: Mapping[str, Cell]
    samples: int
    every: bool
    fresh: bool
    journal: Journal = field(init=False)

    def run(self, fleet: Fleet) -> Bisection:
        """To its end. Raises KeyboardInterrupt when it was interrupted; what came until then is stored."""
        payload = self.setup.payload(list(dict.fromkeys(cell.arch for cell in self.cells.values())))
        programs = {byte_order: programs_of(files) for byte_order, files in payload.items()}
        slots = min(fleet.slots, len(self.cells))
        self._open_journal(slots, programs)
        journal, cells = self.journal, self.cells
        results = {} if self.fresh else self._known(programs)
        journal.keep()
        self._say_begin(len(results))
        boots = self.setup.boots(journal.bisection, payload, fleet)

        def ask(batch: Mapping[str, Why], tell: Tell) -> None:
            journal.count_round()
            words = ", ".join(f"{cells[key].id} ({why})" for key, why in batch.items())
            self.setup.say(f"round {journal.bisection.rounds}: {words}")
            boots.boot({key: (cells[key], why) for key, why in batch.items()}, tell)

        keys = list(cells)
        search(keys, journal.replies, ask, slots=slots, samples=self.samples, every=self.every, kept=journal.keep)
        journal.keep()
        booted = {cell.id: key for key, cell in cells.items()}
        for result in self.setup.store.load(journal.bisection.id).results:
            results.setdefault(booted[result.cell.id], []).append(result)
        found = BisectEvidence(journal.bisection, self.setup.target, results).conclusion()
        changes = self._with_changelogs(found.changes)
        return journal.finish(found=found.model_copy(update={"changes": changes}))

    def _open_journal(self, slots: int, programs: Mapping[str, Mapping[str, str]]) -> None:
        question = self.setup.target.question
        candidates = tuple(candidate_of(cell.kernel) for cell in self.cells.values())
        asks = self.setup.target.asks(KernelVersion.parse("6.0"), fully=False)
        pushed = {
            it for ask in asks for mine in programs.values() for it in KINDS[ask.kind].programs(ask, mine).values()
        }
        words = (question.target, str(self.every), *(it.model_dump_json() for it in asks), *sorted(pushed))
        more = {"slots": slots, "samples": self.samples, "every": self.every}
        new = begun(digest(*words, *self.cells), question, candidates).model_copy(update=more)
        self.journal = Journal(self.setup.store, new, self.setup.project.matrix.sha256)

    def _known(self, programs: Mapping[str, Mapping[str, str]]) -> dict[str, list[CellResult]]:
        """The newest answer that other runs have of each kernel; told to a bisection that begins.

        `programs`: by byte order, the digests of what would be pushed.
        """
        found: dict[str, list[CellResult]] = {}
        store, replies = self.setup.store, []
        keys = {(cell.arch, cell.kernel.digests): key for key, cell in self.cells.items()}
        for final in reversed(store.finals()):
            kernel = final.cell.kernel
            key = keys.get((kernel.arch, kernel.digests), "")
            if not key or key in found or final.outcome is not Outcome.RAN or final.run == self.journal.bisection.id:
                continue
            result = store.result(final)
            said = self.setup.target.read(result).answer
            mine = programs.get(architecture(kernel.arch).byte_order, {})
            if said and self.setup.target.was_asked(store.asked_of(final), kernel.judged_as, mine):
                found[key] = [result]
                replies.append(Reply(candidate=key, why=Why.KNOWN, answer=said, run=final.run, cell=final.cell.id))
        if not self.journal.resumed:
            self.journal.replies += reversed(replies)
        return found

    def _say_begin(self, known: int) -> None:
        it = self.journal.bisection
        kernels = counted(len(it.candidates), "kernel")
        guests = counted(it.slots, "concurrent guest")
        words = f"bisection {it.id}: {it.question.target}, {kernels}, {guests}"
        if not self.every:
            words += f", about {counted(expected_rounds(len(it.candidates), it.slots), 'round')} to the change"
        if self.journal.resumed and it.rounds:
            words += f"; resumed after {counted(it.boots, 'boot')}"
        elif known:
            words += f"; {known} known from the store"
        self.setup.say(words)

    # --- what the distribution says that it changed

    def _with_changelogs(self, changes: Sequence[AnswerChange]) -> tuple[AnswerChange, ...]:
        texts: dict[str, str] = {}
        return tuple(
            change if change.last_good.build == change.first_bad.build else self._with_changelog(change, texts)
            for change in changes
        )

    def _with_changelog(self, change: AnswerChange, texts: dict[str, str]) -> AnswerChange:
        after, setup = change.first_bad, self.setup
        if setup.offline:
            return change.model_copy(update={"changelog_note": "not read: it is not in the cache"})
        kernels = (cell.kernel for cell in self.cells.values())
        kernel = next(it for it in kernels if (it.package_version, it.arch) == (after.build, after.arch))
        setup.say(f"reading the changelog of {after.version} ({after.build})")
        deadline, scratch = setup.limits.deadline("prepare_s"), cache_root() / SCRATCH
        try:
            if after.build not in texts:
                texts[after.build] = changelog_of(kernel, setup.archive, scratch, deadline=deadline)
            stems = (stem for ref in setup.target.refs for stem in re.findall(r"([\w-]+)\.c\b", ref))
            question, sides = setup.target.question, (change.last_good, after)
            refused = (word for side in sides for word in (side.answer, side.evidence.get("name", ""), *_end_of(side)))
            names = () if setup.target.users else (question.target, question.subject)  # a user's names say nothing
            asked = asked_words(*names, *refused)
            if setup.target.bound or any("too-large" in side.answer for side in sides):
                asked += VERIFIER
            said = mentions(texts[after.build], change.last_good.build, after.build, dict.fromkeys(stems), asked)
        except (InfraError, ValueError) as error:  # the answer stands without it
            return change.model_copy(update={"changelog_note": str(error)})
        note = "" if said else "says nothing about BPF, netfilter or the file of the kfunc"
        if len({KernelVersion.parse(side.version).series for side in sides}) > 1:
            note = "names changes within stable series, not what came with a new one"
        return change.model_copy(update={"changelog": said, "changelog_note": note})


def _end_of(side: ChangeEnd) -> list[str]:
    """The lines with which the verifier refuses, and the instruction at which it does."""
    lines = [line for line in side.log.splitlines() if line.strip() and not line.startswith("processed ")]
    return lines[-3:] if side.reason else []


# --- the kernels that may be asked ------------------------------------------------------------------------------------


def candidate_of(pin: Pin) -> Candidate:
    """What a bisection stores of a kernel of the archive."""
    return Candidate(
        key="/".join(filter(None, (pin.package_version, pin.arch, pin.variant))),
        version=pin.version,
        release=pin.release,
        arch=pin.arch,
        source=pin.source,
        build=pin.package_version,
        suite=pin.packages[0].suite,
        variant=pin.variant,
    )


def every_kernel(setup: BisectSetup, archs: Sequence[str]) -> tuple[Pin, ...]:
    """Every kernel of the archive, each build once whatever suites have it, in order; offline those in the cache.

    Raises InfraError.
    """
    found: dict[object, Pin] = {}
    means = Means(setup.archive, cache_root(), setup.limits.deadline("lock_s"))
    for pin in offered((), tuple(archs), means, words=("debian",)):
        if not setup.offline or have_kernel(pin, means.cache):
            found.setdefault((pin.arch, pin.digests), pin)
    return ordered(found.values())


def ordered(kernels: Iterable[Pin]) -> tuple[Pin, ...]:
    """By version, then build, then architecture and configuration."""
    return tuple(sorted(kernels, key=lambda pin: (age(pin), pin.arch, pin.variant)))


def chosen(
    kernels: Sequence[Pin], *, series: str = "", first: str = "", last: str = "", version: str = ""
) -> tuple[Pin, ...]:
    """Which of `kernels`, which are in order: those of a stable series, those between two ends, each a version, release
    or build, or all builds of one version, those of an architecture and a configuration together.

    All are of the generic configuration, but where an end is a release of another one, or all of a version are wanted.
    Raises UserError when there are none, and when an end is not there.
    """
    if version:
        return _some(_to_and_fro(it for it in kernels if it.version == version), version, kernels)
    variant = next((it.variant for it in kernels if it.release in {first, last}), "")
    kernels = [it for it in kernels if it.variant == variant]  # those of several are in no order
    if series:
        return _some([it for it in kernels if _in_series(it, series)], series, kernels)
    oldest = _places(kernels, first)[0] if first else 0
    newest = _places(kernels, last)[-1] if last else len(kernels) - 1
    if oldest > newest:
        raise UserError(f"--from {first} is newer than --to {last}", hint="swap them")
    return tuple(kernels[oldest : newest + 1])


def _to_and_fro(builds: Iterable[Pin]) -> list[Pin]:
    """Those of an architecture together, each second time backwards: neighbours differ in as little as can be."""
    archs: dict[str, list[Pin]] = {}
    for it in sorted(builds, key=lambda it: (it.arch, it.variant)):
        archs.setdefault(it.arch, []).append(it)
    backwards = len(archs) - 1  # the last one is in order
    return [it for at, group in enumerate(archs.values()) for it in group[:: -1 if (backwards - at) % 2 else 1]]


def _places(kernels: Sequence[Pin], word: str) -> list[int]:
    found = [
        at
        for at, it in enumerate(kernels)
        if word in {it.version, it.release, it.package_version, it.source} or _in_series(it, word)
    ]
    if not found:
        raise _nothing(word, kernels)
    return found


def _in_series(it: Pin, word: str) -> bool:
    """`6.12` and `7`; a whole version is no series."""
    major, minor = it.upstream.series
    return word in {f"{major}", f"{major}.{minor}"}


def _some(found: list[Pin], word: str, kernels: Sequence[Pin]) -> tuple[Pin, ...]:
    if not found:
        raise _nothing(word, kernels)
    return tuple(found)


def _nothing(word: str, kernels: Sequence[Pin]) -> UserError:
    versions = sorted({it.upstream for it in kernels})
    try:
        wanted = KernelVersion.parse(word)
        versions = [it for it in versions if it.series == wanted.series] or versions
    except ValueError:
        pass
    there = ", ".join(map(str, versions[-12:]))
    hint = (
        f"there are {there}; `runner kernels list` shows all" if there else "`runner kernels list` shows what there is"
    )
    return UserError(f"no source offers a kernel {word}", hint=hint)
