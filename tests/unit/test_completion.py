# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a shell completes."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.cli import completion
from runner.results.store import ResultStore
from tests.samples import ROOT
from tests.unit.results_samples import run


def test_names_of_the_project_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert {"6.1", "6.12", "6.18"} <= set(completion.kernels("6."))
    assert "bpf_skb_ct_alloc" in completion.kfuncs("bpf_skb_ct")
    assert completion.probes("nat-source:") == ["nat-source:tc", "nat-source:xdp"]
    cells = completion.cells("6.12.")
    assert cells
    assert all(cell.startswith("6.12.") for cell in cells)


def test_runs_of_its_store_are_completed_the_last_one_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "matrix.yaml").write_text((ROOT / "matrix.yaml").read_text())
    with ResultStore(tmp_path / "reports" / "results.db") as store:
        for name in ("night-1", "night-2", "day-1"):
            store.begin(run(run_id=name))
    assert completion.runs("night") == ["night-2", "night-1"]


def test_a_wrong_project_completes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "matrix.yaml").write_text("kernels: 7\n")
    monkeypatch.chdir(tmp_path)
    assert [completion.cells(""), completion.kernels(""), completion.probes(""), completion.runs("")] == [[]] * 4
