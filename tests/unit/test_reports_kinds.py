# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Reports know no kind of probe: one that they have never seen is shown, counted and exported like any other."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from junitparser import JUnitXml

from runner.cli.options import exit_status
from runner.model import Mark, Row, Splat, StateWord, Verdict
from runner.probes.kind import Kind
from runner.probes.kinds import KINDS
from runner.reports.cell import cell_report, probe_report
from runner.reports.export import csv_table, export, to_json
from runner.reports.markdown import availability_markdown, workflow_commands
from runner.reports.site import site
from runner.reports.summary import covers, run_report
from runner.reports.testsystems import junit, ktap
from runner.results.model import CoveredRun, JudgedRun, RunInfo
from tests.samples import ROOT
from tests.unit import results_samples as samples
from tests.unit.rendering import render


class Novelty(Kind[None]):
    """States and verdicts, without types."""

    name = "novelty"
    noun = "colour"
    subject = "thing"
    states = (
        StateWord("grey", 0, Mark("g", "g", "bright_black")),
        StateWord("blue", 1, Mark("b", "b", "cyan")),
    )


@pytest.fixture(autouse=True)
def novelty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "novelty", Novelty())


def row(state: str, verdict: Verdict | None = None, subject: str = "apple", **more: str) -> Row:
    return Row("novelty", f"{subject}-colour", subject, state=state, verdict=verdict, **more)  # type: ignore[arg-type]


def judged(*rows: Row, splats: tuple[Splat, ...] = ()) -> JudgedRun:
    """A run of two cells: the first has these rows, the second is blue throughout."""
    results = [samples.result(cell) for cell in samples.CELLS[:2]]
    results[0] = results[0].model_copy(update={"splats": splats})
    made = samples.judged(*results, cells=samples.CELLS[:2])
    blue = tuple(row("blue", it.verdict and Verdict.HOLDS, it.subject) for it in rows)
    return samples.with_rows(made, [rows, blue])


def test_no_report_names_a_kind() -> None:
    files = [path for path in (ROOT / "runner" / "reports").rglob("*") if path.suffix in {".py", ".j2", ".js", ".css"}]
    assert len(files) > 20
    names = KINDS.keys() - {"objects", "commands", "features"}  # words that a report needs for other things too
    word = re.compile(rf"\b({'|'.join(names)})\b")
    assert [path.name for path in files if word.search(path.read_text(encoding="utf-8"))] == []


def test_a_subjects_name_is_no_part_of_a_word() -> None:
    text = render(run_report(judged(row("grey", cause="the status of t: t_x is not at t/1", subject="t"))))
    assert "the status of <thing>: <thing>_x is not at <thing>/1" in text


def test_grid_shows_its_states_with_their_marks_and_causes() -> None:
    text = render(run_report(judged(row("grey", cause="it rained on the apple"), row("blue", subject="pear"))))
    assert "│ 6.1.192" in text
    assert "apple       │ g 1/b" in text
    assert "pear        │ b" in text
    assert "b blue   g grey   ? no answer   several marks: x86_64/arm64" in text
    assert "1 g  grey: it rained on the <thing>" in text
    assert "apple on 6.1.192 (x86_64)" in text
    document = availability_markdown(judged(row("grey")))
    assert document.startswith("# Things by kernel\n")
    assert "| thing | 6.1.192 |" in document
    assert "| apple | g/b |" in document.replace("`", "")


def test_verdicts_are_counted_and_a_broken_one_fails_the_run() -> None:
    run = judged(row("grey", Verdict.BROKEN, expected="blue", observed="grey"))
    text = render(run_report(run))
    assert "2 colours: 1 holds, 1 broken" in text
    assert exit_status(run) == 1
    cases = {case.name: case for suite in JUnitXml.fromstring(junit(run).encode()) for case in suite}
    assert cases["apple-colour"].classname.endswith(".apple")
    assert "not ok" in ktap(run)
    assert "::error title=broken%3A apple-colour::" in workflow_commands(run, {})


def test_state_without_an_answer_is_incomplete() -> None:
    assert exit_status(judged(row("blue"))) == 0
    assert exit_status(judged(row("no answer", cause="nobody looked"))) == 2


