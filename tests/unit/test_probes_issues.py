# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Known issues explain what fits them whole, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import UserError
from runner.matrix import load_matrix
from runner.model import CellResult, Crash, KnownIssue, Outcome, Row, Splat, Verdict
from runner.probes import Expectations, load_issues
from runner.probes.claims.answers import Observation
from tests.answers import seen_of, with_answers
from tests.samples import ROOT
from tests.unit.agent_samples import result
from tests.unit.test_objects_judge import REFUSED, user_object
from tests.unit.test_objects_judge import result as of_object

EXPECTATIONS = Expectations.load(ROOT, ["conntrack", "traffic"])
ISSUES = EXPECTATIONS.issues
BTF = "debian-amd64-module-btf"
NAT = "nat-source:tc"


def verdicts(seen: CellResult) -> dict[str, Row]:
    return {row.probe: row for row in EXPECTATIONS.rows(seen) if row.verdict}


def known(*cells: CellResult) -> tuple[KnownIssue, ...]:
    return EXPECTATIONS.known_issues([(seen, EXPECTATIONS.rows(seen)) for seen in cells])


def changed(seen: CellResult, **changes: object) -> CellResult:
    """With what the kernel answered to NAT changed."""
    observations = tuple(one.model_copy(update=changes) if one.probe == NAT else one for one in seen_of(seen))
    return with_answers(seen, claims=observations)


@pytest.mark.parametrize("version", ["6.18.15", "7.3.4"])
def test_everything_that_is_broken_on_real_kernels_is_explained(version: str) -> None:
    broken = [verdict for verdict in verdicts(result(version)).values() if verdict.verdict is Verdict.BROKEN]
    assert len(broken) >= 6
    assert {verdict.known_issue for verdict in broken} == {BTF}
    assert [(issue.id, issue.gone) for issue in known(result(version))] == [(BTF, False)]


def test_what_holds_is_never_marked() -> None:
    for seen in (result("6.18.15"), result("6.18.15", "arm64"), result("6.12.117")):
        judged = verdicts(seen).values()
        assert {verdict.known_issue for verdict in judged if verdict.verdict is not Verdict.BROKEN} == {""}


def test_another_log_another_errno_or_no_refusal_is_not_explained() -> None:
    seen = result("6.18.15")
    assert verdicts(seen)[NAT].known_issue == BTF
    for changes in (
        {"log": "R1 invalid mem access 'scalar'"},
        {"load_errno": 13},
        {"load_errno": 0, "run_errno": 0, "fields": {"set_ret": -22}},
    ):
        verdict = verdicts(changed(seen, **changes))[NAT]
        assert (verdict.verdict, verdict.known_issue) == (Verdict.BROKEN, "")


def test_another_release_architecture_or_version_is_not_explained() -> None:
    seen = result("6.18.15")
    own_build = seen.facts.model_copy(update={"release": "6.18.15-custom"})
    assert verdicts(seen.model_copy(update={"facts": own_build}))[NAT].known_issue == ""
    for changes in ({"arch": "arm64"}, {"version": "6.12.117"}):
        locked = seen.cell.kernel.model_copy(update=changes)
        elsewhere = seen.model_copy(update={"cell": seen.cell.model_copy(update={"kernel": locked})})
        assert verdicts(elsewhere)[NAT].verdict is Verdict.BROKEN
        assert verdicts(elsewhere)[NAT].known_issue == ""


def test_a_crash_is_never_explained() -> None:
    seen = result("6.18.15").model_copy(update={"crashes": (Crash(probe=NAT),)})
    assert verdicts(seen)[NAT].crashed
    assert verdicts(seen)[NAT].known_issue == ""


def cured() -> CellResult:
    """The same kernel, with the answers of one that was built well."""
    well = {one.probe: one for one in seen_of(result("6.18.15", "arm64"))}
    seen = result("6.18.15")
    return with_answers(seen, claims=tuple(well[one.probe] for one in seen_of(seen)))


