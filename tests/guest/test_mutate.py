# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Without its calls of kfuncs, no program shows a kfunc at work."""

from __future__ import annotations

from runner.model import Outcome, Verdict
from tests.guest.conftest import Project
from tests.guest.inprocess import OneCell


def test_claims_that_show_a_kfunc_at_work_break_without_its_call(project: Project) -> None:
    header = project.root / "bpf" / "kfunc.h"
    header.write_text(f"#define NO_CALL\n{header.read_text()}")
    cell = OneCell.of(project.root, "kernel=7,arch=x86_64")
    shown = {it.probe for it in cell.expectations.said() if it.program}
    result = cell.run(only=lambda ask: ask.probe in shown)
    assert result.outcome is Outcome.RAN, result.cause
    usable = {row.probe: row.verdict for row in cell.expectations.rows(result) if row.details.get("usable")}
    assert len(usable) > 10
    whole = {probe for probe, verdict in usable.items() if verdict not in {Verdict.BROKEN, Verdict.NOT_APPLICABLE}}
    assert not whole, "these claims hold, or have no answer, although their programs call nothing"
