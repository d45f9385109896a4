# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the census of a kernel means. Pure; only the kernel's own words make anything but "no answer" of it."""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from runner.model import NETWORK_TYPES, CellResult, Level, ProgType, Row, State, StructLayout
from runner.model.words import errno_name
from runner.probes.census.answers import NAME, CensusObservation, Taken, probe_of, taken
from runner.probes.files import VMLINUX, Family, KfuncList
from runner.probes.kind import CRASHED, built_without, not_asked, unready
from runner.probes.verifier import (
    NEEDS_DEVICE,
    NO_KFUNCS,
    Reading,
    calls_missing,
    permission,
    plain_words,
    verdict_line,
    without_jit,
)

_IMPL = "_impl"


@dataclass(frozen=True)
class CensusNames:
    """What a project knows about kfuncs: the list, and the kfuncs that its files are about, by the file's name."""

    kfuncs: KfuncList
    families: Mapping[str, Family] = field(default_factory=dict)

    @cached_property
    def names(self) -> frozenset[str]:
        return self.kfuncs.names.union(*(family.kfunc_names for family in self.families.values()))

    @cached_property
    def renamed(self) -> Mapping[str, tuple[str, ...]]:
        """Of a kfunc that was renamed, all its names, the newest first.

        Where the verifier passes an argument by itself, a kfunc is called NAME_impl up to 6.19, with that argument, and
        NAME without it from then on, while NAME_impl may stay.
        """
        families = [family.kfuncs.values() for family in self.families.values()]
        groups = [names for kfuncs in families for types in kfuncs for names in types.values() if len(names) > 1]
        groups += [(name, f"{name}{_IMPL}") for name in sorted(self.names) if f"{name}{_IMPL}" in self.names]
        return {name: names for names in groups for name in names}

    @cached_property
    def owners(self) -> Mapping[str, str]:
        """Of each kfunc that a file is about, the name of the first one."""
        return {name: file for file in reversed([*self.families]) for name in self.families[file].kfunc_names}


class CensusJudge:
    """Judges one cell. `earlier` are rows of probes that ran programs with these kfuncs."""

    def __init__(self, result: CellResult, known: CensusNames, earlier: Sequence[Row]) -> None:
        self._result, self._known, self._asked = result, known, taken(result)
        self._answers = {(answer.kfunc, answer.prog_type): answer for answer in self._asked.answers}
        modules = {name: known.families[file].modules for name, file in known.owners.items()}
        self._homes = homes(result, self._asked, modules, known.kfuncs)
        self._shown: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in earlier:
            self._shown[row.subject, row.type].append(row)
        self._flags: dict[str, list[CensusObservation]] = defaultdict(list)
        for answer in self._asked.answers:
            self._flags[answer.kfunc].append(answer)

    def rows(self) -> Iterable[Row]:
        """One for every kfunc that is known or that the cell was asked about, and each program type."""
        more = {answer.prog_type for answer in self._asked.answers} | self._asked.ended.keys()
        types = [it for it in ProgType if it in NETWORK_TYPES or it in more]
        for kfunc in self._homes:
            shown = flags(self._flags.get(kfunc, ()))
            for prog_type in types:
                yield self._row(kfunc, prog_type, shown)

    def _row(self, kfunc: str, prog_type: ProgType, flags: tuple[str, ...]) -> Row:
        answer, shown = self._answers.get((kfunc, prog_type)), self._shown.get((kfunc, prog_type), ())
        level = max((_reached(shown), _of_census(answer)), key=_RANK.__getitem__)
        refused, log = (answer.load_errno, answer.log) if answer else (None, "")
        hidden = False
        if level is Level.EFFECT:  # it ran: whatever became of the census, the kernel has said yes
            state, cause = State.USABLE, ""
        elif answer is not None and answer.failed:
            state, cause = State.NO_ANSWER, answer.failed
        elif answer is None or refused is None:
            state, cause = self._without_answer(kfunc, prog_type)
        else:
            reading = read(answer)
            state, cause, hidden = reading.state, without_jit(self._result, reading.cause), reading.hidden
            if state is State.REGISTERED:
                more, why = self._unshown(kfunc, shown, loads=refused == 0)
                cause, log = cause or more, why or log
            if answer.again:
                log = f"{plain_words(log).rstrip()}\n\n{answer.again}:\n{answer.again_log}"
        return Row(
            kind=NAME,
            probe=probe_of(prog_type),
            subject=kfunc,
            type=prog_type,
            state=state,
            cause=cause,
            hidden=hidden,
            errno=refused,
            log="" if state is State.USABLE else plain_words(log),
            details={
                **_details(answer, flags, level),
                "family": self._known.owners.get(kfunc, ""),
                "names": _listed(self._known.renamed.get(kfunc, ())),
            },
        )

    def _without_answer(self, kfunc: str, prog_type: ProgType) -> tuple[State, str]:
        result = self._result
        census, failed = probe_of(prog_type), self._asked.ended.get(prog_type)
        if f"{census}:{kfunc}" in result.crashed:
            return State.NO_ANSWER, f"asking {CRASHED}: {result.cause}"
        if failed is None:
            why = f"the census {CRASHED}" if census in result.crashed else not_asked(result, "the census")
            return State.NO_ANSWER, why
        if failed:
            return State.NO_ANSWER, failed
        state, cause = absence(result, self._asked, kfunc, self._known.kfuncs, self._homes[kfunc])
        others = self._known.renamed.get(kfunc, ()) if state is State.ABSENT else ()
        name = next((it for it in others if (it, prog_type) in self._answers), "")
        return state, f"called {name} here" if name else cause

    def _unshown(self, kfunc: str, rows: Sequence[Row], *, loads: bool) -> tuple[str, str]:
        """Why a kfunc that may be called was not seen at work, and the log that says so.

        That the smallest call of it loads shows no more than that it may be called: it was not run.
        """
        if kfunc not in self._known.owners:
            return "a call of it loads; no claim runs it" if loads else "may be called; no claim runs it", ""
        for row in rows:
            if "unusable" in row.details:
                line = verdict_line(row.log)
                return f"{row.details['unusable']}: {line}" if line else str(row.details["unusable"]), row.log
        showing = [row for row in rows if row.details.get("usable")]
        answers = [row for row in showing or rows if "level" in row.details]
        for row in answers:
            if row.errno and calls_missing(row.log):
                return str(row.details["missing"]), row.log
            if row.errno:
                return verdict_line(row.log) or f"load refused: -{errno_name(row.errno)}", row.log
        if not showing:
            return "no claim runs it from this program type", ""
        return (
            "may be called; that it works was not seen" if answers else "the claim that would show more was not asked",
            "",
        )


