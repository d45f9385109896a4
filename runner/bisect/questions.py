"""What a bisection asks of each kernel, and what a kernel's result says to it. Pure.

A claim is asked of every kernel, whatever its `since` and `until` say: where an answer changed is just what is sought.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property

from runner.errors import UserError
from runner.model import Ask, CellResult, CensusObservation, Observation, Outcome, ProgType, State, Verdict
from runner.model.errnos import errno_name
from runner.model.version import KernelVersion
from runner.probes import KINDS, ClaimFile, Issue, KfuncList, asks_of, judge, modules_of, states
from runner.probes.claims.matching import expected_words, matches, observed_words
from runner.probes.claims.written import Claim, Range, Refusal
from runner.probes.claims.written import Pattern as Answer
from runner.probes.old import census_id, probe_id
from runner.results.bisections import Question

CRASHED = "crashed the kernel"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one result says: an answer that is equal where kernels behave alike, or why there is none."""

    answer: str
    cause: str = ""


@dataclass(frozen=True)
class Asked:
    """A question with all that is known about it. `files` are the project's claims; `claim` is None for a kfunc."""

    question: Question
    files: tuple[ClaimFile, ...]
    known: KfuncList
    claim: Claim | None
    _made: dict[KernelVersion | None, tuple[Ask, ...]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def prog_type(self) -> ProgType:
        return self.question.prog_type

    @property
    def probe(self) -> str:
        """The observation that answers it."""
        return probe_id(self.claim, self.prog_type) if self.claim else census_id(self.prog_type)

    @cached_property
    def _file(self) -> ClaimFile:
        """The file of the claim, which holds that one alone, of all kernels."""
        assert self.claim is not None  # noqa: S101  both callers know
        return next(_only(file, self.claim) for file in self.files if self.claim in file.claims)

    def asks(self, version: KernelVersion, *, census: bool) -> tuple[Ask, ...]:
        """What answers the question. With `census`, also what tells the prototypes of this kernel.

        Each question is to the letter the one that a run of the matrix asks. With a census come the claims that show
        kfuncs at work: without them a kfunc that was seen at work before would look as if it were not any more.
        """
        wanted = {self.probe}
        if census or self.claim is None:
            shown = (claim for file in self.files for claim in file.claims if claim.usable)
            wanted |= {census_id(self.prog_type), *(probe_id(claim, self.prog_type) for claim in shown)}
        return tuple(ask for ask in self._matrix_asks(version) if ask.probe in wanted)

    def _matrix_asks(self, version: KernelVersion) -> tuple[Ask, ...]:
        """All that a run would ask, the claim of every kernel; made once for each version that makes a difference."""
        known = version if self.claim is None else None
        if known not in self._made:
            everywhere = tuple(_everywhere(file, self.claim) for file in self.files)
            self._made[known] = asks_of(everywhere, version, self.known, (self.prog_type,))
        return self._made[known]

    def modules(self, *, census: bool) -> tuple[str, ...]:
        """What is loaded first; each costs the guest time, and only a census looks at all of them."""
        return modules_of((self._file,)) if self.claim and not census else modules_of(self.files, self.known)

    def read(self, result: CellResult) -> Reading:
        """What a kernel's result says to the question."""
        if result.outcome is not Outcome.RAN:
            return Reading("", f"{result.outcome}: {result.cause}" if result.cause else str(result.outcome))
        return self._of_claim(self.claim, result) if self.claim else self._of_kfunc(result)

    def _of_claim(self, claim: Claim, result: CellResult) -> Reading:
        verdict = next(it for it in judge(result, (self._file,)) if it.probe == self.probe)
        if verdict.crashed:
            return Reading(CRASHED)
        if verdict.verdict is Verdict.NO_ANSWER:
            return Reading("", verdict.cause)
        seen = next(seen for seen in result.observations if seen.probe == self.probe)
        if verdict.cause:  # broken, for the kfunc is not there
            return Reading(f"load refused: -{errno_name(seen.load_errno or 0)}, the kfunc is not there", verdict.cause)
        return Reading(answer_words(claim, seen))

    def _of_kfunc(self, result: CellResult) -> Reading:
        rows = states(result, self.files, self.known)
        row = next((it for it in rows if it.kfunc == self.question.kfunc and it.prog_type is self.prog_type), None)
        if row is None:
            return Reading("", "the kernel was not asked about it")
        return Reading("", row.cause) if row.state is State.NO_ANSWER else Reading(str(row.state), row.cause)

    def issue(self, result: CellResult, issues: Sequence[Issue]) -> Issue | None:
        """The known issue that this answer shows; of a kfunc's state, one that keeps it from being seen at work."""
        if self.claim is None and self.read(result).answer == State.USABLE:
            return None
        probes = (self.probe,) if self.claim else self._shown
        mine = [seen for seen in result.observations if seen.probe in probes]
        of_kernel = (issue for issue in issues if issue.is_of(result))
        return next(
            (it for it in of_kernel if any(it.is_shown_by(KINDS["claims"], seen.probe, result) for seen in mine)), None
        )

    @cached_property
    def _shown(self) -> tuple[str, ...]:
        """The claims that show the kfunc at work."""
        return tuple(
            probe_id(claim, self.prog_type)
            for file in self.files
            for claim in file.claims
            if claim.usable and file.kfuncs[claim.kfunc].get(self.prog_type) == self.question.kfunc
        )

    def observation(self, result: CellResult) -> Observation | CensusObservation | None:
        """The raw answer; of a kfunc that of the first claim that shows it at work, for a census has no arguments."""
        probes = (self.probe,) if self.claim else self._shown
        seen = {seen.probe: seen for seen in result.observations if self.claim or not seen.failed}
        told = next((seen[probe] for probe in probes if probe in seen), None)
        return told or (None if self.claim else self.census(result))

    def census(self, result: CellResult) -> CensusObservation | None:
        """What the census of this kernel says of the kfunc."""
        mine = (it for it in result.census if it.kfunc == self.question.kfunc and it.prog_type is self.prog_type)
        return next(mine, None)


def answer_words(claim: Claim, seen: Observation) -> str:
    """What was answered, in words that are equal where kernels behave alike.

    Of the fields those count that the claim speaks of; what lies within one of its ranges is one answer.
    """
    if seen.load_errno:
        words = f"load refused: -{errno_name(seen.load_errno)}"
        named = isinstance(claim.answer.load, Refusal) and claim.answer.load.log
        return f"{words}, for another reason" if named and not matches(claim.answer, seen) else words
    if seen.run_errno:
        return f"run failed: -{errno_name(seen.run_errno)}"
    patterns = (claim.answer, *(entry.answer for entry in claim.expect))
    names = dict.fromkeys(name for pattern in patterns for name in pattern.fields)
    return ", ".join(_field(patterns, name, seen) for name in names if name in seen.fields) or "loads and runs"


def _field(patterns: Iterable[Answer], name: str, seen: Observation) -> str:
    for pattern in patterns:
        expected = pattern.fields.get(name)
        if isinstance(expected, Range) and expected.min <= seen.fields[name] <= expected.max:
            return expected_words(Answer(fields={name: expected}))
    return observed_words(Answer(fields={name: 0}), seen)


def _everywhere(file: ClaimFile, claim: Claim | None) -> ClaimFile:
    """The file with that claim said of all kernels."""
    claims = tuple(it.model_copy(update={"since": (), "until": ()}) if it == claim else it for it in file.claims)
    return file.model_copy(update={"claims": claims})


def _only(file: ClaimFile, claim: Claim) -> ClaimFile:
    wide = claim.model_copy(update={"since": (), "until": (), "expect": ()})
    return file.model_copy(update={"claims": (wide,)})


def find(target: str, files: tuple[ClaimFile, ...], known: KfuncList) -> Asked:
    """`CLAIM`, `KFUNC`, or one of them with `:tc` or `:xdp`. UserError, with the nearest name, when it is neither."""
    name, _, word = target.partition(":")
    if word and word not in {kind.value for kind in ProgType}:
        raise UserError(f"{target}: {word!r} is no program type", hint="like nat-source:tc or nat-source:xdp")
    wanted = ProgType(word) if word else None
    for file in files:
        for claim in file.claims:
            if claim.id == name:
                return _about_claim(claim, file, wanted, files, known)
    kfuncs = {kfunc for file in files for kfunc in file.kfunc_names} | known.names
    if name not in kfuncs:
        claims = [claim.id for file in files for claim in file.claims]
        near = get_close_matches(name, [*claims, *sorted(kfuncs)], n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "bpf/*.yaml has the claims, and the kfuncs' names"
        raise UserError(f"{name!r} is neither a claim nor a kfunc that is known", hint=hint)
    types = [kind for file in files for it in file.kfuncs.values() for kind, kfunc in it.items() if kfunc == name]
    prog_type = wanted or next((kind for kind in types if f"_{kind}_" in name), types[0] if types else ProgType.TC)
    question = Question(target=f"{name}:{prog_type}", kfunc=name, prog_type=prog_type)
    return Asked(question, files, known, None)


def _about_claim(
    claim: Claim, file: ClaimFile, wanted: ProgType | None, files: tuple[ClaimFile, ...], known: KfuncList
) -> Asked:
    prog_type = wanted or claim.types[0]
    if prog_type not in claim.types:
        raise UserError(f"{claim.id} says nothing about {prog_type}", hint=f"of {', '.join(claim.types)}")
    kfunc = file.kfunc(claim, prog_type)
    question = Question(target=probe_id(claim, prog_type), kfunc=kfunc, prog_type=prog_type, says=claim.says)
    return Asked(question, files, known, claim)
