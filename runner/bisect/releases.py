# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One bisection over the releases of an archive, from the kernels that may be asked to what was found."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from runner.bisect.boots import BisectSetup, Journal, begun, digest
from runner.bisect.changelog import VERIFIER, asked_words, changelog_of, mentions
from runner.bisect.conclude import BisectEvidence
from runner.bisect.search import Tell, expected_rounds, search
from runner.caches import SCRATCH, cache_root
from runner.engine.fleet import Fleet
from runner.engine.storing import programs_of
from runner.errors import InfraError, UserError
from runner.kernels import Means, have_kernel, offered
from runner.kernels.archive import Archive
from runner.kernels.source import age
from runner.matrix.cells import cell_id
from runner.model import AskedCell, Cell, CellResult, Outcome, Pin
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.model.version import KernelVersion
from runner.probes import KINDS
from runner.results.bisections import AnswerChange, Bisection, Candidate, ChangeEnd, Reply, Why
from runner.results.stored import Final
from runner.text import counted


@dataclass(slots=True)
class ReleaseBisection:
    """`kernels` are in their order. `every`: ask all of them; `fresh`: do not use what the store knows."""

    setup: BisectSetup
    kernels: Sequence[Pin]
    samples: int
    every: bool
    fresh: bool

    def cells(self) -> dict[str, Cell]:
        """The cell that boots each candidate, by its key. Where a version has several builds, so do the ids."""
        builds = Counter((it.version, it.variant, it.arch) for it in self.kernels)
        found = {}
        for it in self.kernels:
            several = builds[it.version, it.variant, it.arch] > 1
            revision = it.package_version.partition("-")[2] or it.package_version
            found[candidate_of(it).key] = self.setup.cell(cell_id(it, revision if several else ""), it.release, it)
        return found

    def run(self, cells: Mapping[str, Cell], fleet: Fleet) -> Bisection:
        """To its end. Raises KeyboardInterrupt when it was interrupted; what came until then is stored."""
        payload = self.setup.payload(list(dict.fromkeys(cell.arch for cell in cells.values())))
        programs = {byte_order: programs_of(files) for byte_order, files in payload.items()}
        journal = self._journal(min(fleet.slots, len(cells)), programs)
        known = self._known(journal, programs)
        journal.keep()
        self._say_begin(journal, len(known))
        boots = self.setup.boots(journal.bisection, payload, fleet)
        keys = [candidate_of(it).key for it in self.kernels]

        def ask(batch: Mapping[str, Why], tell: Tell) -> None:
            journal.count_round()
            words = ", ".join(f"{cells[key].id} ({why})" for key, why in batch.items())
            self.setup.say(f"round {journal.bisection.rounds}: {words}")
            boots.boot({key: (cells[key], why) for key, why in batch.items()}, tell)

        slots, samples = journal.bisection.slots, journal.bisection.samples
        search(keys, journal.replies, ask, slots=slots, samples=samples, every=self.every, kept=journal.keep)
        journal.keep()
        found = BisectEvidence.of(
            journal.bisection, self.setup.target, self._results(journal, known, cells)
        ).conclusion()
        changes = self._with_changelogs(found.changes)
        return journal.finish(found=found.model_copy(update={"changes": changes}))

    def _journal(self, slots: int, programs: Mapping[str, Mapping[str, str]]) -> Journal:
        question, candidates = self.setup.target.question, tuple(map(candidate_of, self.kernels))
        asks = self.setup.target.asks(KernelVersion.parse("6.0"), fully=False)
        pushed = {
            it for ask in asks for mine in programs.values() for it in KINDS[ask.kind].programs(ask, mine).values()
        }
        words = (question.target, str(self.every), *(it.model_dump_json() for it in asks), *sorted(pushed))
        key = digest(*words, *(candidate.key for candidate in candidates))
        more = {"slots": slots, "samples": self.samples, "every": self.every}
        new = begun(key, question, candidates).model_copy(update=more)
        return Journal.open(self.setup.store, new, self.setup.project.matrix.sha256)

    def _known(self, journal: Journal, programs: Mapping[str, Mapping[str, str]]) -> dict[str, CellResult]:
        """The newest answer that other runs have of each kernel; told to a bisection that begins.

        `programs`: by byte order, the digests of what would be pushed.
        """
        found: dict[str, CellResult] = {}
        if self.fresh:
            return found
        store, keys = self.setup.store, {(it.arch, it.digests): candidate_of(it).key for it in self.kernels}
        replies = []
        for final in reversed(list(store.finals())):
            kernel = final.cell.kernel
            key = keys.get((kernel.arch, kernel.digests), "")
            if not key or key in found or final.outcome is not Outcome.RAN or final.run == journal.bisection.id:
                continue
            result = store.result(final)
            said = self.setup.target.read(result).answer
            if said and self._was_asked(final, programs):
                found[key] = result
                replies.append(Reply(candidate=key, why=Why.KNOWN, answer=said, run=final.run, cell=final.cell.id))
        if not journal.resumed:
            journal.replies += reversed(replies)
        return found

    def _was_asked(self, final: Final, programs: Mapping[str, Mapping[str, str]]) -> bool:
        """Was it the same that is asked now?"""
        target, kernel = self.setup.target, final.cell.kernel
        asks = target.asks(kernel.judged_as, fully=False)
        mine = dict(programs.get(architecture(kernel.arch).byte_order, {}))
        return target.was_asked(self.setup.store.asked_of(final), AskedCell(asks=asks, modules=(), programs=mine))

    def _say_begin(self, journal: Journal, known: int) -> None:
        it = journal.bisection
        kernels = counted(len(it.candidates), "kernel")
        guests = counted(it.slots, "concurrent guest")
        words = f"bisection {it.id}: {it.question.target}, {kernels}, {guests}"
        if not self.every:
            words += f", about {counted(expected_rounds(len(it.candidates), it.slots), 'round')} to the change"
        if journal.resumed and it.rounds:
            words += f"; resumed after {counted(it.boots, 'boot')}"
        elif known:
            words += f"; {known} known from the store"
        self.setup.say(words)

    def _results(
        self, journal: Journal, known: Mapping[str, CellResult], cells: Mapping[str, Cell]
    ) -> dict[str, list[CellResult]]:
        """What there is of each candidate, that of this bisection last."""
        found: dict[str, list[CellResult]] = defaultdict(list)
        for key, result in known.items():
            found[key].append(result)
        if journal.bisection.boots:
            keys = {cell.id: key for key, cell in cells.items()}
            for result in self.setup.store.load(journal.bisection.id).results:
                found[keys[result.cell.id]].append(result)
        return found

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
        kernel = next(it for it in self.kernels if (it.package_version, it.arch) == (after.build, after.arch))
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


