# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Claims as bpf/NAME.yaml has them: what is said about kfuncs, and for which kernels. docs/claims.md explains it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag, field_validator, model_validator

from runner.model import Attach, Plain, ProgType, SafeName, Traffic
from runner.model.version import KernelVersion
from runner.model.words import ERRNO
from runner.probes.files import Family, Name, Points, Sentence, Span, Text, Texts, form
from runner.probes.verifier import steady
from runner.text import nearest
from runner.yamlfile import Location

_Path = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*(\.[a-zA-Z0-9_]+)*$")]
_ClaimId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
_Decides = Annotated[str, StringConstraints(pattern=r"^(not )?[a-z0-9]+(-[a-z0-9]+)*$")]
_Sysctl = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)+$")]
_License = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9 ./-]{1,32}$")]


def _known_errno(name: str) -> str:
    if name.removeprefix("-") not in ERRNO:
        raise ValueError(f"{name!r} is not the name of an errno")
    return name


def _case(value: object) -> str:
    return "number" if isinstance(value, int) and not isinstance(value, bool) else form(value)


class Range(Plain):
    """Any number from `min` to `max`."""

    min: int
    max: int

    @model_validator(mode="after")
    def _some(self) -> Range:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class Refusal(Plain):
    """The kernel does not load the program. `log`: this, or one of these, is in the verifier's log, as whole words."""

    errno: str | None = None
    log: Texts = ()

    @field_validator("errno")
    @classmethod
    def _errno(cls, name: str | None) -> str | None:
        return None if name is None else _known_errno(name)

    @field_validator("log")
    @classmethod
    def _log(cls, log: tuple[str, ...]) -> tuple[str, ...]:
        for text in log:
            if steady(text) != text:
                raise ValueError(f"{text!r}: an address or a BTF id is another one in the next boot or build")
        return log


_Load = Annotated[
    Annotated[Literal["ok", "loads", "refused"], Tag("text")] | Annotated[Refusal, Tag("other")], Discriminator(form)
]
_Value = Annotated[
    Annotated[int, Tag("number")] | Annotated[str, Tag("text")] | Annotated[Range, Tag("other")], Discriminator(_case)
]


class Pattern(Plain):
    """What an observation may be. `load: refused` is any refusal; a program that `loads` is not run.

    `fields` are members of `result`; `stdout` and `stderr` are in what the program wrote to its streams.
    """

    load: _Load = "ok"
    fields: dict[Name, _Value] = Field(default_factory=dict)
    stdout: str = ""
    stderr: str = ""

    @field_validator("fields")
    @classmethod
    def _errnos(cls, fields: dict[str, int | str | Range]) -> dict[str, int | str | Range]:
        for value in fields.values():
            if isinstance(value, str):
                _known_errno(value)
        return fields

    @model_validator(mode="after")
    def _refused_has_no_fields(self) -> Pattern:
        if self.load != "ok" and (self.fields or self.stdout or self.stderr):
            raise ValueError("a program that does not run has no fields and writes nothing")
        return self


class Expectation(Span):
    """Kernels that are known to answer otherwise than the claim says, and why."""

    answer: Pattern
    why: Text


class Source(Plain):
    """Who says it."""

    kind: Literal["ebpf-docs", "commit", "source"]
    ref: Texts  # one place or several; of ebpf-docs `<page>: <sentence>`


class Flow(Plain):
    """The flow of a claim about traffic; see runner/model/cells.py."""

    protocol: Literal["tcp", "udp"]
    tracked: bool = False
    virtual: bool = False


class Reason(StrEnum):
    """Why a program of a type cannot put a kfunc to use that it may call. The list is closed.

    That an argument has another type is no reason: some program may have the right one.
    """

    DEVICE = "needs a bound device"
    DRIVER = "needs a driver"
    GPL = "GPL"
    ARGUMENT = "an argument that no program can pass"
    TEST = "test-only"
    DEADLY = "takes the kernel down by design"
    SLEEPABLE = "sleepable only"