def test_an_issue_that_no_longer_happens_is_gone() -> None:
    assert [(issue.id, issue.gone) for issue in known(cured())] == [(BTF, True)]
    assert [(issue.id, issue.gone) for issue in known(cured(), result("7.3.4"))] == [(BTF, False)]


def test_an_issue_is_not_gone_because_nobody_looked() -> None:
    assert known() == ()
    assert known(result("6.12.117"), result("6.18.15", "arm64")) == ()
    assert known(CellResult(cell=result("6.18.15").cell, outcome=Outcome.BOOT_FAILED)) == ()
    silent = cured()
    without = tuple(one for one in seen_of(silent) if one.probe != NAT)
    assert known(with_answers(silent, claims=without)) == ()
    failed = tuple(Observation(probe=NAT, failed="bug") if one.probe == NAT else one for one in seen_of(silent))
    assert known(with_answers(silent, claims=failed)) == ()


def test_every_pattern_of_the_committed_file_names_a_probe() -> None:
    probes = {said.probe for said in Expectations.load(ROOT, load_matrix(ROOT / "matrix.yaml").file.probes).said()}
    patterns = {
        (issue.id, pattern): shown.model_copy(update={"claims": (pattern,)})
        for issue in ISSUES
        for shown in issue.shows
        for pattern in shown.probes
    }
    assert patterns
    idle = {at for at, alone in patterns.items() if not any(alone.is_about("claims", probe) for probe in probes)}
    assert not idle


def test_links_into_the_documentation_exist() -> None:
    links = {issue.link for issue in ISSUES if issue.link.startswith("docs/")}
    assert links
    assert {link for link in links if link.partition("#")[2] in slugs(link.partition("#")[0])} == links


def slugs(page: str) -> set[str]:
    headings = [line.lstrip("# ") for line in (ROOT / page).read_text().splitlines() if line.startswith("#")]
    return {"".join(c for c in it.lower() if c.isalnum() or c in " -_").replace(" ", "-") for it in headings}


GOOD = """\
issues:
  - id: one
    what: It is so.
    reason: Because.
    link: https://example.org/
    since: ["6.16"]
    architectures: [x86_64]
    shows:
      - {claims: ["a-b:*"], answer: {load: {errno: EINVAL, log: words}}}
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("    reason: Because.\n", "", 2, "the key 'reason' is missing"),
        ("    shows:", "    show:", 8, "unknown key; did you mean 'shows'?"),
        ("[x86_64]", "[amd64]", 7, "unknown architecture 'amd64'"),
        ("EINVAL", "EWRONG", 9, "not the name of an errno"),
        ('["a-b:*"]', "[]", 9, "at least 1"),
        ('"a-b:*"', '"A B"', 9, "pattern"),
        ('["6.16"]', '["new"]', 6, "not a kernel version"),
        (", answer: {load: {errno: EINVAL, log: words}}", "", 9, "the key 'answer' is missing"),
        (GOOD[len("issues:\n") :], GOOD[len("issues:\n") :] * 2, 2, "there are 2 issues called 'one'"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    assert old in GOOD
    (tmp_path / "bpf").mkdir()
    path = tmp_path / "bpf" / "known-issues.yaml"
    path.write_text(GOOD)
    assert {issue.id for issue in load_issues(tmp_path)} == {"one", *(issue.id for issue in ISSUES)}
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(UserError) as caught:
        load_issues(tmp_path)
    assert f"known-issues.yaml:{line}: " in caught.value.what
    assert words in caught.value.what


def test_without_a_file_the_shipped_issues_count_and_it_is_no_claims_file(tmp_path: Path) -> None:
    assert load_issues(tmp_path) == ISSUES
    with pytest.raises(UserError, match="holds no probes"):
        Expectations.load(ROOT, ["known-issues"])


WARNING = Splat(kind="WARNING", text="WARNING: CPU: 0 PID: 7 at net/core/filter.c:12 bpf_x+0x1/0x2", probe=NAT)
ALLOWS = """\
issues:
  - id: noisy
    what: It warns.
    reason: Because.
    link: https://example.org/
    since: ["6.16"]
    splat: {kind: WARNING, text: "at net/core/filter.c"}
