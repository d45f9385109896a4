# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What was measured about a kfunc, read from the document that the reports write; no kernel is asked."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from runner import cli
from runner.errors import UserError
from runner.project import MEASURED
from runner.reports.kfunc import (
    FRESH_DAYS,
    AskedKernel,
    KfuncData,
    feature_report,
    kernel_report,
    kfunc_report,
    search_report,
)
from runner.results.history import program_text
from tests.samples import ROOT
from tests.unit.rendering import render

ALLOC, SET_NAT, NEWER = "bpf_skb_ct_alloc", "bpf_ct_set_nat_info", "bpf_skb_ct_new"
DOCUMENT = {
    "schema": 1, "runner": "0.1.0", "measured": "2026-11-03",
    "kernels": [{"version": it, "arch": "x86_64"} for it in ("6.1.192", "6.12.117", "6.18.15")],
    "availability": [
        {
            "kfunc": ALLOC, "prog_type": "tc", "arch": "x86_64", "best": "usable",
            "since": [{"after": "6.1.192", "by": "6.12.117", "exact": False}],
            "segments": [
                {"state": "absent", "cause": "not in the kernel's BTF", "first": "6.1.192", "last": "6.1.192"},
                {"state": "usable", "cause": "", "first": "6.12.117", "last": "6.12.117"},
            ],
            "no_answer": ["6.18.15"],
        }
    ],
    "kfuncs": {
        ALLOC: {
            "declared": [
                {"arch": "x86_64", "first": "6.12.117", "last": "6.12.117", "object": "nf_conntrack",
                 "prototype": "int \u001b[31mx(void)", "flags": ["KF_ACQUIRE"], "layouts": []}
            ],
            "statements": [
                {"id": "a", "type": type_, "says": "-EINVAL: 16.", "standing": "out of date", "turn": ["6.1", "6.12"]}
                for type_ in ("tc", "xdp")
            ],
            "documented": {"tc": "since 6.0"},
            "brought": {"version": "6.0", "commit": "d7e79c97c00ca82dace0"},
            "names": ["bpf_never_asked"],
            "example": {"file": "bpf/x.h", "text": "int f(void)\n{\n\treturn 0;\n}"},
        },
        NEWER: {"names": [ALLOC]},
    },
    "features": [
        {
            "feature": name, "family": "helpers", "brought": {"version": "4.18", "commit": ""},
            "stories": [
                {
                    "prog_type": "tc", "archs": ["x86_64"], "best": best,
                    "since": [{"after": None, "by": "6.1.192", "exact": False}] if best == "available" else [],
                    "segments": [{"state": best, "cause": "", "first": "6.1.192", "last": "6.12.117"}],
                    "no_answer": ["6.18.15"],
                }
            ],
        }
        for name, best in (("bpf_fib_lookup", "available"), ("bpf_bind", "not available"))
    ],
}  # fmt: skip
TODAY = date(2026, 11, 4)


def measured(tmp_path: Path, **changes: object) -> KfuncData:
    path = tmp_path / "availability.json"
    path.write_text(json.dumps({**DOCUMENT, **changes}))
    return KfuncData.read(path)


def test_what_is_measured_and_what_is_documented_are_told_apart(tmp_path: Path) -> None:
    said = render(kfunc_report(ALLOC, measured(tmp_path), TODAY))
    assert "tc    x86_64        after 6.1.192, by 6.12.117  absent in 6.1.192, usable in 6.12.117" in said
    assert "absent: not in the kernel's BTF" in said
    assert "documented, not measured: tc since 6.0, commit d7e79c97c00c (eBPF Docs)" in said
    assert "prototype  int x(void)" in said, "nothing that a terminal would act on"
    assert "out of date: 6.1 | 6.12  tc, xdp  -EINVAL: 16." in said
    assert "return 0;" in said


def test_a_kfunc_that_was_renamed_has_its_names_by_version(tmp_path: Path) -> None:
    said = render(kfunc_report(NEWER, measured(tmp_path), TODAY))
    assert f"also called {ALLOC}: tc after 6.1.192, by 6.12.117, in 6.12.117\n" in said
    assert "bpf_never_asked" not in render(kfunc_report(ALLOC, measured(tmp_path), TODAY))


def test_helpers_and_types_are_found_as_well(tmp_path: Path) -> None:
    known = measured(tmp_path)
    said = render(feature_report(known.by_feature["bpf_fib_lookup"], known, TODAY))
    assert said.startswith("bpf_fib_lookup: helper\n")
    assert "tc    x86_64        6.1.192 or earlier  available in 6.1.192 to 6.12.117" in said
    assert "documented, not measured: since 4.18 (eBPF Docs)" in said
    of = [render(kernel_report(known, [it], "tc", "fib_")) for it in known.kernels]
    assert ["1 helper (x86_64): bpf_fib_lookup\n" in it for it in of] == [True, True, False]
    assert not any("bpf_bind" in it for it in of)
    assert "on no kernel" in render(search_report(known, ["bpf_bind"]))


