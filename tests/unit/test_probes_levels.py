"""Levels: only what was seen counts."""

from __future__ import annotations

from collections import Counter

import pytest

from runner.model import CellResult, Level, Outcome, ProgType
from runner.probes.census.answers import CensusObservation
from runner.probes.claims.answers import Observation
from tests.answers import answers_of, with_answers
from tests.unit.agent_samples import GOOD_FACTS, cell, result, states


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
