# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Documentation held against kernels: what disagrees, and what cannot be decided."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from runner.errors import UserError
from runner.model import ProgType, Row, State
from runner.model.version import KernelVersion
from runner.reports.documented import docs_check_document, docs_check_report
from runner.results.availability import Topic
from runner.results.docscheck import Dispute, DocsCheck, Documented, docs_check, features_check, load
from runner.results.series import builds
from tests.unit.tracking_samples import KFUNC, TC, XDP, A, N, Q, R, U, measured, state

KFUNCS = """
sets:
  one:
    funcs:
      - {name: bpf_ct_release, flags: [KF_RELEASE]}
      - {name: bpf_other}
    program_types:
      - name: BPF_PROG_TYPE_SCHED_CLS
      - {name: BPF_PROG_TYPE_XDP, since: {version: 6.10, commit: abc}}
      - {name: BPF_PROG_TYPE_OF_THE_FUTURE}
  common:
    funcs:
      - name: bpf_everywhere
        except: {program_types: [{name: BPF_PROG_TYPE_XDP}]}
    program_types: [{name: BPF_PROG_TYPE_UNSPEC, until: {version: 6.18}}]
"""
VERSIONS = """
- name: helpers
  features: [{name: bpf_ct_release, version: v3.1, commit: abc}]
- name: kfuncs
  features:
    - {name: bpf_ct_release, version: v6.2, commit: abc}
    - {name: bpf_everywhere, version: 6.1, commit: abc}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "kfuncs.yaml").write_text(KFUNCS)
    (tmp_path / "data" / "feature-versions.yaml").write_text(VERSIONS)
    return tmp_path


def says(doc: Documented, prog_type: ProgType, version: str) -> bool:
    return doc.says(prog_type, KernelVersion.parse(version))


def test_reading_it(folder: Path) -> None:
    docs = load(folder)
    release = docs[KFUNC]
    assert [says(release, ProgType.TC, version) for version in ("6.1.192", "6.2-rc1", "6.2", "7.3.4")] == [
        False, True, True, True,
    ]  # fmt: skip
    assert not says(release, ProgType.XDP, "6.9.12")  # since 6.10, which is not 6.1
    assert says(release, ProgType.XDP, "6.12.1")
    assert release.words(ProgType.XDP) == "since 6.10"
    assert docs["bpf_other"].words(ProgType.TC) == "without a version"
    common = docs["bpf_everywhere"]
    assert says(common, ProgType.TC, "6.12.1")
    assert not says(common, ProgType.TC, "6.18.3")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("sets: [1, 2", "is not YAML"),
        ("sets: 3", "dictionary"),
        (KFUNCS.replace("6.10", "soon"), "not a kernel version"),
    ],
)
def test_what_is_not_that_file(folder: Path, content: str, what: str) -> None:
    (folder / "data" / "kfuncs.yaml").write_text(content)
    with pytest.raises(UserError, match=what):
        load(folder)
    with pytest.raises(UserError, match="No such file"):
        load(folder / "nowhere")


def check(folder: Path, answers: dict[str, tuple[State, State]], **more: object) -> DocsCheck:
    """Answers for tc and xdp by kernel."""
    kept = [
        measured(version, {TC: state(TC, tc, "why", **more), XDP: state(XDP, xdp, "why")})
        for version, (tc, xdp) in answers.items()
    ]
    return docs_check(load(folder), builds(kept))


def test_everything_as_documented(folder: Path) -> None:
    found = check(folder, {"6.1.192": (A, A), "6.6.9": (U, N), "6.12.117": (U, R)})
    assert (found.agreements, found.disagreements) == (6, ())
    assert (found.points, found.all_points) == (2, 2)  # both sides of 6.2 and of 6.10 were seen
    assert check(folder, {"6.6.9": (U, N), "6.12.117": (U, R)}).points == 1  # nothing before 6.2
    assert found.unasked == ("bpf_everywhere", "bpf_other")


@pytest.mark.parametrize(
    ("answers", "kind", "kernels"),
    [
        ({"6.6.9": (N, N), "6.12.117": (U, U)}, Dispute.REFUSED, ["6.6.9"]),
        ({"6.6.9": (A, N), "6.12.117": (U, U)}, Dispute.ABSENT, ["6.6.9"]),
        ({"6.1.192": (U, N), "6.12.117": (U, U)}, Dispute.EARLIER, ["6.1.192"]),
    ],
)
def test_disagreements(
    folder: Path, answers: dict[str, tuple[State, State]], kind: Dispute, kernels: list[str]
) -> None:
    (dispute,) = check(folder, answers).disagreements
    assert (dispute.kind, dispute.topic, [str(build) for build in dispute.builds]) == (kind, TC, kernels)
    assert dispute.documented == "since 6.2"


def test_type_that_is_not_documented_and_an_end_that_was_none(folder: Path) -> None:
    (folder / "data" / "kfuncs.yaml").write_text(KFUNCS.replace("BPF_PROG_TYPE_SCHED_CLS", "BPF_PROG_TYPE_LSM"))
    found = check(folder, {"6.12.117": (R, R)})
    assert [it.kind for it in found.disagreements] == [Dispute.UNDOCUMENTED]
    ended = KFUNCS.replace("name: BPF_PROG_TYPE_SCHED_CLS", "{name: BPF_PROG_TYPE_SCHED_CLS, until: {version: 6.12}}")
    (folder / "data" / "kfuncs.yaml").write_text(ended)
    found = check(folder, {"6.12.117": (R, R)})
    assert [it.kind for it in found.disagreements] == [Dispute.LONGER]


def test_flags_that_are_not_documented(folder: Path) -> None:
    found = check(folder, {"6.12.117": (R, R)}, flags=("KF_SLEEPABLE", "KF_RELEASE"))
    assert [it.kind for it in found.disagreements] == [Dispute.FLAGS]
    assert not check(folder, {"6.12.117": (R, R)}, flags=("KF_RELEASE",)).disagreements


def test_what_cannot_be_decided_is_no_disagreement(folder: Path) -> None:
    absent = check(folder, {"6.6.9": (A, A), "6.12.117": (A, A)})
    assert not absent.disagreements
    assert any("configuration" in why for why in absent.undecided)
    silent = check(folder, {"6.12.117": (Q, Q)})
    assert (silent.agreements, list(silent.undecided)) == (0, ["no kernel gave an answer"])
    late = check(folder, {"6.6.9": (U, N), "6.12.117": (U, U)})
    ((why, topics),) = late.undecided.items()
    assert topics == [TC]  # nothing older than 6.6 was asked, so 6.2 is not tested; 6.10 is
    assert "6.6.9 is the oldest kernel" in why


def test_report_shows_observation_and_command(folder: Path) -> None:
    found = check(folder, {"6.6.9": (N, N), "6.12.117": (U, U)})
    stream = io.StringIO()
    Console(file=stream, width=200, color_system=None).print(docs_check_report(found, features_check({}, ()), ()))
    text = stream.getvalue()
    assert "3 answers agree, 1 do not" in text
    assert "documented  since 6.2" in text
    assert "observed    not allowed: why" in text
    assert "runner cell show 6.6.9-x86_64 --run night-0" in text
    document = docs_check_document(found, features_check({}, ()), ())
    assert isinstance(document["disagreements"], list)
    assert document["disagreements"][0]["kernels"] == [{"version": "6.6.9", "arch": "x86_64"}]


def test_what_other_kinds_say_of_a_kfunc_is_no_disagreement(folder: Path) -> None:
    call = Topic(KFUNC, "tc", "boundaries")
    other = Row(call.kind, f"boundaries:tc/{KFUNC}", KFUNC, "tc", "not derived", cause="why")
    kept = [measured("6.12.117", {TC: state(TC, U), call: other})]
    found = docs_check(load(folder), builds(kept))
    assert (found.agreements, found.disagreements) == (1, ())