@pytest.mark.parametrize(("days", "shown"), [(FRESH_DAYS, False), (FRESH_DAYS + 1, True)])
def test_old_data_say_their_age(tmp_path: Path, days: int, shown: bool) -> None:
    known = measured(tmp_path)
    said = render(kfunc_report(ALLOC, known, known.measured + timedelta(days=days)))
    assert (f"{days} days old" in said) == shown


def test_a_kernel_without_an_answer_is_not_said_to_have_it(tmp_path: Path) -> None:
    known = measured(tmp_path)
    of = {
        it.version: render(kernel_report(known, [it], "tc", ALLOC))
        for it in (*known.kernels, AskedKernel(version="6.12.200", arch="x86_64"))
    }
    assert ALLOC in of["6.12.117"]
    assert [version for version, said in of.items() if ALLOC in said] == ["6.12.117"]


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"runner": "0"}', "\0", "9" * 5000, '{"kfuncs": {"x": {"statements": 1}}}']
)
def test_what_is_no_such_document_is_a_users_mistake(tmp_path: Path, content: str) -> None:
    (path := tmp_path / "x.json").write_text(content)
    with pytest.raises(UserError, match=r"x\.json"):
        KfuncData.read(path)


@pytest.mark.parametrize("place", ["kernels", "availability"])
def test_a_version_that_is_none_is_a_users_mistake(tmp_path: Path, place: str) -> None:
    (path := tmp_path / "x.json").write_text(json.dumps(DOCUMENT).replace('"6.12.117"', '"new"'))
    if place == "availability":
        kernels = [{"version": "6.18.15", "arch": "x86_64"}]
        path.write_text(json.dumps({**json.loads(path.read_text()), "kernels": kernels}))
    with pytest.raises(UserError, match=rf"x\.json: {place}.*'new' is not a kernel version"):
        KfuncData.read(path)


def test_the_shipped_data_answer_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["kfunc", ALLOC]) == 0
    said = capsys.readouterr().out
    assert f"{ALLOC}\nmeasured 20" in said
    assert "struct bpf_ct_opts: 16 bytes" in said
    assert cli.run(["kfunc", "--search", "ct_alloc", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == ["bpf_skb_ct_alloc", "bpf_xdp_ct_alloc"]
    assert cli.run(["kfunc", "--kernel", "6.12", "--type", "xdp"]) == 0
    assert "bpf_xdp_ct_alloc" in capsys.readouterr().out
    assert cli.run(["kfunc", "--kernel", "6.1", "--type", "xdp", "--format", "json"]) == 0
    there = {it["name"]: it["state"] for it in json.loads(capsys.readouterr().out)["kfuncs"]}
    assert there["bpf_xdp_ct_alloc"] == "usable"
    assert "bpf_dynptr_from_xdp" not in there, "6.1 does not have it"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["bpf_skb_ct_aloc"], "did you mean 'bpf_skb_ct_alloc'?"),
        ([], "runner kfunc --search"),
        (["--search", "nothing_has_this"], "nothing has"),
        (["--kernel", "5.10"], "these were: 6.1"),
        (["--kernel", "x"], "--kernel x"),
        ([ALLOC, "--search", "ct"], "one question at a time"),
        ([ALLOC, "--data", "/dev/null"], "no regular file"),
    ],
)
def test_mistakes_end_with_what_to_do(words: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["kfunc", *words]) == 64
    assert hint in capsys.readouterr().err


def test_shipped_programs_are_those_of_the_sources() -> None:
    known = KfuncData.read(MEASURED)
    examples = {name: facts.example for name, facts in known.kfuncs.items() if facts.example}
    assert SET_NAT in examples
    for name, example in examples.items():
        assert example.text in (ROOT / example.file).read_text(), name


@pytest.mark.parametrize("program", ["timeout", "alloc"])
def test_a_program_is_found_whole(program: str) -> None:
    found = program_text(ROOT, "conntrack", program)
    assert found is not None
    file, text = found
    assert file == "bpf/conntrack_programs.h"
    assert text.startswith(f"SECTION int T({program})(")
    assert text.count("{") == text.count("}") > 0
    assert program_text(ROOT, "conntrack", "no_such_program") is None


def test_a_search_lists_each_once(tmp_path: Path) -> None:
    assert render(search_report(measured(tmp_path), [ALLOC])).count(ALLOC) == 1