def every_kernel(
    archive: Archive, archs: Iterable[str], *, deadline: Deadline, offline: bool = False
) -> tuple[Pin, ...]:
    """Every kernel of the archive, each build once whatever suites have it, in order. Raises InfraError.

    `offline`: only those in the cache.
    """
    found: dict[object, Pin] = {}
    cache = cache_root()
    for pin in offered((), tuple(archs), Means(archive, cache, deadline), words=("debian",)):
        if not offline or have_kernel(pin, cache):
            found.setdefault((pin.arch, pin.digests), pin)
    return ordered(found.values())


def ordered(kernels: Iterable[Pin]) -> tuple[Pin, ...]:
    """By version, then build, then architecture and configuration."""
    return tuple(sorted(kernels, key=lambda pin: (age(pin), pin.arch, pin.variant)))


@dataclass(frozen=True, slots=True)
class KernelRange:
    """Which of them: `series` one of the stable series, `first` and `last` ends, each a version, release or build.

    All are of the generic configuration, but where an end is a release of another one, or all of a version are wanted.
    """

    series: str = ""
    first: str = ""
    last: str = ""
    version: str = ""  # all builds of one version, those of an architecture and a configuration together

    def select(self, kernels: Sequence[Pin]) -> tuple[Pin, ...]:
        """Those of `kernels`, which are in order. Raises UserError when an end is not there."""
        if self.version:
            mine = [it for it in kernels if it.version == self.version]
            return _some(_to_and_fro(mine), self.version, kernels)
        kernels = _of_variant(kernels, self.first, self.last)
        if self.series:
            return _some([it for it in kernels if _in_series(it, self.series)], self.series, kernels)
        first = _places(kernels, self.first)[0] if self.first else 0
        last = _places(kernels, self.last)[-1] if self.last else len(kernels) - 1
        if first > last:
            raise UserError(f"--from {self.first} is newer than --to {self.last}", hint="swap them")
        return tuple(kernels[first : last + 1])


def _to_and_fro(builds: Iterable[Pin]) -> list[Pin]:
    """Those of an architecture together, each second time backwards: neighbours differ in as little as can be."""
    archs: dict[str, list[Pin]] = {}
    for it in sorted(builds, key=lambda it: (it.arch, it.variant)):
        archs.setdefault(it.arch, []).append(it)
    backwards = len(archs) - 1  # the last one is in order
    return [it for at, group in enumerate(archs.values()) for it in group[:: -1 if (backwards - at) % 2 else 1]]


def _of_variant(kernels: Sequence[Pin], *ends: str) -> Sequence[Pin]:
    """Those of one configuration: kernels of several are in no order."""
    variant = next((it.variant for it in kernels if it.release in ends), "")
    return [it for it in kernels if it.variant == variant]


def _places(kernels: Sequence[Pin], word: str) -> list[int]:
    found = [at for at, it in enumerate(kernels) if _named(it, word)]
    if not found:
        raise _nothing(word, kernels)
    return found


def _named(it: Pin, word: str) -> bool:
    return word in {it.version, it.release, it.package_version, it.source} or _in_series(it, word)


def _in_series(it: Pin, word: str) -> bool:
    """`6.12` and `7`; a whole version is no series."""
    major, _, minor = word.partition(".")
    if not major.isdecimal() or (minor and not minor.isdecimal()):
        return False
    version = it.upstream
    return version.major == int(major) and (not minor or version.minor == int(minor))


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
