# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Documented versions of helpers and types, and documented errors, held against kernels."""

from __future__ import annotations

from pathlib import Path

from runner.model import Row, Verdict
from runner.probes import Said
from runner.reports.documented import docs_check_document, docs_check_report
from runner.results.availability import Topic
from runner.results.docscheck import Brought, Dispute, docs_check, features_check
from runner.results.model import judge_run
from runner.results.series import builds
from runner.results.statements import errors_check, load_errors
from tests.unit import results_samples as samples
from tests.unit.rendering import render
from tests.unit.tracking_samples import measured

ARENA, NEW = (Topic(f"BPF_MAP_TYPE_{it}", "", "features") for it in ("ARENA", "NEW"))
HASH = Topic("BPF_MAP_TYPE_HASH", "", "features")
ALLOC = samples.KFUNCS[-1]


def has(*topics: Topic) -> dict[Topic, Row]:
    return {it: Row("features", "features:bpf_map_type", it.subject, state="available") for it in topics}


def since(**versions: str) -> dict[str, Brought]:
    return {f"BPF_MAP_TYPE_{name}": Brought(version=version, commit="") for name, version in versions.items()}


KNOWN = builds([measured("6.6.9", has(HASH)), measured("6.12.117", has(HASH, ARENA, NEW))])


def test_a_version_with_a_kernel_on_both_sides_is_confirmed() -> None:
    found = features_check(since(ARENA="6.9", HASH="3.19"), KNOWN)
    assert (found.agreements, found.disagreements) == (4, ())
    assert (found.points, found.all_points) == (1, 2)
    assert found.unknown == (NEW.subject,)


def test_what_is_there_earlier_or_missing_disagrees() -> None:
    found = features_check(since(ARENA="6.1", HASH="6.10"), KNOWN)
    assert [(it.kind, it.topic, str(it.builds[0])) for it in found.disagreements] == [
        (Dispute.ABSENT, ARENA, "6.6.9"),
        (Dispute.EARLIER, HASH, "6.6.9"),
    ]


def test_what_no_kernel_has_disagrees_as_its_configuration_cannot_leave_it_out() -> None:
    """It is an enumerator of the kernel's own BTF. Its name is known of a vendor's kernel."""
    absent = {ARENA: Row("features", "features:bpf_map_type", ARENA.subject, state="absent")}
    found = features_check(since(ARENA="6.1"), builds([measured("6.6.9", absent), measured("6.12.117", absent)]))
    assert [(it.kind, it.topic, len(it.builds)) for it in found.disagreements] == [(Dispute.ABSENT, ARENA, 2)]


def test_errors_of_pages_are_those_outside_of_examples(tmp_path: Path) -> None:
    assert load_errors(tmp_path) == {}, "a checkout may have data alone"
    (pages := tmp_path / "docs" / "linux" / "kfuncs").mkdir(parents=True)
    (pages / f"{ALLOC}.md").write_text("- `-EINVAL` - x\n```c\nreturn -ENOMEM;\n```\n`-ENOENT` and -E")
    (pages / "bpf_silent.md").write_text("No errors.")
    assert load_errors(tmp_path) == {ALLOC: frozenset({"-EINVAL", "-ENOENT"})}


def test_an_error_that_a_claim_says_and_a_program_got_is_one_of_the_kfuncs() -> None:
    def row(probe: str, observed: str) -> Row:
        return Row("claims", f"{probe}:tc", ALLOC, "tc", verdict=Verdict.HOLDS, observed=observed)

    rows = (
        row("listed", "error -EINVAL"),
        row("unlisted", "error -EPROTO, acquired 0"),
        row("not-run", "load refused: -EACCES"),
        row("of-another", "from_ret -EBUSY"),
    )
    words = {"listed": "-EINVAL: x.", "unlisted": "-EPROTO: x.", "not-run": "-EACCES: x.", "of-another": "It is null."}
    said = [Said(name, f"{name}:tc", ALLOC, "tc", says) for name, says in words.items()]
    run = samples.run(samples.result(samples.CELLS[0]), cells=samples.CELLS[:1])
    judged = judge_run(run, samples.Judge(samples.nothing, lambda _: rows))
    pages = {ALLOC: frozenset({"-EINVAL", "-ENONET"}), "bpf_never_asked": frozenset({"-EINVAL"})}
    (found,) = errors_check(pages, judged, said)
    assert (found.kfunc, found.listed) == (ALLOC, ("-EINVAL", "-ENONET"))
    assert found.unlisted == {"-EPROTO": (samples.CELLS[0].id, "unlisted:tc")}
    assert found.unseen == ("-ENONET",)
    shown = (docs_check({}, KNOWN), features_check(since(ARENA="6.1"), KNOWN), [found])
    text = render(docs_check_report(*shown), 120)
    assert f"{ALLOC}\n    documented  -EINVAL, -ENONET\n    observed    -EPROTO\n" in text
    assert "BPF_MAP_TYPE_ARENA  on 6.6.9 (x86_64)" in text
    assert f"documented errors that no claim got: {ALLOC} -ENONET" in text
    document = docs_check_document(*shown)
    assert document["undocumented"] == [HASH.subject, NEW.subject]
