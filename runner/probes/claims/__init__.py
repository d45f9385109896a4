# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Claims: what is said about a kfunc, held against what a program that calls it observed."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.model import Answer, Ask, CellResult, ProgType, Row
from runner.model.version import KernelVersion
from runner.model.words import errno_name, errno_words
from runner.probes.claims.answers import (
    NAME,
    NOT_WRITTEN,
    UNTOUCHED,
    ClaimBody,
    Observation,
    RunSetting,
    matches,
    observation,
    observations,
)
from runner.probes.claims.judge import Evidence, Question, judge
from runner.probes.claims.written import Claim, ClaimFile, ClaimKeys, Packet, Pattern, Refusal, problems
from runner.probes.files import VMLINUX, KfuncList, ProbeFile, Said, load_kfuncs
from runner.probes.kind import Kind, Need, Pairs
from runner.probes.verifier import steady

__all__ = ["KIND", "Claim", "ClaimFile", "Claims", "Pattern"]

FLOW = "flow"  # the input by which every question has a connection of its own
_FLOWS = 8191  # so many numbers: they are added to ports, of runner/agent/traffic.py and bpf/traffic.bpf.c

ClaimFiles = tuple[ClaimFile, ...]


class Claims(Kind[ClaimFiles]):
    """Its rows have a verdict: of a claim, for programs of a type."""

    name = NAME
    noun = "claim"
    subject = "kfunc"
    reads = ("census",)
    logs = ("log",)
    keys = ClaimKeys
    pattern = Pattern
    apart = frozenset({"refused"})
    needs = (
        Need("BPF_SYSCALL", "every question is a bpf(2) call", vital=True),
        Need("DEBUG_INFO_BTF", "kfuncs are found by the kernel's BTF", vital=True),
        # without these some kfuncs are not there or cannot be called, and the kernel says so itself
        Need("BPF_JIT", "calls of kfuncs"),
        Need("NF_CONNTRACK", "the conntrack kfuncs"),
        Need("NF_NAT", "bpf_ct_set_nat_info"),
        Need("NET_SCH_INGRESS", "TC programs on a device"),
        Need("NET_CLS_BPF", "TC programs on a device"),
        Need("VETH", "traffic"),
        Need("NF_TABLES", "traffic that the kernel tracks"),
    )
    _asked: tuple[ClaimFiles, list[tuple[Claim, Ask]]] | None = None  # made of the first
    # devices, traffic, and a look at what it did
    unpacked = (
        "8021q", "act_bpf", "authenc", "cbc", "cls_bpf", "crypto_null", "dummy", "ecb", "esp4", "ipip",
        "nf_conntrack_netlink", "nf_tables", "nft_chain_nat", "nft_ct", "nft_flow_offload", "nft_nat",
        "sch_ingress", "sit", "veth", "xfrm_user",
    )  # fmt: skip

    def load(self, root: Path, files: Sequence[ProbeFile]) -> ClaimFiles:
        kfuncs = load_kfuncs(root)
        return tuple(_claim_file(file, it, kfuncs) for file in files if isinstance(it := file.written, ClaimKeys))

    def everywhere(self, known: ClaimFiles, probe: str) -> ClaimFiles:
        return tuple(_everywhere(file, probe) for file in known)

    def asks(self, known: ClaimFiles, version: KernelVersion | None, types: Sequence[ProgType]) -> Iterable[Ask]:
        if not self._asked or self._asked[0] is not known:  # a run asks each of its kernels the same
            every = list(questions(known))
            numbers = _numbered(it.probe for it in every)
            self._asked = known, [(it.claim, _ask(it, numbers[it.probe])) for it in every]
        mine = [it for it in self._asked[1] if version is None or version in it[0].interval]
        return [ask for risky in (False, True) for claim, ask in mine if claim.risky == risky]

    def files(self, ask: Ask) -> Collection[str]:
        setting = ask.body.get("setting")
        namespace = setting.get("namespace") if isinstance(setting, dict) else ""
        return (f"{ask.body['object']}.bpf.o", *([f"{namespace}.ip"] if namespace else []))

    def pushed(self, known: ClaimFiles, arch: str) -> Mapping[str, bytes]:
        return {f"{file.name}.ip": file.setup.encode() for file in known if file.setup}

    def objects(self, known: ClaimFiles) -> Iterable[str]:
        return (name for file in known for name in file.objects)

    def about(self, known: ClaimFiles, probes: Collection[str]) -> ClaimFiles:
        ids = {probe.rpartition(":")[0] for probe in probes}
        mine = [(file, tuple(claim for claim in file.claims if claim.id in ids)) for file in known]
        return tuple(file.model_copy(update={"claims": claims}) for file, claims in mine)

    def judge(self, result: CellResult, known: ClaimFiles, earlier: Sequence[Row]) -> Iterable[Row]:
        seen = observations(result)
        evidence = Evidence.of(result)
        return (judge(evidence, question, seen.get(question.probe)) for question in questions(known))

    def shows(self, pattern: Any, result: CellResult, row: Row) -> bool:
        seen = observation(result, row.probe)
        return seen is not None and matches(pattern, seen)

    def told(self, result: CellResult, held: Collection[str] = ()) -> Iterable[tuple[str, str, str]]:
        for seen in observations(result).values():
            for part, value in _told(seen, counted=seen.probe not in held):
                yield seen.probe, part, value

    def said(self, known: ClaimFiles) -> Iterable[Said]:
        places = {claim.id: at for file in known for claim, at in zip(file.claims, file.places, strict=False)}
        sentences = {file.name: file.sentences for file in known}
        for question in questions(known):
            claim = question.claim
            yield Said(
                id=claim.id,
                probe=question.probe,
                subject=question.kfunc(),
                type=question.prog_type,
                says=claim.says,
                source=claim.source.kind,
                refs=claim.source.ref,
                sentences=sentences[question.file.name].get(claim.id, ()),
                file=question.file.name,
                place=("claims", places.get(claim.id, 0)),
                program=(claim.object or question.file.object, claim.program) if claim.usable else None,
            )

    def shown(self, result: CellResult, row: Row) -> Pairs:
        if seen := observation(result, row.probe):
            yield "load", errno_words(seen.load_errno, "the verifier accepted it")
            yield "run", errno_words(seen.run_errno, "it ran")
            yield "returned", "nothing" if seen.retval is None else str(seen.retval)
            for name, value in seen.fields.items():
                words = f"-{errno_name(-value)}" if value < 0 else f"{value:#x}"
                yield name, NOT_WRITTEN if value == UNTOUCHED else f"{value} ({words})"
            yield from (pair for pair in (("stdout", seen.stdout), ("stderr", seen.stderr)) if pair[1])
            if seen.failed:
                yield "not asked", seen.failed

    def exported(self, result: CellResult, rows: Sequence[Row]) -> list[Mapping[str, object]]:
        seen = observations(result)
        return [
            {
                "id": row.probe.removesuffix(f":{row.type}"), "kfunc": row.subject, "prog_type": row.type,
                "verdict": row.verdict, "expected": row.expected, "observed": row.observed, "crashed": row.crashed,
                "cause": row.cause, "known_issue": row.known_issue,
                "observation": seen[row.probe].model_dump(mode="json") if row.probe in seen else None,
            }
            for row in rows
        ]  # fmt: skip

    def imported(self, entry: Mapping[str, Any]) -> Answer | None:
        if not entry.get("observation"):
            return None
        body = dict(entry["observation"])
        return Answer(kind=NAME, probe=body.pop("probe"), failed=body.pop("failed"), body=body)


