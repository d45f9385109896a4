"""`runner bisect --git`: the commit at which an answer changed."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from runner.bisect.commitkernels import CommitKernels
from runner.bisect.commits import CommitJournal, Search, journal_path
from runner.bisect.questions import Asked
from runner.caches import cache_root
from runner.cli import EXIT_NO_ANSWER, EXIT_OK
from runner.cli.options import Project
from runner.engine.machine import this_machine
from runner.engine.orders import Phase
from runner.engine.prepare import payload
from runner.errors import UserError
from runner.guest.accel import host_cpus
from runner.images import lock_image
from runner.kernels.archive import Archive
from runner.kernels.build import FRAGMENT
from runner.kernels.checkout import Checkout
from runner.model import ImagePin
from runner.model.architecture import architecture
from runner.model.version import KernelVersion
from runner.probes import compile_objects
from runner.results.bisectcommits import CommitAnswer, CommitBisection, NamedCommit
from runner.text import plain


@dataclass(frozen=True, slots=True)
class CommitBisecting:
    """A question to the commits of a repository."""

    project: Project
    asked: Asked
    repository: Path
    arch: str
    console: Console
    offline: bool

    def run(self, good: str, bad: str) -> CommitBisection:
        """To its end; each commit is told as it comes."""
        cache, limits = cache_root(), self.project.limits
        config = hashlib.sha256(FRAGMENT.read_bytes()).hexdigest()
        deadline = limits.deadline("prepare_s")
        with Checkout.opened(self.repository, self.arch, config, cache, deadline=deadline) as checkout:
            image = self._image()
            objects = self._objects()
            asks = "".join(ask.model_dump_json() for ask in self.asked.asks(KernelVersion.parse("6.0"), census=False))
            programs = "".join(sorted(hashlib.sha256(content).hexdigest() for content in objects.values()))
            question = self.asked.question.target
            journal = CommitJournal(journal_path(checkout, question, asks + programs))
            test = self._test(checkout, journal, image, objects)
            return Search(checkout, question, self.arch, journal, test, self._say, limits).run(good, bad)

    def _test(
        self, checkout: Checkout, journal: CommitJournal, image: ImagePin, objects: dict[str, bytes]
    ) -> CommitKernels:
        file, cache = self.project.matrix.file, cache_root()
        deadline = self.project.limits.deadline("prepare_s")
        return CommitKernels(
            checkout=checkout,
            arch=self.arch,
            asked=self.asked,
            image=image,
            payload=payload(image, objects, cache, offline=self.offline, deadline=deadline),
            guest=file.guest,
            limits=file.limits,
            probes=file.probe_names,
            machine=this_machine(offline=self.offline),
            journal=journal,
            cache=cache,
            native=architecture(self.arch).uname == platform.machine(),
            jobs=host_cpus(),
            tell=self._phase,
        )

    def _image(self) -> ImagePin:
        suite = self.project.matrix.file.image.suite
        for image in self.project.lock().images:
            if (image.suite, image.arch) == (suite, self.arch):
                return image
        deadline = self.project.limits.deadline("lock_s")
        return lock_image(suite, self.arch, Archive(cache_root(), offline=self.offline), deadline=deadline)

    def _objects(self) -> dict[str, bytes]:
        order = architecture(self.arch).byte_order
        names = [name for file in self.asked.files for name in file.objects]
        deadline = self.project.limits.deadline("prepare_s")
        return compile_objects(self.project.root, names, (order,), cache_root(), deadline=deadline)[order]

    def _phase(self, phase: Phase, note: str) -> None:
        self.console.print(Text(f"  {' '.join(filter(None, (phase, note)))}", "dim"), soft_wrap=True)

    def _say(self, one: CommitAnswer, commit: NamedCommit, word: str) -> None:
        said = plain(one.answer or one.cause, 120)
        self.console.print(Text(f"{commit.short} {plain(commit.subject, 60)}: {word}: {said}"), soft_wrap=True)


def bisect_status(done: CommitBisection) -> int:
    """0: one commit was found; 2: there is none, or it may be several."""
    return EXIT_OK if done.first_bad else EXIT_NO_ANSWER


def check_ends(good: str, bad: str) -> None:
    if not (good and bad):
        raise UserError("--git needs --good REF and --bad REF", hint="--good v6.12.111 --bad v6.12.117")
