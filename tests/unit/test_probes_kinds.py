# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kinds of probe: found by their folders, each with all that the rest of the program needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import UserError
from runner.matrix import load_matrix
from runner.model import Outcome
from runner.probes import KINDS, Expectations
from tests.samples import ROOT
from tests.unit.agent_samples import cell, expectations, result

FOLDER = ROOT / "runner" / "probes"


def test_each_folder_is_a_kind_that_the_agent_can_ask() -> None:
    folders = {path.parent.name for path in FOLDER.glob("*/__init__.py")}
    assert folders == KINDS.keys()
    assert all((ROOT / "runner" / "agent" / f"{name}.py").is_file() for name in folders)


def test_evidence_is_judged_before_what_it_is_evidence_for() -> None:
    order = list(KINDS)
    pairs = [(order.index(other), order.index(name)) for name, kind in KINDS.items() for other in kind.evidence]
    assert pairs
    assert [evidence < judged for evidence, judged in pairs] == [True] * len(pairs)


def test_every_row_can_be_shown_and_exported() -> None:
    """Of each kind that was asked when these answers were recorded."""
    recorded = set(expectations().known)
    assert recorded >= {"claims", "census"}
    for seen in (result("6.12.117"), result("6.18.15"), result("7.3.4", "x86_64-without-nf_nat")):
        rows = expectations().rows(seen)
        assert {row.kind for row in rows} == recorded
        for row in rows:
            kind = KINDS[row.kind]
            assert row.verdict or kind.word(row.state).word == row.state
            assert all(isinstance(word, str) and isinstance(text, str) for word, text in kind.shown(seen, row))
            assert len(kind.exported(seen, [row])) == 1


def test_equal_expectations_have_equal_digests() -> None:
    first, second = (Expectations.load(ROOT, ["conntrack"]) for _ in range(2))
    assert first.digest == second.digest != Expectations.load(ROOT, ["conntrack", "traffic"]).digest
    assert first.digest != first.everywhere("nat-manip-2:tc").digest
    assert first.grown([result("6.12.117")]).digest == first.digest, "what is known already teaches nothing"


def test_digests_are_the_same_in_each_process() -> None:
    """They are made of the text of what is known, and that of a set has another order in each."""
    every = Expectations.load(ROOT, load_matrix(ROOT / "matrix.yaml").file.probes)
    for kind, known in every.grown([result("6.12.117")]).known.items():
        assert "set({" not in repr(known), kind


def test_a_cell_is_asked_what_its_files_say() -> None:
    both = Expectations.load(ROOT, ["conntrack", "traffic"])
    one = both.of_files(["conntrack"])
    assert len(one.said()) < len(both.said())
    assert one.objects == ("conntrack", "conntrack_kptr")
    assert both.of_files(cell("6.12").probes) is both


def test_what_did_not_run_has_rows_without_answers() -> None:
    seen = result("6.12.117").model_copy(update={"answers": (), "outcome": Outcome.LOST, "cause": "gone"})
    rows = expectations().rows(seen)
    assert len(rows) > 400
    assert not any(row.answered for row in rows if row.verdict != "not applicable")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modules: [nf_nat]\n", "holds no probes: it has none of the keys attach, claims, commands, object"),
        ("claimz: []\n", "thing.yaml:1: claimz: unknown key; did you mean 'claims'?"),
    ],
)
def test_a_file_without_probes_is_a_mistake(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bpf").mkdir()
    (tmp_path / "bpf" / "thing.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        Expectations.load(tmp_path, ["thing"])
    assert words in caught.value.what
