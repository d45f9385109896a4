# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Objects: does a user's own object file load on a kernel, as a whole and program by program, and if not, why?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

from pydantic import JsonValue

from runner.model import Answer, Ask, Asked, CellResult, Mark, ProgType, Row, StateWord
from runner.model.architecture import ARCHITECTURES
from runner.model.version import KernelVersion
from runner.model.words import errno_words
from runner.probes.files import ProbeFile, Said, listed, load_kfuncs
from runner.probes.kind import GridPlace, Kind, Need, Pairs, without
from runner.probes.lessons import Learning
from runner.probes.objects.files import objects_of
from runner.probes.objects.judge import LOADS, NAME, REFUSED, refusal, rows_of, told_by
from runner.probes.objects.written import (
    MAP,
    OLD,
    TOGETHER,
    ObjectEntry,
    ObjectKeys,
    ObjectSettings,
    Refused,
    UserObject,
    name_of,
)
from runner.probes.verifier import COUNTS, numbers

_WHICH = frozenset({"programs", "skip"})  # of an ask's body: which parts it is about
_WHOLE, _WEAK = ".bpf.o", ".weak.bpf.o"  # the ends of names in a guest


def _expected(row: Row) -> tuple[tuple[str, str], ...]:
    """The `answer` of an entry that expects this refusal."""
    return tuple((key, str(row.details[key])) for key in ("cause", "name") if row.details.get(key))