_RANK = {level: rank for rank, level in enumerate(Level)}


def _reached(rows: Iterable[Row]) -> Level:
    """How far programs were seen to get with a kfunc: a program that runs has shown the levels below it as well."""
    return max(
        (Level(str(row.details.get("level", Level.NONE))) for row in rows), key=_RANK.__getitem__, default=Level.NONE
    )


def _of_census(answer: CensusObservation | None) -> Level:
    if answer is None:
        return Level.NONE
    if answer.load_errno is not None and permission(answer.load_errno, answer.log).state is State.REGISTERED:
        return Level.MAY_BE_CALLED
    return Level.IN_BTF if answer.object else Level.NONE


def _details(answer: CensusObservation | None, flags: tuple[str, ...], level: Level) -> dict[str, object]:
    """`object` is whose BTF holds it; `prototype` and `layouts`, of the structures that programs hand to it, are BTF's;
    `flags` are KF_..., as far as the kernel shows them; `level` is how far programs got with it.

    A row also has its `family`, the file that is about it, and `names`, others of it.
    """
    return {
        "object": answer.object if answer else "",
        "prototype": answer.prototype if answer else "",
        "layouts": _json(answer.layouts) if answer else [],
        "flags": _listed(flags),
        "level": str(level),
    }


@lru_cache(maxsize=4096)
def _listed(flags: tuple[str, ...]) -> list[str]:
    """Equal lists are one object."""
    return list(flags)


@lru_cache(maxsize=4096)  # the kfuncs of a kernel share them, and so do kernels
def _json(layouts: tuple[StructLayout, ...]) -> list[object]:
    return [layout.model_dump(mode="json") for layout in layouts]


# --- what one answer means, where a kfunc without one is, which flags a kernel shows ---------------------------------


def read(answer: CensusObservation) -> Reading:
    """What an answer to a census means; `load_errno` is there.

    Some kfuncs are refused before the kernel looks whether the program type may call them. Where the obstacle can be
    taken away they were asked again, and that answer counts. When the kernel binds no program of this type to a device
    (-EINVAL without a word) then none can ever call what only device-bound programs may.
    """
    first = permission(answer.load_errno or 0, answer.log)
    if answer.again_errno is None:
        return first
    second = permission(answer.again_errno, answer.again_log)
    if second.state is not State.NO_ANSWER:
        return Reading(second.state, f"asked {answer.again}: {second.cause}" if second.cause else "")
    unbindable = answer.again_errno == errno.EINVAL and not answer.again_log.strip()
    if NEEDS_DEVICE in answer.log and unbindable and answer.prog_type is not ProgType.XDP:
        return Reading(State.NOT_ALLOWED, "for device-bound programs only, and none of this type can be bound")
    return first