def test_it_has_a_section_of_the_export_a_line_of_csv_and_pages_of_the_site() -> None:
    run = judged(row("grey", Verdict.BROKEN, expected="blue"))
    cell = json.loads(to_json(export(run)))["cells"][0]
    assert cell["novelty"][0].items() >= {"subject": "apple", "state": "grey", "verdict": "broken"}.items()
    assert cell["claims"] == cell["census"] == []
    assert ",colour,apple-colour,apple,,broken,blue," in csv_table(run)
    files = dict(site(run, [run], {}))
    assert '<td class="a bang">g' in files["x86_64-all.html"]
    assert "<h1>Things by kernel <small>x86_64</small></h1>" in files["x86_64-all.html"]
    assert "kfunc/apple.html" in files


def test_cell_and_probe_are_shown_closely() -> None:
    cell = judged(row("grey", cause="it rained")).cells[0]
    assert "apple    grey  it rained" in render(cell_report(cell)).replace("  apple    ", "apple    ")
    assert "state  grey" in render(probe_report(cell, "apple-colour"))


# --- what the kernel reports by itself ------------------------------------------------------------------------------

KASAN = Splat(
    kind="KASAN", text="BUG: KASAN: slab-out-of-bounds in f", lines=("Call Trace:", " f+0x1/0x2"), probe="a:tc"
)


def test_splat_is_shown_everywhere_and_fails_the_run() -> None:
    run = judged(row("blue"), splats=(KASAN,))
    assert exit_status(run) == 1
    text = render(run_report(run), 160)
    assert "1 splat" in text
    assert "  ✗ BUG: KASAN: slab-out-of-bounds in f  6.1.192 (x86_64)" in text
    assert "while a:tc" in " ".join(text.split())
    assert "while a:tc was asked: KASAN" in render(cell_report(run.cells[0]))
    [splat] = json.loads(to_json(export(run)))["cells"][0]["splats"]
    assert splat == {
        "kind": "KASAN",
        "text": KASAN.text,
        "lines": list(KASAN.lines),
        "probe": "a:tc",
        "known_issue": "",
    }
    document = JUnitXml.fromstring(junit(run).encode())
    assert document.failures == 1
    assert "::error title=reported by the kernel" in workflow_commands(run, {})
    files = dict(site(run, [run], {}))
    assert "slab-out-of-bounds" in files["findings.html"]
    assert "slab-out-of-bounds" in files[f"data/cell/{run.cells[0].id}.js"]


def test_stuck_guest_is_no_answer_and_not_the_kernels_fault() -> None:
    run = judged(row("blue"), splats=(KASAN.model_copy(update={"kind": "stuck", "text": "soft lockup"}),))
    assert exit_status(run) == 2
    document = JUnitXml.fromstring(junit(run).encode())
    assert (document.failures, document.errors) == (0, 1)
    assert "::warning title=stuck" in workflow_commands(run, {})


# --- which runs a report covers -------------------------------------------------------------------------------------


def source(name: str, hours: int, cells: int, *, partial: bool) -> CoveredRun:
    of = samples.run().model_dump(exclude={"cells", "results"})
    of |= {"id": name, "started": samples.STARTED + timedelta(hours=hours)}
    ids = tuple(cell.id for cell in samples.CELLS[:cells])
    return CoveredRun(run=RunInfo(**of, cells=8, finished_cells=cells), cells=ids, partial=partial)


def test_report_says_which_runs_it_covers() -> None:
    run = samples.clean_run()
    assert covers(run) == "run 20261103-101501-3fa9 of 2026-11-03 10:15 UTC"
    whole = run.model_copy(update={"sources": (source("a", 0, 8, partial=False),)})
    assert covers(whole) == "run a of 2026-11-03 10:15 UTC: 8 cells"
    two = (source("b", 1, 2, partial=True), source("a", 0, 5, partial=False))
    mixed = run.model_copy(update={"sources": two})
    assert covers(mixed) == (
        "each cell's newest answer, from partial run b of 2026-11-03 11:15 UTC: 2 cells;"
        " run a of 2026-11-03 10:15 UTC: 5 cells; never run: 1 cell"
    )
    assert "s in all" not in render(run_report(mixed)), "the time of one run is not that of cells of several"