"""


def noisy(tmp_path: Path, *splats: Splat, version: str = "6.18.15") -> tuple[Expectations, CellResult]:
    (tmp_path / "bpf").mkdir()
    (tmp_path / "bpf" / "known-issues.yaml").write_text(ALLOWS)
    expectations = Expectations.made(tmp_path, (), load_issues(tmp_path))
    return expectations, result(version).model_copy(update={"splats": splats})


def test_a_splat_is_allowed_where_kernel_kind_and_text_fit(tmp_path: Path) -> None:
    other = WARNING.model_copy(update={"text": "WARNING: CPU: 0 PID: 7 at mm/slab.c:1"})
    kasan = WARNING.model_copy(update={"kind": "KASAN"})
    expectations, seen = noisy(tmp_path, WARNING, other, kasan)
    assert [splat.known_issue for splat in expectations.splats(seen)] == ["noisy", "", ""]
    assert [splat.probe for splat in expectations.splats(seen)] == [NAT] * 3
    assert [(issue.id, issue.gone) for issue in expectations.known_issues([(seen, ())])] == [("noisy", False)]


def test_a_splat_of_another_kernel_is_not_allowed(tmp_path: Path) -> None:
    expectations, seen = noisy(tmp_path, WARNING, version="6.12.117")
    assert [splat.known_issue for splat in expectations.splats(seen)] == [""]
    assert expectations.known_issues([(seen, ())]) == ()


def test_a_splat_that_is_no_longer_reported_is_gone(tmp_path: Path) -> None:
    expectations, seen = noisy(tmp_path)
    assert [(issue.id, issue.gone) for issue in expectations.known_issues([(seen, ())])] == [("noisy", True)]
    lost = seen.model_copy(update={"outcome": Outcome.LOST})
    assert expectations.known_issues([(lost, ())]) == ()


def test_an_entry_shows_or_allows_something(tmp_path: Path) -> None:
    (tmp_path / "bpf").mkdir()
    path = tmp_path / "bpf" / "known-issues.yaml"
    path.write_text(ALLOWS.partition("    splat")[0])
    with pytest.raises(UserError, match=r"known-issues\.yaml:2: .*`shows`.*or `splat`"):
        load_issues(tmp_path)
    path.write_text(ALLOWS.replace("kind: WARNING", "kind: warning"))
    with pytest.raises(UserError, match=r"known-issues\.yaml:7: .*'WARNING'"):
        load_issues(tmp_path)


@pytest.mark.parametrize(
    ("answer", "explained"),
    [
        ("{cause: refused, log: invalid mem access}", True),
        ("{}", True),
        ("{cause: refused, log: another text}", False),
        ("{cause: extern}", False),
    ],
)
def test_an_entry_explains_a_users_object(tmp_path: Path, answer: str, *, explained: bool) -> None:
    (tmp_path / "bpf").mkdir()
    shows = f'shows: [{{objects: ["lb/b*"], answer: {answer}}}]'
    text = f"issues:\n  - {{id: a-fault, what: x, reason: x, link: x, releases: ['6.1.*'], {shows}}}\n"
    (tmp_path / "bpf/known-issues.yaml").write_text(text)
    known = {"objects": (user_object(),)}
    expectations = Expectations(tmp_path, (), known, load_issues(tmp_path))
    seen = of_object(good=REFUSED, bad=REFUSED)
    issues = {row.subject: row.known_issue for row in expectations.rows(seen) if row.verdict is Verdict.BROKEN}
    assert issues == {"lb/good": "", "lb/bad": "a-fault" if explained else ""}
    assert [issue.gone for issue in expectations.known_issues([(seen, expectations.rows(seen))])] == [not explained]
