# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Levels: only what was seen counts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from runner.model import Answer, CellResult, Level, Outcome, ProgType, State
from runner.probes.census.answers import CensusObservation
from runner.probes.claims.answers import Observation
from tests.answers import answers_of, with_answers
from tests.unit.agent_samples import GOOD_FACTS, cell, expecting, load_claims, result, states


def levels(seen: CellResult) -> dict[tuple[str, ProgType], Level]:
    return {(row.subject, ProgType(row.type)): Level(str(row.details["level"])) for row in states(seen)}


def level(seen: CellResult, kfunc: str, prog_type: ProgType = ProgType.TC) -> Level:
    return levels(seen)[kfunc, prog_type]


def test_levels_of_real_kernels() -> None:
    good, bad = result("6.12.117"), result("6.18.15")
    assert Counter(levels(good).values()) == {Level.EFFECT: 18, Level.MAY_BE_CALLED: 4}
    assert level(good, "bpf_ct_set_nat_info") is Level.EFFECT
    assert level(bad, "bpf_ct_set_nat_info") is Level.MAY_BE_CALLED, "refused with real arguments"
    assert level(good, "bpf_skb_ct_alloc", ProgType.XDP) is Level.MAY_BE_CALLED


def test_without_jit_the_names_are_still_in_btf() -> None:
    assert set(levels(result("6.12.117", "x86_64-without-jit")).values()) == {Level.IN_BTF}


def test_without_its_module_nothing_is_known_of_a_kfunc() -> None:
    seen = result("7.3.4", "x86_64-without-nf_nat")
    assert level(seen, "bpf_ct_set_nat_info") is Level.NONE
    assert level(seen, "bpf_ct_release") is Level.EFFECT


REFUSED = "2: (85) call bpf_ct_set_nat_info#1\nR2 bad\n"


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        (Observation(probe="nat-source:tc", failed="bug", load_errno=0), Level.MAY_BE_CALLED),
        (Observation(probe="nat-source:tc", load_errno=22), Level.MAY_BE_CALLED),
        (Observation(probe="nat-source:tc", load_errno=0), Level.LOADS),
        (Observation(probe="nat-source:tc", load_errno=0, run_errno=22), Level.LOADS),
        (Observation(probe="nat-source:tc", load_errno=0, run_errno=0), Level.RUNS),
        (
            Observation(
                probe="nat-source:tc",
                load_errno=0,
                run_errno=0,
                fields={"set_ret": 0, "inserted": 1, "nat_addr": 0x0A640001, "nat_port": 4242},
            ),
            Level.EFFECT,
        ),
    ],
)
def test_each_step(observation: Observation, expected: Level) -> None:
    census = CensusObservation(
        kfunc="bpf_ct_set_nat_info",
        prog_type=ProgType.TC,
        object="nf_nat",
        load_errno=22,
        log=REFUSED,
    )
    seen = CellResult(
        cell=cell("6.12.117"),
        outcome=Outcome.RAN,
        facts=GOOD_FACTS,
        answers=answers_of((observation,), (census,)),
    )
    assert level(seen, "bpf_ct_set_nat_info") is expected
    refused = census.model_copy(update={"log": "calling kernel function bpf_ct_set_nat_info is not allowed\n"})
    only_census = with_answers(seen, claims=(), census=(refused,))
    assert level(only_census, "bpf_ct_set_nat_info") is Level.IN_BTF


GOOD_DRIVER = Observation(probe="in-driver:xdp", load_errno=0, run_errno=0, fields={"ret": -95})


@pytest.mark.parametrize(
    ("seen", "cause"),
    [
        (GOOD_DRIVER, "needs a driver"),
        (GOOD_DRIVER.model_copy(update={"fields": {"ret": 0}}), "no claim runs it from this program type"),
    ],
)
def test_a_reason_counts_when_it_was_seen(tmp_path: Path, seen: Observation, cause: str) -> None:
    (tmp_path / "bpf").mkdir()
    (tmp_path / "bpf" / "thing.yaml").write_text("""\
object: thing
kfuncs: {hash: {xdp: bpf_hash}}
claims:
  - id: in-driver
    says: The driver does not do this.
    source: {kind: source, ref: here}
    kfunc: hash
    types: [xdp]
    program: p
    unusable: needs a driver
    answer: {load: ok, fields: {ret: -EOPNOTSUPP}}
""")
    census = CensusObservation(
        kfunc="bpf_hash", prog_type=ProgType.XDP, object="vmlinux", load_errno=13, log="1: (85) call bpf_hash#7\nno\n"
    )
    of = CellResult(
        cell=cell("6.12.117"), outcome=Outcome.RAN, facts=GOOD_FACTS, answers=answers_of((seen,), (census,))
    )
    row = next(it for it in expecting(load_claims(tmp_path, "thing")).rows(of) if it.state and it.type == "xdp")
    assert (row.state, row.cause) == (State.REGISTERED, cause)


def test_an_old_kernel_has_a_kfunc_under_its_old_name(tmp_path: Path) -> None:
    (tmp_path / "bpf").mkdir()
    (tmp_path / "bpf" / "thing.yaml").write_text("""\
object: thing
kfuncs: {start: {xdp: [bpf_start, bpf_start_impl]}}
claims:
  - id: starts
    says: It starts.
    source: {kind: source, ref: here}
    kfunc: start
    types: [xdp]
    program: p
    usable: true
    answer: {load: ok, fields: {started: 1}}
""")
    census = CensusObservation(kfunc="bpf_start_impl", prog_type=ProgType.XDP, object="vmlinux", load_errno=0)
    seen = Observation(probe="starts:xdp", load_errno=0, run_errno=0, fields={"started": 1})
    of = CellResult(
        cell=cell("6.12.117"), outcome=Outcome.RAN, facts=GOOD_FACTS, answers=answers_of((seen,), (census,))
    )
    ended = Answer(kind="census", probe="census:xdp", body={"missing": ["bpf_start"]})
    of = of.model_copy(update={"answers": (*of.answers, ended)})
    rows = {
        it.subject: it for it in expecting(load_claims(tmp_path, "thing")).rows(of) if it.state and it.type == "xdp"
    }
    assert rows["bpf_start_impl"].state == State.USABLE
    assert (rows["bpf_start"].state, rows["bpf_start"].cause) == (State.ABSENT, "called bpf_start_impl here")