class Objects(Kind[tuple[UserObject, ...]]):
    """Its rows are of a program, a map, or the object as a whole: a state, and the verdict whether it is expected."""

    name = NAME
    noun = "program"
    users = True
    subject = "program"
    states = (StateWord(REFUSED, 0, Mark("✗", "x", "red")), StateWord(LOADS, 1, Mark("✓", "+", "green")))
    judged_states = (
        StateWord("loads, not as expected", 1, Mark("!", "!", "bold red")),
        StateWord("refused as expected", 0, Mark("○", "o", "yellow")),
    )
    one_type = True
    keys = ObjectKeys
    entry = ObjectEntry
    pattern = Refused
    apart = frozenset({"settings", "file", "homes", "earlier"})
    logs = ("log",)
    counts = COUNTS
    circumstances = ("duration_us", "peak_mem_mib")
    needs = (Need("BPF_SYSCALL", "every question is a bpf(2) call", vital=True),)
    learning = Learning("programs", TOGETHER, _expected)
    options = ("BPF_JIT", "BPF_LSM", "BPF_SYSCALL", "DEBUG_INFO_BTF", "DEBUG_INFO_BTF_MODULES")

    def load(self, root: Path, files: Sequence[ProbeFile]) -> tuple[UserObject, ...]:
        named = tuple(listed(files, ObjectKeys, ObjectEntry))
        return objects_of(root, named, load_kfuncs(root)) if named else ()

    def asks(
        self, known: tuple[UserObject, ...], version: KernelVersion | None, types: Sequence[ProgType]
    ) -> Iterable[Ask]:
        for each in known:
            settings = each.settings
            body: dict[str, JsonValue] = {
                "files": {ARCHITECTURES[arch].uname: digest for arch, digest in each.digests.items()},
                "programs": list(each.only),
                "skip": [pattern for pattern, it in settings.programs.items() if it == "skip"],
                "types": {name: it.type for name, it in each.program_settings.items() if it.type},
                "targets": {name: it.target for name, it in each.program_settings.items() if it.target},
                "devices": {name: it.device for name, it in each.program_settings.items() if it.device},
                "maps": {name: it.model_dump(exclude_none=True) for name, it in settings.maps.items()},
                "one_of": [list(group) for group in settings.one_of],
                "attach": settings.up_to == "attach",
                "whole_logs": settings.log == "whole",
                # what judges the answers
                "settings": settings.model_dump(mode="json", exclude_defaults=True),
                "file": each.file_name,
                "homes": {name: dict(homes) for name, homes in each.homes.items()},
            }
            yield Ask(kind=NAME, probe=each.id, body=body, programs=each.names, items=True)

    def reminded(self, ask: Ask, last: Callable[[], CellResult | None]) -> Ask:
        settings = cast("dict[str, Any]", ask.body["settings"])
        if not settings.get("limits", {}).get("growth") or not (result := last()):
            return ask
        mine = (answer for answer in result.of(NAME) if answer.probe == ask.probe)
        insns = {it.item: numbers(it.body).get("insns") for it in mine if it.body.get("errno") == 0}
        earlier: dict[str, JsonValue] = {name: count for name, count in insns.items() if count}
        return ask.model_copy(update={"body": {**ask.body, "earlier": earlier}})

    def everywhere(self, known: tuple[UserObject, ...], probe: str) -> tuple[UserObject, ...]:
        return tuple(each for each in known if each.id == probe)

    def essence(self, ask: Ask) -> Ask:
        return without(ask, self.apart | _WHICH if ask.only else self.apart)

    def files(self, ask: Ask) -> Collection[str]:
        digests = cast("dict[str, str]", ask.body["files"]).values()
        return [f"{digest}{end}" for digest in digests for end in (_WHOLE, _WEAK)]

    def recalled(self, asked: Asked) -> tuple[UserObject, ...] | None:
        return tuple(_recalled(ask, asked.objects) for ask in asked.of(NAME)) or None

    def modules(self, known: tuple[UserObject, ...]) -> Iterable[str]:
        """Those that the user names, and those that hold a kfunc which an object calls."""
        for each in known:
            yield from each.modules

    def pushed(self, known: tuple[UserObject, ...], arch: str) -> Mapping[str, bytes]:
        if not known:
            return {}
        from runner.probes.objects.elf import weakened  # noqa: PLC0415  late: it brings elftools

        files = [each.file(arch) for each in known]
        whole = {f"{file.sha256}{_WHOLE}": file.content for file in files}
        return whole | {f"{file.sha256}{_WEAK}": weakened(file.content) for file in files}

    def begun(self, known: tuple[UserObject, ...], probe: str) -> Mapping[str, object]:
        return {"id": probe, "file": next(it.file_name for it in known if it.id == probe)}

    def is_of(self, entry: Mapping[str, object], probe: str) -> bool:
        """By its id, or by its file's name, which may be a pattern."""
        name = name_of(Path(str(entry.get("file", ""))))
        return entry["id"] == probe if "id" in entry else fnmatchcase(probe, name)

    def judge(self, result: CellResult, known: tuple[UserObject, ...], earlier: Sequence[Row]) -> Iterable[Row]:
        for each in known:
            yield from rows_of(result, each)

    def shows(self, pattern: Refused, result: CellResult, row: Row) -> bool:
        found = (it for it in result.of(NAME) if it.item and f"{it.probe}/{it.item}" == row.probe)
        return any((cause := refusal(answer)) is not None and pattern.fits(cause) for answer in found)

    def told(self, result: CellResult, held: Collection[str] = ()) -> Iterable[tuple[str, str, str]]:
        return ((it.probe, it.item or "answer", told_by(it)) for it in result.of(NAME))

    def said(self, known: tuple[UserObject, ...]) -> Iterable[Said]:
        for each in known:
            for name in each.names:
                yield Said(id=f"{each.id}/{name}", probe=each.id, subject=f"{each.id}/{name}", type="", says="it loads")

    def shown(self, result: CellResult, row: Row) -> Pairs:
        yield "load", errno_words(row.errno, "the kernel accepted it")
        for name, value in row.details.items():
            if value in ("", None):
                continue
            text = ", ".join(f"{it} {value[it]}" for it in value) if isinstance(value, dict) else str(value)
            for number, line in enumerate(text.splitlines()):
                yield "" if number else name, line

    def place(self, subject: str) -> GridPlace:
        group, _, name = subject.partition("/")
        earlier = f"{group}{OLD}/{name}"
        if name.startswith(MAP):
            return GridPlace(f"map {name.removeprefix(MAP)}", group, 1, noun="map", earlier=earlier)
        if name == TOGETHER:
            return GridPlace("together", group, 2, noun="object", earlier=earlier)
        return GridPlace(name, group, earlier=earlier)

    def title(self, rows: Sequence[Row]) -> str:
        digests = dict.fromkeys(str(row.details.get("sha256", ""))[:8] for row in rows)
        return f"object {rows[0].subject.partition('/')[0]} (sha256 {', '.join(filter(None, digests)) or 'unknown'})"

    def brief(self, row: Row) -> str:
        insns = row.numbers.get("insns")
        return f"{insns} insns" if insns else ""

    def exported(self, result: CellResult, rows: Sequence[Row]) -> list[Mapping[str, object]]:
        bodies = {f"{it.probe}/{it.item}": it.body for it in result.of(NAME) if not it.failed}
        return [
            {
                "id": row.probe, "file": row.details.get("file"), "sha256": row.details.get("sha256"),
                "name": row.subject.partition("/")[2], "what": row.details.get("what"),
                "prog_type": row.type, "up_to": row.details.get("up_to"),
                "reached": _reached(row),
                "answer": row.state, "verdict": row.verdict, "expected": row.expected,
                "observed": row.observed, "crashed": row.crashed, "known_issue": row.known_issue,
                "cause": row.cause, "cause_word": row.details.get("cause"), "cause_name": row.details.get("name"),
                "errno": row.errno, "libbpf": row.details.get("libbpf"), "modules": row.details.get("modules"),
                "numbers": {**row.numbers, **{key: it for key, it in body.items() if key == "peak_mem_mib"}},
                "log": row.log, "raw": {key: it for key, it in body.items() if key != "log"},
            }
            for row, body in ((row, bodies.get(row.probe, {})) for row in rows)
        ]  # fmt: skip

    def imported(self, entry: Mapping[str, Any]) -> Answer | None:
        probe, _, item = entry["id"].partition("/")
        return Answer(kind=NAME, probe=probe, item=item, body={**entry["raw"], "log": entry["log"]})


def _reached(row: Row) -> object:
    """How far it came: `up_to` where it did all that was asked."""
    return row.details["up_to"] if row.state == LOADS else "load" if row.details.get("cause") == "attach" else None


def _recalled(ask: Ask, contents: Mapping[str, bytes]) -> UserObject:
    from runner.probes.objects.elf import checked  # noqa: PLC0415  late: it brings elftools

    body = cast("dict[str, Any]", ask.body)
    files = {arch: body["files"][it.uname] for arch, it in ARCHITECTURES.items() if it.uname in body["files"]}
    return UserObject(
        id=ask.probe,
        settings=ObjectSettings.model_validate(body["settings"]),
        names=ask.programs,
        digests=files,
        files={arch: checked(f"{ask.probe}.bpf.o", contents[it]) for arch, it in files.items() if it in contents},
        homes=body["homes"],
        file_name=body.get("file", ""),
        only=tuple(body["programs"]),
    )


KIND = Objects()