# What a kernel then answers; the claim must name one: words of the verifier, or an errno that the call returns.
EVIDENCE: Mapping[Reason, tuple[str, ...]] = {
    Reason.DEVICE: ("metadata kfuncs require device-bound program",),
    Reason.DRIVER: ("-EOPNOTSUPP",),
    Reason.GPL: ("cannot call kernel function from non-GPL compatible program",),
    # a trusted pointer of a type that nothing hands out, or the context of another program type
    Reason.ARGUMENT: (
        "must be referenced or trusted",
        "must be a rcu pointer",
        "STRUCT __sk_buff",
        "R1 type=ctx expected=fp",
    ),
    Reason.TEST: ("net/bpf/test_run.c",),  # which the source must name
    Reason.DEADLY: ("loads",),  # it is not run
    Reason.SLEEPABLE: ("must be sleepable to call sleepable kfunc",),
}


class Packet(Plain):
    """The packet that a program is run on: these bytes, by default TCP over IPv4, and zeros up to `size`."""

    hex: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2}| )*$")] = ""
    size: Annotated[int, Field(ge=0, le=1 << 16)] = 0


class Wire(Plain):
    """The program is attached to a device and sees the packet, which another device sends, up to so many `times`.

    `also` are further programs, by their full names, each with its device. The answer is read once `result.done` is not
    0, which the last of them sets.
    """

    device: SafeName
    sender: SafeName
    attach: Attach | None = None  # by default clsact or native
    also: dict[Name, SafeName] = Field(default_factory=dict)
    times: Annotated[int, Field(ge=1, le=100)] = 1


class Claim(Span):
    """One statement. `answer` is what it predicts; `expect` are the kernels on which it is known not to be true.

    `since` and `until` are the kernels about which it says something at all.
    """

    id: _ClaimId
    says: Text
    source: Source
    kfunc: Name  # a key of the file's `kfuncs`
    types: Annotated[tuple[ProgType, ...], Field(min_length=1)] = (ProgType.TC, ProgType.XDP)
    program: Name  # without its prefix tc_ or xdp_
    constants: dict[_Path, int] = Field(default_factory=dict)
    inputs: dict[_Path, int] = Field(default_factory=dict)
    sysctl: dict[_Sysctl, Text] = Field(default_factory=dict)
    risky: bool = False  # may take an old kernel down: asked last
    object: SafeName | None = None  # instead of the file's
    load_as: ProgType | None = None
    license: _License = "GPL"
    netns: Annotated[int, Field(ge=0, le=0x7FFFFFFF)] | None = None
    flow: Flow | None = None
    attach: Attach | None = None
    prepare: Name | None = None  # the program syscall_NAME is run first, on the same inputs
    packet: Packet | None = None
    wire: Wire | None = None
    bound: SafeName | None = None  # the program is loaded for this device alone
    later: bool = False  # its answer is complete once `result.done` is not 0, which a callback sets
    usable: bool = False  # its answer shows that the kfunc does its work
    unusable: Reason | None = None  # ... or why no program of the type can have it do that
    answer: Pattern
    expect: tuple[Expectation, ...] = ()

    @property
    def traffic(self) -> Traffic | None:
        return Traffic(attach=self.attach, **self.flow.model_dump()) if self.flow and self.attach else None

    def attached(self, attach: Attach, since: tuple[str, ...]) -> Claim:
        """The same claim of one way to attach its program, which kernels have from `since` on."""
        changes = {"id": f"{self.id}-{attach}", "attach": attach, "types": (attach.prog_type,), "since": since}
        return self.model_copy(update=changes if since else {**changes, "since": self.since})

    @property
    def answers(self) -> tuple[Pattern, ...]:
        return (self.answer, *(entry.answer for entry in self.expect))

    def expected(self, version: KernelVersion | None) -> Pattern:
        """What this kernel should answer: the first expectation that has it, or else what the claim says."""
        return next((entry.answer for entry in self.expect if entry.covers(version)), self.answer)


NOT = "not "


class ClaimKeys(Family):
    """What a file with claims has."""

    object: SafeName
    since: dict[Name, Points] = Field(default_factory=dict)  # by the keys of `kfuncs`: of claims without their own
    # commands of ip(8), `sysctl NAME=VALUE` and `flowtable DEVICE...`, one a line, which make the network namespace in
    # which the programs are run
    setup: str = ""
    attach: dict[Attach, Span] = Field(default_factory=dict)  # each claim with a `flow` is one claim for each of these
    # sentences of eBPF Docs, in our words, by page: the claims that decide each; `not ID` where that says the opposite
    pages: dict[Name, dict[Text, tuple[_Decides, ...]]] = Field(default_factory=dict)
    claims: Annotated[tuple[Claim, ...], Field(min_length=1)]


