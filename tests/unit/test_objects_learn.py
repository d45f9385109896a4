# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a run teaches about objects, and how it is put into a file that people write."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import pytest

from runner import yamlfile
from runner.errors import UserError
from runner.model import CellResult, Row
from runner.probes.kinds import KINDS
from runner.probes.lessons import Learned, entered
from runner.probes.objects.judge import rows_of
from runner.probes.objects.written import ObjectKeys, UserObject
from tests.samples import cell, pin
from tests.unit.test_objects_judge import LOADED, REFUSED, result, user_object

EXTERN = {"errno": 22, "words": "libbpf: extern (func ksym) 'bpf_x': not found in kernel or module BTFs\n", "log": ""}
learn = KINDS["objects"].learn
BEGUN = {"lb": {"id": "lb", "file": "lb.bpf.o"}}
WRITTEN = """\
# ours
objects:
  - id: lb  # the balancer
    file: build/lb.bpf.o
    expect:
      - {programs: [good], since: ["7.0"], why: too large}  # since the rewrite
      - programs: [old]
        why: >-
          long
          story

  # the next one
  - file: other.bpf.o
"""


def asked(mine: UserObject, *kernels: tuple[str, dict[str, Any]]) -> list[tuple[CellResult, tuple[Row, ...]]]:
    results = [result(version, **parts) for version, parts in kernels]
    return [(each, tuple(rows_of(each, mine))) for each in results]


def spans(*kernels: tuple[str, dict[str, Any]]) -> list[tuple[tuple[str, ...], str, str, str]]:
    entries: list[dict[str, Any]] = [it.entry("") for it in learn((), asked(user_object(), *kernels)).entries]
    points = [tuple((it.get(key) or [""])[0] for key in ("since", "until")) for it in entries]
    return [(tuple(it["programs"]), *at, it["answer"]["cause"]) for it, at in zip(entries, points, strict=True)]


def learned(of: str, program: str, since: str = "", until: str = "", **answer: str) -> Learned:
    return Learned(of, (program,), since, until, "programs", answer)


def entered_in(text: str, *entries: Learned, why: str = "learned") -> str:
    return entered(text, KINDS["objects"], BEGUN, entries, why=why, path="f")


BAD: dict[str, Any] = {"good": LOADED, "bad": EXTERN, "together": EXTERN}
FINE: dict[str, Any] = {"good": LOADED, "bad": LOADED, "together": {"errno": 0}}


@pytest.mark.parametrize(
    ("kernels", "learned"),
    [
        ([("6.1.192", BAD), ("6.12.117", FINE)], [("", "6.12")]),
        ([("6.1.192", FINE), ("6.12.117", BAD)], [("6.12", "")]),
        ([("6.1.190", BAD), ("6.1.192", FINE)], [("", "6.1.192")]),
        ([("6.1.190", FINE), ("6.1.192", BAD), ("6.12.117", FINE)], [("6.1.192", "6.12")]),
        ([("6.1.192", BAD), ("6.12.117", BAD)], [("", "")]),
        ([("6.1.192", FINE), ("6.12.117", FINE)], []),
    ],
)
def test_the_kernels_are_those_that_refuse(kernels: list[tuple[str, Any]], learned: list[tuple[str, str]]) -> None:
    assert spans(*kernels) == [(("bad",), since, until, "extern") for since, until in learned]


def test_what_was_learned_is_held_by_the_same_run() -> None:
    kernels = [("6.1.190", FINE), ("6.1.192", BAD), ("6.12.117", FINE), ("6.18.15", BAD)]
    entries = [each.entry("learned") for each in learn((), asked(user_object(), *kernels)).entries]
    rows = [row for _, rows in asked(user_object(expect=entries), *kernels) for row in rows]
    assert {str(row.verdict) for row in rows} == {"holds", "not applicable"}


def test_programs_of_one_cause_share_an_entry() -> None:
    both = {"good": EXTERN, "bad": EXTERN, "together": EXTERN}
    assert spans(("6.1.192", both), ("6.12.117", FINE)) == [(("good", "bad"), "", "6.12", "extern")]


def test_the_whole_is_learned_where_no_part_tells_it() -> None:
    alone = {"good": LOADED, "bad": LOADED, "together": REFUSED}
    assert spans(("6.1.192", alone), ("6.12.117", FINE)) == [(("@together",), "", "6.12", "refused")]


