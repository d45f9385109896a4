# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The census: which kfuncs does a kernel have, and which program types may call each?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from runner.model import (
    NETWORK_TYPES,
    Ask,
    CellResult,
    Level,
    Mark,
    ProgType,
    Row,
    State,
    StateWord,
    StructLayout,
    layout_lines,
)
from runner.model.version import KernelVersion
from runner.model.words import errno_words
from runner.probes.census.answers import NAME, CensusBody, probe_of, tagged, taken
from runner.probes.census.judge import CensusJudge, CensusNames
from runner.probes.files import KfuncList, ProbeFile, load_kfuncs
from runner.probes.kind import OTHERS, Kind, Need, Pairs


class Census(Kind[CensusNames]):
    """Its rows have a state: of a kfunc, for programs of a type."""

    name = NAME
    noun = "kfunc"
    subject = "kfunc"
    question = "Which kernel lets {programs} call which {subject}"
    due = frozenset(NETWORK_TYPES)  # no claim is about others, and some kernels lack some of them
    states = (
        StateWord(State.ABSENT, 0, Mark("-", "-", "bright_black")),
        StateWord(State.NOT_ALLOWED, 0, Mark("✗", "x", "yellow")),
        StateWord(State.REGISTERED, 1, Mark("○", "o", "cyan")),
        StateWord(State.USABLE, 2, Mark("✓", "+", "green")),
    )
    evidence = ("claims",)  # which have programs at work
    logs = ("log", "again_log")
    needs = (
        Need("BPF_SYSCALL", "every question is a bpf(2) call", vital=True),
        Need("DEBUG_INFO_BTF", "kfuncs are found by the kernel's BTF", vital=True),
        Need("DEBUG_INFO_BTF_MODULES", "kfuncs of modules", where="MODULES"),
        Need("BPF_JIT", "calls of kfuncs"),
        Need("BPF_EVENTS", "programs of the tracing types"),
    )
    # those whose kfuncs TC and XDP programs may call
    unpacked = ("fou", "fou6", "nf_conntrack", "nf_flow_table", "nf_flow_table_inet", "nf_nat", "xfrm_interface")
    # what decides whether a kfunc is there and can be called
    options = (
        "BPF_JIT", "BPF_JIT_ALWAYS_ON", "BPF_LSM", "BPF_SYSCALL", "CRASH_DUMP", "CRYPTO_SKCIPHER",
        "DEBUG_INFO_BTF", "DEBUG_INFO_BTF_MODULES", "HZ", "MEMCG", "NET_FOU", "NF_CONNTRACK",
        "NF_CONNTRACK_MARK", "NF_CONNTRACK_ZONES", "NF_FLOW_TABLE", "NF_NAT", "SCHED_CLASS_EXT", "SYN_COOKIES",
        "XFRM", "XFRM_INTERFACE",
    )  # fmt: skip

    def load(self, root: Path, files: Sequence[ProbeFile]) -> CensusNames:
        families = {file.name: file.family for file in files if file.family.kfuncs}
        return CensusNames(load_kfuncs(root) if families else KfuncList(), families)  # else nobody asks about kfuncs

    def grown(self, known: CensusNames, results: Iterable[CellResult]) -> CensusNames:
        return CensusNames(known.kfuncs.grown(kfunc for result in results for kfunc in tagged(result)), known.families)

    def asks(self, known: CensusNames, version: KernelVersion | None, types: Sequence[ProgType]) -> Iterable[Ask]:
        names = tuple(sorted(known.names))
        for prog_type in types if names else ():
            body = CensusBody(prog_type=prog_type, kfuncs=names)
            yield Ask(kind=NAME, probe=probe_of(prog_type), body=body.model_dump(mode="json"), items=True)

    def files(self, ask: Ask) -> Collection[str]:
        return ()

    def modules(self, known: CensusNames) -> Iterable[str]:
        return known.kfuncs.modules

    def judge(self, result: CellResult, known: CensusNames, earlier: Sequence[Row]) -> Iterable[Row]:
        return CensusJudge(result, known, earlier).rows()

    def told(self, result: CellResult, held: Collection[str] = ()) -> Iterable[tuple[str, str, str]]:
        for one in taken(result).answers:
            again = f", {one.again}: errno {one.again_errno}" if one.again else ""
            said = f"errno {one.load_errno} in {one.object or 'no BTF'}{again}"
            yield probe_of(one.prog_type), one.kfunc, f"not asked: {one.failed}" if one.failed else said

    def shown(self, result: CellResult, row: Row) -> Pairs:
        yield "found in", str(row.details["object"]) or "no BTF of this kernel"
        if row.errno is not None and row.state != State.USABLE:  # a bare call is refused where a good one works
            yield "load", errno_words(row.errno, "the verifier accepted it")
        yield "level", _LEVELS[str(row.details["level"])]
        if flags := cast("list[str]", row.details["flags"]):
            yield "flags", ", ".join(flags)

    def brief(self, row: Row) -> str:
        return f"{_LEVELS[str(row.details['level'])]}, in {row.details['object'] or 'no BTF'}"

    def family(self, row: Row) -> str:
        """Of kfuncs that no file is about: what holds them."""
        holder = row.details.get("object", "")
        return str(row.details.get("family") or (f"{OTHERS} in {holder}" if holder else ""))

    def declared(self, row: Row) -> Iterable[str]:
        """The prototype, then each structure that programs hand to it, from BTF."""
        if prototype := str(row.details["prototype"]):
            yield prototype
        for layout in cast("list[object]", row.details["layouts"]):
            yield ""
            yield from layout_lines(StructLayout.model_validate(layout))

    def exported(self, result: CellResult, rows: Sequence[Row]) -> list[Mapping[str, object]]:
        return [
            {
                "kfunc": row.subject, "object": row.details["object"], "prog_type": row.type, "state": row.state,
                "errno": row.errno, "log": row.log, "cause": row.cause, "hidden": row.hidden,
                **{name: row.details[name] for name in ("prototype", "layouts", "flags", "level")},
            }
            for row in rows
        ]  # fmt: skip


_LEVELS = {str(level): f"{at}/{len(Level) - 1} {level}" for at, level in enumerate(Level)}
KIND = CENSUS = Census()