class ClaimFile(ClaimKeys):
    """Such a file, with its claims about traffic expanded."""

    name: SafeName
    options: dict[str, str] = Field(default_factory=dict)  # that build its modules, as far as they are known
    holders: dict[str, str] = Field(default_factory=dict)  # the modules that hold its kfuncs, by kfunc
    places: tuple[int, ...] = ()  # of each claim, where it stands in the file

    @property
    def objects(self) -> tuple[str, ...]:
        """The BPF objects of its claims, each once."""
        return tuple(dict.fromkeys((self.object, *(claim.object for claim in self.claims if claim.object))))

    @property
    def sentences(self) -> Mapping[str, tuple[Sentence, ...]]:
        """By a claim's id, those that it decides."""
        found: dict[str, list[Sentence]] = defaultdict(list)
        for page, sentences in self.pages.items():
            for sentence, deciding in sentences.items():
                for it in deciding:
                    found[it.removeprefix(NOT)].append(Sentence(f"{page}: {sentence}", not it.startswith(NOT)))
        return {claim_id: tuple(them) for claim_id, them in found.items()}

    def kfunc(self, claim: Claim, prog_type: ProgType, present: Collection[str] = ()) -> str:
        """Its name, of several the first that is `present`."""
        names = self.kfuncs[claim.kfunc][prog_type]
        return next((name for name in names if name in present), names[0])


def problems(file: ClaimKeys) -> Iterable[tuple[Location, str]]:
    """What is wrong with it that only the whole file shows."""
    ids = Counter(claim.id for claim in file.claims)
    for index, claim in enumerate(file.claims):
        place: Location = ("claims", index)
        if ids[claim.id] > 1:
            yield (*place, "id"), f"there are {ids[claim.id]} claims called {claim.id!r}"
        if len(set(claim.types)) != len(claim.types):
            yield (*place, "types"), "a program type is there twice"
        if claim.flow and not (claim.attach or file.attach):
            yield (*place, "flow"), "neither the claim nor the file says how to `attach`"
        yield from (((*place, key), why) for key, why in _unfounded(claim))
        if claim.kfunc not in file.kfuncs:
            yield (*place, "kfunc"), f"not among `kfuncs`; {nearest(claim.kfunc, file.kfuncs)}"
            continue
        for prog_type in claim.types:
            if prog_type not in file.kfuncs[claim.kfunc]:
                yield (*place, "kfunc"), f"`kfuncs` has no {claim.kfunc} for {prog_type}"
    for key in file.since.keys() - file.kfuncs.keys():
        yield ("since", key), f"not among `kfuncs`; {nearest(key, file.kfuncs)}"
    yield from _page_problems(file, ids)


def _page_problems(file: ClaimKeys, ids: Collection[str]) -> Iterable[tuple[Location, str]]:
    for page, sentences in file.pages.items():
        if page not in file.kfunc_names:
            yield ("pages", page), f"not among `kfuncs`; {nearest(page, file.kfunc_names)}"
        for sentence, deciding in sentences.items():
            for claim_id in (it.removeprefix(NOT) for it in deciding):
                if claim_id not in ids:
                    yield ("pages", page, sentence), f"no claim {claim_id}; {nearest(claim_id, ids)}"


def _unfounded(claim: Claim) -> Iterable[tuple[str, str]]:
    """Keys of the claim that its answer does not support, and why."""
    if claim.later and "done" not in claim.answer.fields:
        yield "later", "the answer's `fields` have no `done`, by which a callback shows that it ran"
    if claim.unusable and (why := _unshown(claim, claim.unusable)):
        yield "unusable", why


def _unshown(claim: Claim, reason: Reason) -> str:
    """Why the claim's answer is no evidence of that reason; empty when it is."""
    if claim.usable:
        return "the kfunc is `usable` as well"
    evidence, said = EVIDENCE[reason], list(claim.source.ref)
    for answer in claim.answers:
        said += answer.load.log if isinstance(answer.load, Refusal) else [answer.load]
        said += map(str, answer.fields.values())
    if any(words in one for one in said for words in evidence):
        return ""
    return f"neither the answer nor the source has {' or '.join(map(repr, evidence))}"