def test_what_no_entry_can_tell_is_said() -> None:
    mine = user_object(expect=[{"programs": ["bad"], "answer": {"cause": "type"}, "why": "x"}])
    lesson = learn((), asked(mine, ("6.1.192", BAD)))
    assert lesson.entries == ()
    assert lesson.doubts == (
        "lb/bad on 6.1.192-x86_64: expected was refused (type), and not: extern bpf_x: " + _words(),
    )
    other = result("6.1.192", **FINE).model_copy(update={"cell": cell(pin("6.1.192", "arm64"))})
    cells = [*asked(user_object(), ("6.1.192", BAD)), (other, tuple(rows_of(other, user_object())))]
    assert learn((), cells).doubts == ("lb/bad on 6.1.192: architectures differ",)
    loads = "lb/bad on 6.1.192-x86_64: it loads, though it was expected not to: x"
    assert learn((), asked(mine, ("6.1.192", FINE))).doubts == (loads,)
    assert (
        learn((), asked(user_object(limits={"insns": 1}), ("6.1.192", FINE))).doubts[0].endswith("and the limit is 1")
    )


def _words() -> str:
    return "extern (func ksym) 'bpf_x': not found in kernel or module BTFs"


def test_of_a_vendors_kernel_what_is_expected_is_no_doubt() -> None:
    vendors = pin("6.12.0", release="6.12.0-55.el10.x86_64")
    seen = result("6.12.0", **BAD).model_copy(update={"cell": cell(vendors)})
    for expect, doubts in (([], ["lb/bad"]), ([{"programs": ["bad"], "why": "x"}], [])):
        mine = user_object(expect=expect)
        lesson = learn((), [(seen, tuple(rows_of(seen, mine)))])
        assert [it.partition(" on ")[0] for it in lesson.doubts if "@together" not in it] == doubts
        assert not lesson.entries


def test_an_expectation_that_no_kernel_needs_is_told() -> None:
    mine = user_object(
        expect=[{"programs": ["bad"], "until": ["6.12"], "why": "old"}, {"programs": ["good"], "why": "x"}]
    )
    assert list(learn([mine], asked(mine, ("6.1.192", FINE))).gone) == [
        "lb: bad, until 6.12: old", "lb: good, every kernel: x",
    ]  # fmt: skip
    assert list(learn([mine], asked(mine, ("6.1.192", BAD), ("6.12.117", FINE))).gone) == ["lb: good, every kernel: x"]
    assert [it for it in learn([mine], asked(mine, ("6.12.117", FINE))).gone if "bad" in it] == []


def test_entries_are_added_and_everything_else_stays(tmp_path: Path) -> None:
    lesson = [
        learned("lb", "bad", until="6.12", cause="extern", name="bpf_x"), learned("other", "f", cause="refused"),
    ]  # fmt: skip
    text = entered_in(WRITTEN, *lesson, why="learned from R")
    changed = [line for line in difflib.ndiff(WRITTEN.splitlines(), text.splitlines()) if line[0] in "+-"]
    assert changed == [
        "+       - {programs: [bad], until: ['6.12'], answer: {cause: extern, name: bpf_x}, why: learned from R}",
        "+     expect:",
        "+       - {programs: [f], answer: {cause: refused}, why: learned from R}",
    ]
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    objects = yamlfile.validate(yamlfile.load(path), ObjectKeys).objects
    assert [[it.programs for it in each.expect] for each in objects] == [[("good",), ("old",), ("bad",)], [("f",)]]


@pytest.mark.parametrize(
    "before", ["", "modules: [fou]\n", "objects:\n- file: x.o", "objects:\n", "objects:  # none\nmodules: [fou]"]
)
def test_an_object_that_the_file_lacks_is_added_whole(tmp_path: Path, before: str) -> None:
    path = tmp_path / "new.yaml"
    path.write_text(entered_in(before, learned("lb", "bad", "6.12", cause="extern", name="bpf_x")))
    data = yamlfile.load(path).data
    assert data.get("modules", ["fou"]) == ["fou"]
    objects = data["objects"]
    assert isinstance(objects, list)
    assert objects[-1] == {
        "id": "lb", "file": "lb.bpf.o",
        "expect": [
            {"programs": ["bad"], "since": ["6.12"], "answer": {"cause": "extern", "name": "bpf_x"}, "why": "learned"}
        ],
    }  # fmt: skip


def test_a_layout_on_one_line_is_refused() -> None:
    with pytest.raises(UserError, match="f:1: an entry is added only where each stands on a line of its own"):
        entered_in("objects: [{id: lb, file: x.o}]\n", learned("lb", "bad", cause="type"))
