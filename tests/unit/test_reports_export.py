# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The JSON that scripts rely on."""

from __future__ import annotations

import json

from runner.reports.export import export, exported_cell, to_json
from runner.results.model import JudgedCell
from tests.unit import results_samples as samples


def test_export_has_the_promised_shape() -> None:
    document = json.loads(to_json(export(samples.mixed_run())))
    assert list(document) == ["schema", "run", "cells", "known_issues", "programs"]
    assert document["schema"] == 1
    assert list(document["run"]) == ["id", "started", "finished", "matrix_sha256", "runner_version", "slots", "kind"]
    assert document["run"]["kind"] == "matrix"
    assert document["run"]["started"] == "2026-11-03T10:15:01Z"
    assert [cell["id"] for cell in document["cells"]] == [cell.id for cell in samples.CELLS]
    cell = document["cells"][1]
    promised = ["id", "kernel", "arch", "outcome", "cause", "host", "accel", "attempts", "timings", "claims", "census"]
    assert [key for key in cell if key in promised] == promised
    assert list(cell["kernel"])[:6] == ["name", "version", "release", "source", "vendor", "sha256"]
    assert list(cell["kernel"])[6:] == ["variant", "compiler", "pahole", "lacks"]  # added since
    assert list(cell["timings"]) == ["prepare_s", "boot_s", "probe_s", "total_s"]
    for key, fields in {
        "claims": {"id", "kfunc", "prog_type", "verdict", "expected", "observed", "crashed"},
        "census": {"kfunc", "object", "prog_type", "state", "errno", "log"},
    }.items():
        assert fields <= set.intersection(*map(set, cell[key]))
    assert cell["outcome"] == "ran"
    assert cell["kernel"]["version"] == "6.1.192"
    assert len(cell["claims"]) == 102
    assert {"kfunc": "bpf_ct_set_nat_info", "prog_type": "tc", "state": "absent", "object": ""}.items() <= next(
        entry for entry in cell["census"] if entry["kfunc"] == "bpf_ct_set_nat_info"
    ).items()


def test_export_holds_cells_that_never_finished() -> None:
    cells = {cell["id"]: cell for cell in json.loads(to_json(export(samples.mixed_run())))["cells"]}
    missing = cells["7.3.4-x86_64"]
    assert (missing["outcome"], missing["attempts"], missing["kernel"]["sha256"]) == ("infrastructure failed", 0, None)
    assert missing["cause"].startswith("never finished")
    assert {claim["verdict"] for claim in missing["claims"]} == {"no answer"}
    assert cells["7.3.4-arm64"]["outcome"] == "boot failed"


def test_export_is_the_same_for_answers_in_another_order() -> None:
    def reversed_claims(of: JudgedCell) -> JudgedCell:
        return of.model_copy(update={"rows": of.rows[::-1]})

    judged = samples.mixed_run()
    turned = judged.model_copy(update={"cells": tuple(reversed_claims(cell) for cell in judged.cells)})
    assert to_json(export(turned)) == to_json(export(judged))


def test_export_is_safe_to_print() -> None:
    judged = samples.with_claim(samples.clean_run(), "6.1.192-arm64", 0, observed="\x1b[31m \x9b31m \u202e")
    text = to_json(export(judged))
    assert text.isascii()
    assert "\x1b" not in text
    assert "\x1b[31m \x9b31m \u202e" in {claim["observed"] for claim in json.loads(text)["cells"][1]["claims"]}


def test_one_cell_is_exported_alike() -> None:
    judged = samples.mixed_run()
    whole = json.loads(to_json(export(judged)))
    assert json.loads(to_json(exported_cell(judged.cells[2]))) == whole["cells"][2]
