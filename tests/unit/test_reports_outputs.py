# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What tests printed, for people; and files out of guests, whose names are hostile, on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.model import CellResult, Row, Verdict
from runner.probes.kinds import KINDS
from runner.reports.summary import outputs_report
from runner.results.evidence import keep_files, run_folder
from runner.results.model import JudgedRun
from tests.unit import results_samples as samples
from tests.unit.rendering import render


def judged(rows: tuple[Row, ...] = ()) -> JudgedRun:
    made = samples.judged(samples.result(samples.CELLS[0]), cells=samples.CELLS[:1])
    return samples.with_rows(made, [rows])


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> tuple[list[str], set[str]]:
    """What is said, and what lies below the cell's folder."""

    def left(_: CellResult) -> dict[str, bytes]:
        return files

    monkeypatch.setattr(KINDS["commands"], "left", left)
    run = judged()
    said = list(keep_files(folder, run))
    target = run_folder(folder, run.run.id) / samples.CELLS[0].id / "files"
    return said, {str(path.relative_to(target)) for path in folder.rglob("*") if path.is_file()}


def test_files_are_kept_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said, there = written(tmp_path, monkeypatch, {"go/cover/a": b"1", "go/out.txt": b"2"})
    assert there == {"go/cover/a", "go/out.txt"}
    assert f"{samples.CELLS[0].id}: 2 files in" in said[0]


@pytest.mark.parametrize("name", ["../../evil", "go/../../../evil", "/etc/evil", "go/\x1b[31m", "go/" + "x" * 300, ""])
def test_no_name_leads_out_of_the_cells_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    said, there = written(tmp_path / "run", monkeypatch, {name: b"1"})
    assert (said, there) == ([], set())
    assert not list(tmp_path.rglob("*evil*"))


def test_a_file_where_another_needs_a_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said, there = written(tmp_path, monkeypatch, {"go/a": b"1", "go/a/b": b"2"})
    assert there == {"go/a"}
    assert "was not written" in said[0]
    assert "1 file in" in said[1]


def test_only_what_failed_or_has_no_answer_is_shown_and_its_end() -> None:
    log = "\n".join(f"line {number}" for number in range(100))
    rows = (
        Row("commands", "bad", "bad", state="failed", verdict=Verdict.BROKEN, log=log),
        Row("commands", "good", "good", state="passed", verdict=Verdict.HOLDS, log="quiet"),
    )
    said = render(outputs_report(judged(rows)))
    assert "Output of bad on" in said
    assert "line 99" in said
    assert "line 69\n" not in said
    assert "quiet" not in said