def questions(files: Iterable[ClaimFile]) -> Iterable[Question]:
    """Every claim of `files` and each of its program types."""
    return (Question(file, claim, prog_type) for file in files for claim in file.claims for prog_type in claim.types)


def _everywhere(file: ClaimFile, probe: str) -> ClaimFile:
    wanted = probe.rpartition(":")[0]
    wide = {"since": (), "until": ()}
    claims = (claim.model_copy(update=wide) if claim.id == wanted else claim for claim in file.claims)
    return file.model_copy(update={"claims": tuple(claims)})


def _claim_file(file: ProbeFile, written: ClaimKeys, kfuncs: KfuncList) -> ClaimFile:
    if file.document and (found := [*problems(written)]):
        raise file.document.error(found)
    keys = {key: getattr(written, key) for key in ClaimKeys.model_fields}
    places, claims = zip(*_expanded(written), strict=True)
    options = {it: kfuncs.objects[it].config for it in written.modules if it in kfuncs.objects}
    homes = {kfunc: home for kfunc in written.kfunc_names for home in kfuncs.homes.get(kfunc, ()) if home != VMLINUX}
    return ClaimFile(
        **{**keys, "name": file.name, "claims": claims, "places": places, "options": options, "holders": homes}
    )


def _expanded(file: ClaimKeys) -> Iterable[tuple[int, Claim]]:
    """Each claim with its place in the file; those about traffic once for each way to attach, since their setup is
    expensive to change, together."""
    claims = [
        claim
        if claim.since or claim.kfunc not in file.since
        else claim.model_copy(update={"since": file.since[claim.kfunc]})
        for claim in file.claims
    ]
    yield from ((at, claim) for at, claim in enumerate(claims) if not claim.flow or claim.attach)
    for attach, span in file.attach.items():
        for at, claim in enumerate(claims):
            if claim.flow and not claim.attach and attach.prog_type in claim.types:
                yield at, claim.attached(attach, span.since)


