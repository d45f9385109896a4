"""One bisection, from the kernels that may be asked to what was found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from runner.bisect.boots import Boots, known_replies, new_run
from runner.bisect.candidates import Bootable, cells_of
from runner.bisect.changelog import changelog_of, mentions
from runner.bisect.conclude import conclude, finished, likeness, question_words, source_words
from runner.bisect.journal import Journal
from runner.bisect.questions import Asked
from runner.bisect.search import expected_rounds, search
from runner.caches import cache_root
from runner.cli.fleets import fleet_of
from runner.cli.live import Display
from runner.cli.options import Project
from runner.cli.stores import store_of
from runner.engine.controller import execute
from runner.engine.fleet import Fleet
from runner.engine.plan import Plan
from runner.engine.prepare import payloads
from runner.errors import InfraError
from runner.images import lock_image
from runner.kernels.archive import Archive
from runner.model import Cell, CellResult, ImagePin
from runner.probes import Issue
from runner.probes.old import of
from runner.results.bisections import Bisection, Change, Found, Why
from runner.results.store import ResultStore
from runner.text import counted, plain


@dataclass(slots=True)
class Bisecting:
    """`kernels` are in their order. `every`: ask all of them; `fresh`: do not use what the store knows.

    `offline`: use what is in the cache; the distribution's changelog is not.
    """

    project: Project
    asked: Asked
    issues: tuple[Issue, ...]
    kernels: Sequence[Bootable]
    slots: int | None
    hosts: Path | None
    samples: int
    every: bool
    fresh: bool
    offline: bool
    console: Console

    def run(self) -> Bisection:
        """To its end. KeyboardInterrupt when it was interrupted; what came until then is kept."""
        cells = cells_of(self.kernels, self.project.matrix, self._images())
        with fleet_of(self.hosts, self.slots, tuple(cells.values()), self.console) as fleet:
            return self._over(fleet, cells)

    def _over(self, fleet: Fleet, cells: Mapping[str, Cell]) -> Bisection:
        slots = min(fleet.slots, len(cells))
        journal = Journal.open(
            self.project.reports,
            self.asked.question,
            [it.candidate for it in self.kernels],
            slots=slots,
            samples=self.samples,
            every=self.every,
        )
        with store_of(self.project) as store:
            known = self._known(store, journal)
            journal.keep()
            self._say_begin(journal, len(known))
            boots = self._boots(journal, cells, store, fleet)
            board = search(
                boots.keys,
                journal.replies,
                boots.ask,
                slots=slots,
                samples=self.samples,
                every=self.every,
                kept=journal.keep,
            )
            journal.keep()
            results = self._results(store, journal, known, cells)
        found = conclude(journal.bisection, board, self.asked, results, self.issues)
        done = finished(journal.bisection, self._with_changelogs(journal.bisection, found))
        journal.finish(done)
        return journal.bisection

    def _images(self) -> dict[str, ImagePin]:
        """The guests' disks that the project is pinned to, or the newest."""
        suite = self.project.matrix.file.image.suite
        pinned = {image.arch: image for image in self.project.lock().images if image.suite == suite}
        deadline = self.project.limits.deadline("lock_s")
        return {
            arch: pinned.get(arch) or lock_image(suite, arch, self._archive, deadline=deadline)
            for arch in dict.fromkeys(it.kernel.arch for it in self.kernels)
        }

    @property
    def _archive(self) -> Archive:
        return Archive(cache_root(), offline=self.offline)

    def _known(self, store: ResultStore, journal: Journal) -> dict[str, CellResult]:
        """What other runs answered; told to a bisection that begins."""
        if self.fresh:
            return {}
        found = list(known_replies(store, self.asked, self.kernels, but=journal.bisection.id))
        if not journal.resumed:
            journal.replies += [reply for _, _, reply in found]
        return {key: result for key, result, _ in found}

    def _boots(self, journal: Journal, cells: Mapping[str, Cell], store: ResultStore, fleet: Fleet) -> Boots:
        bisection = journal.bisection
        one_each = {cell.arch: cell for cell in cells.values()}
        plan = Plan(
            run=new_run(bisection.id, bisection.started, self.project.matrix.sha256, bisection.slots),
            orders=(),
            payload=payloads(
                tuple(one_each.values()),
                of(self.asked.files, root=self.project.root),
                cache=cache_root(),
                offline=self.offline,
                deadline=self.project.limits.deadline("prepare_s"),
            ),
            fleet=fleet,
            folder=self.project.reports / "runs" / bisection.id,
            offline=self.offline,
        )

        def show(batch: Sequence[tuple[Cell, Why]]) -> Display:
            journal.round()
            self._say_round(journal, batch)
            return Display(self.console, self._describe)

        return Boots(
            asked=self.asked,
            keys=[candidate.key for candidate in bisection.candidates],
            cells=cells,
            plan=plan,
            store=store,
            show=show,
            execute=execute,
        )

    def _describe(self, result: CellResult) -> str:
        reading = self.asked.read(result)
        return plain(reading.answer or f"no answer: {reading.cause}", 120)

    def _say_begin(self, journal: Journal, known: int) -> None:
        bisection = journal.bisection
        kernels = counted(len(bisection.candidates), "kernel")
        words = f"bisection {bisection.id}: {bisection.question.target}, {kernels}, {bisection.slots} at once"
        if not self.every:
            rounds = expected_rounds(len(bisection.candidates), bisection.slots)
            words += f", about {counted(rounds, 'round')} to narrow it down"
        if journal.resumed and bisection.rounds:
            words += f"; goes on after {counted(bisection.boots, 'boot')}"
        elif known:
            words += f"; {known} known from the store"
        self.console.print(Text(words), soft_wrap=True)

    def _say_round(self, journal: Journal, batch: Sequence[tuple[Cell, Why]]) -> None:
        words = ", ".join(f"{cell.id} ({why})" for cell, why in batch)
        self.console.print(Text(f"round {journal.bisection.rounds}: {words}"), soft_wrap=True)

    def _results(
        self, store: ResultStore, journal: Journal, known: Mapping[str, CellResult], cells: Mapping[str, Cell]
    ) -> dict[str, list[CellResult]]:
        """What there is of each candidate, that of this bisection last."""
        found: dict[str, list[CellResult]] = defaultdict(list)
        for key, result in known.items():
            found[key].append(result)
        if journal.bisection.boots:
            keys = {cell.id: key for key, cell in cells.items()}
            for result in store.load(journal.bisection.id).results:
                found[keys[result.cell.id]].append(result)
        return found

    def _with_changelogs(self, bisection: Bisection, found: Found) -> Found:
        texts: dict[str, str] = {}
        changes = tuple(
            change
            if change.last_good.build == change.first_bad.build
            else self._with_changelog(bisection, change, texts)
            for change in found.changes
        )
        return found.model_copy(update={"changes": changes})

    def _with_changelog(self, bisection: Bisection, change: Change, texts: dict[str, str]) -> Change:
        """What the distribution changed between the two, what is most like the question first."""
        after = change.first_bad
        if self.offline:
            return change.model_copy(update={"changelog_note": "not read: it is not in the cache"})
        kernel = next(
            it.kernel for it in self.kernels if (it.candidate.build, it.candidate.arch) == (after.build, after.arch)
        )
        self.console.print(Text(f"reading the changelog of {after.version} ({after.build})"), soft_wrap=True)
        deadline = self.project.limits.deadline("prepare_s")
        cache = cache_root()
        try:
            if after.build not in texts:
                texts[after.build] = changelog_of(kernel, self._archive, cache / "scratch", deadline=deadline)
            said = mentions(texts[after.build], change.last_good.build, after.build, source_words(self.asked))
        except (InfraError, ValueError) as error:  # the answer stands without it
            return change.model_copy(update={"changelog_note": str(error)})
        words = question_words(bisection)
        note = "" if said else "says nothing about BPF, netfilter or the kfunc's file"
        return change.model_copy(
            update={
                "changelog": tuple(sorted(said, key=lambda mention: -likeness(mention.text, words))),
                "changelog_note": note,
            }
        )