def homes(
    result: CellResult, asked: Taken, claimed: Mapping[str, tuple[str, ...]], known: KfuncList
) -> dict[str, tuple[str, ...]]:
    """The kfuncs that a cell has states of, by name: those that claims are about, and those it was asked about.

    Each with the objects that hold it on some kernel; of the `claimed` ones at least the modules that they name.
    A name that became known later was not looked for; only a kernel whose BTF itself names all of its kfuncs has then
    still said that this is none of them.
    """
    names = {answer.kfunc for answer in asked.answers}.union(asked.missing, claimed, _deadly(result))
    if asked.tagged:
        names |= known.names
    elsewhere = known.homes
    return {name: elsewhere.get(name) or claimed.get(name, ()) for name in sorted(names)}


def _deadly(result: CellResult) -> set[str]:
    """The kfuncs that took the guest down when they were asked about."""
    starts = tuple(f"{probe_of(prog_type)}:" for prog_type in ProgType)
    return {probe.rpartition(":")[2] for probe in result.crashed if probe.startswith(starts)}


def absence(result: CellResult, asked: Taken, kfunc: str, known: KfuncList, homes: Iterable[str]) -> tuple[State, str]:
    """A kfunc that has no answer in a census that ended, `homes` being where other kernels have it: absent, or unknown?

    Absent only when everything was there in which it could have been, or the kernel was built without it.
    """
    if why := unready(result, VMLINUX):
        return State.NO_ANSWER, why
    if asked.without_kfuncs:
        return State.ABSENT, NO_KFUNCS
    for module in homes:
        option = known.objects[module].config if module in known.objects else ""
        if module != VMLINUX and (missing := _without(result, module, option)):
            return missing
    if kfunc in asked.missing:
        return State.ABSENT, "not in the kernel's BTF"
    if not asked.tagged:
        return State.NO_ANSWER, "the census was not asked about it"
    return State.ABSENT, "the kernel's BTF calls no function of this name a kfunc"


def _without(result: CellResult, module: str, option: str) -> tuple[State, str] | None:
    """What it means for a module's kfuncs that the module is not there; None when it is. `option` builds it."""
    if missing := built_without(result, module, option):
        return State.ABSENT, missing
    why = unready(result, module, option)
    return (State.NO_ANSWER, why) if why else None


# What the verifier says when it comes to a flag. Most flags show only where a call goes wrong at just that point.
_FLAGS = (
    ("must be sleepable to call sleepable kfunc", "KF_SLEEPABLE"),
    ("must be a rcu pointer", "KF_RCU"),
    ("Unreleased reference id", "KF_ACQUIRE"),
    ("release kernel function", "KF_RELEASE"),
    ("release kfunc", "KF_RELEASE"),
    ("destructive kfunc calls require", "KF_DESTRUCTIVE"),
    ("CAP_PERFMON", "KF_PERFMON"),
)
_ITERATOR = "expected pointer to an iterator on stack"  # which the kernel takes by name as well
_ITERATOR_FLAGS = {"_new": "KF_ITER_NEW", "_next": "KF_ITER_NEXT", "_destroy": "KF_ITER_DESTROY"}
_TAG_FLAGS = {"bpf_fastcall": "KF_FASTCALL"}


def flags(answers: Iterable[CensusObservation]) -> tuple[str, ...]:
    """The KF_ flags of one kfunc as far as its tags, and the words that refused it, show them."""
    shown: set[str] = set()
    for answer in answers:
        shown |= _shown(answer.kfunc, answer.tags, answer.log, answer.again_log)
    return tuple(sorted(shown))


@lru_cache(maxsize=4096)  # every kernel of a series says the same
def _shown(kfunc: str, tags: tuple[str, ...], *logs: str) -> frozenset[str]:
    words = [verdict_line(log) for log in logs]
    shown = {_TAG_FLAGS[tag] for tag in tags if tag in _TAG_FLAGS}
    shown |= {flag for text, flag in _FLAGS for line in words if text in line}
    if any(_ITERATOR in line for line in words):
        shown |= {flag for end, flag in _ITERATOR_FLAGS.items() if kfunc.endswith(end)}
    return frozenset(shown)