def _numbered(probes: Iterable[str]) -> dict[str, int]:
    """A number for each, from its name: a further claim leaves the numbers of the others as they are, nearly always."""
    found: dict[int, str] = {}
    for probe in probes:
        number = zlib.crc32(probe.encode()) % _FLOWS + 1
        while number in found:
            number = number % _FLOWS + 1
        found[number] = probe
    return {probe: number for number, probe in found.items()}


def _ask(question: Question, number: int) -> Ask:
    file, claim = question.file, question.claim
    body = ClaimBody(
        object=claim.object or file.object,
        program=f"{question.prog_type}_{claim.program}",
        constants=claim.constants,
        inputs={**claim.inputs, FLOW: number},
        sysctl=claim.sysctl,
        load_as=claim.load_as,
        license=claim.license,
        netns=claim.netns,
        traffic=claim.traffic,
        run=claim.answer.load != "loads",
        refused=claim.answer.load == "refused" or isinstance(claim.answer.load, Refusal),
        setting=_setting(file, claim),
        module=file.holders.get(question.kfunc(), ""),
        modules=file.modules if file.modules_suffice else (),
    )
    return Ask(
        kind=NAME,
        probe=question.probe,
        body=body.model_dump(mode="json"),
        programs=(body.program, f"any_{claim.program}"),  # PROGRAM of bpf/program.h has the second name
    )


def _setting(file: ClaimFile, claim: Claim) -> RunSetting | None:
    setting = RunSetting(
        namespace=file.name if file.setup else "",
        prepare=f"{ProgType.SYSCALL}_{claim.prepare}" if claim.prepare else "",
        packet=claim.packet or Packet(),
        wire=claim.wire,
        bound=claim.bound or "",
        later=claim.later,
        streams=any(it.stdout or it.stderr for it in claim.answers),
    )
    return setting if setting != RunSetting() else None


def _told(seen: Observation, *, counted: bool) -> Pairs:
    yield "not asked", seen.failed
    yield "load errno", str(seen.load_errno)
    yield "run errno", str(seen.run_errno)
    yield "returned", str(seen.retval)
    yield "last line of the log", steady(seen.log.strip().rpartition("\n")[2]) if seen.load_errno else ""
    for name, value in seen.fields.items() if counted else ():
        if "timeout" not in name:
            yield name, str(value)


KIND = CLAIMS = Claims()
