# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Helpers, and types of programs, maps and attachments: what answers mean. The logs are real kernels' own."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from runner.model import Answer, CellResult, Outcome
from runner.probes.features import ABSENT, AVAILABLE, DECLARED, KIND, REFUSED, FeaturesEntry, KnownFeatures
from runner.probes.files import ProbeFile
from runner.probes.kind import UNNAMED
from tests.samples import ROOT
from tests.unit import results_samples as samples

UNKNOWN = "0: R1=ctx(off=0,imm=0) R10=fp0\n0: (85) call bpf_bind#64\nunknown func bpf_bind#64\nprocessed 1 insns"
CANNOT = "5: (85) call bpf_bind#64\nprogram of this type cannot use helper bpf_bind#64\nprocessed 5 insns"
ARGUMENTS = "5: (85) call bpf_map_lookup_elem#1\nR1 type=ctx expected=map_ptr\nprocessed 6 insns"
NO_WORDS = ""


def known(*names: tuple[str, str]) -> KnownFeatures:
    return KnownFeatures(True, tuple(sorted(names)))


def result(*answers: Answer, outcome: Outcome = Outcome.RAN) -> CellResult:
    return samples.result(samples.CELLS[0]).model_copy(update={"answers": answers, "outcome": outcome})


def helpers(prog_type: str = "tc", **logs: tuple[int, str]) -> Answer:
    lines = list(dict.fromkeys(log for _, log in logs.values()))
    return Answer(
        kind="features",
        probe=f"features:{prog_type}",
        body={
            "errnos": {f"BPF_FUNC_{name}": errno for name, (errno, _) in logs.items()},
            "words": {f"BPF_FUNC_{name}": lines.index(log) for name, (errno, log) in logs.items() if errno},
            "lines": list(lines),
        },
    )


def values(enum: str, of: Mapping[str, int]) -> Answer:
    return Answer(kind="features", probe=f"features:{enum}", body={"values": dict(of)})


def states(of: CellResult, known_: KnownFeatures | None = None) -> dict[tuple[str, str], tuple[str, str]]:
    grown = KIND.grown(known_ or known(), [of])
    return {(row.subject, row.type): (row.state, row.cause) for row in KIND.judge(of, grown, ())}


@pytest.mark.parametrize(
    ("errno", "log", "state"),
    [
        (0, "", AVAILABLE),
        (22, UNKNOWN, REFUSED),
        (22, CANNOT, REFUSED),
        (13, ARGUMENTS, AVAILABLE),
        (12, NO_WORDS, "no answer"),
        (22, NO_WORDS, "no answer"),
    ],
)
def test_a_helper_is_judged_by_the_verifiers_words(errno: int, log: str, state: str) -> None:
    assert states(result(helpers(bind=(errno, log))))["bpf_bind", "tc"][0] == state


def test_a_name_that_another_kernel_has_is_absent_here() -> None:
    here = result(helpers(bind=(0, "")), values("bpf_map_type", {"BPF_MAP_TYPE_HASH": 1}))
    found = states(here, known(("bpf_func_id", "bpf_new"), ("bpf_map_type", "BPF_MAP_TYPE_ARENA")))
    assert found["bpf_new", "tc"] == (ABSENT, UNNAMED)
    assert found["BPF_MAP_TYPE_ARENA", ""] == (ABSENT, UNNAMED)
    assert found["BPF_MAP_TYPE_HASH", ""] == (AVAILABLE, "")


def test_what_was_not_asked_or_failed_has_no_answer() -> None:
    lost = states(result(outcome=Outcome.LOST), known(("bpf_func_id", "bpf_bind")))
    assert lost["bpf_bind", "tc"][0] == lost["bpf_bind", "xdp"][0] == "no answer"
    failed = Answer(kind="features", probe="features:tc", failed="LibbpfError: no memory")
    found = states(result(failed, helpers("xdp", bind=(0, ""))))
    assert found["bpf_bind", "tc"] == ("no answer", "LibbpfError: no memory")
    assert found["bpf_bind", "xdp"][0] == AVAILABLE


@pytest.mark.parametrize(
    ("value", "state"), [(1, AVAILABLE), (0, REFUSED), (-95, "no answer")]
)  # what libbpf does not know it does not deny
def test_types_are_what_libbpfs_probe_says(value: int, state: str) -> None:
    found = states(result(values("bpf_prog_type", {"BPF_PROG_TYPE_XDP": value})))
    assert found["BPF_PROG_TYPE_XDP", ""][0] == state


def test_attachments_are_declared_alone_and_ends_of_enums_are_none() -> None:
    found = states(
        result(values("bpf_attach_type", {"BPF_XDP": 37, "__MAX_BPF_ATTACH_TYPE": 60, "BPF_OLD_DEPRECATED": 3}))
    )
    assert [key[0] for key in found] == ["BPF_XDP"]
    assert found["BPF_XDP", ""][0] == DECLARED


@pytest.mark.parametrize("body", [{}, {"values": {"BPF_MAP_TYPE_HASH": "yes"}}, {"values": []}])
def test_an_answer_that_is_none_says_nothing(body: dict[str, object]) -> None:
    bad = Answer.model_validate({"kind": "features", "probe": "features:bpf_map_type", "body": body})
    found = states(result(bad), known(("bpf_map_type", "BPF_MAP_TYPE_HASH")))
    assert found["BPF_MAP_TYPE_HASH", ""][0] == "no answer"


def test_it_is_asked_where_the_matrix_says_so() -> None:
    assert not KIND.load(ROOT, []).asked
    written = KIND.load(ROOT, [ProbeFile("entry-0", FeaturesEntry(features="all"))])
    asks = list(KIND.asks(written, None, ()))
    assert [ask.probe for ask in asks] == [
        "features:tc", "features:xdp", "features:bpf_map_type", "features:bpf_prog_type", "features:bpf_attach_type",
    ]  # fmt: skip


def test_what_is_known_is_the_same_in_each_process() -> None:
    """A set has another order in each, and its rows would be judged again."""
    two = [result(helpers(bind=(0, ""), trace=(0, ""))), result(values("bpf_map_type", {"BPF_MAP_TYPE_HASH": 1}))]
    assert KIND.grown(known(), two) == KIND.grown(known(), reversed(two))
    names = (("bpf_func_id", "bpf_bind"), ("bpf_func_id", "bpf_trace"), ("bpf_map_type", "BPF_MAP_TYPE_HASH"))
    assert KIND.grown(known(), two).names == names
