# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A cell of another machine is booted again, from an export; the guests are fakes."""

from __future__ import annotations

import base64
import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import cli
from runner.errors import UserError
from runner.probes.claims.answers import observations
from runner.reports.export import imported_cell
from tests.integration.repro_fixture import ID, OBJECT, PROBE, VERSION, Guests, asked, guests, project, runner, template
from tests.unit import agent_samples

__all__ = ["guests", "project", "template"]  # fixtures


def exported(project: Path) -> Path:
    path = project / "export.json"
    words = ["report", "export", "--output", str(path), "--matrix", str(project / "matrix.yaml")]
    assert cli.run(words) == 0
    return path


def test_an_export_is_enough_to_boot_the_cell_again(
    project: Path, guests: Callable[..., Guests], capsys: pytest.CaptureFixture[str]
) -> None:
    booted, path = guests(), exported(project)
    shutil.rmtree(project / "reports")
    assert runner(project, "repro", ID, "--from", str(path), "--probe", PROBE) == 0
    assert booted.orders[0].cell == agent_samples.cell(VERSION)
    out = capsys.readouterr().out
    assert "export.json, booted once more" in out
    assert "Note:" not in out


def test_what_comes_back_from_an_export_is_what_went_in(project: Path) -> None:
    found = imported_cell(exported(project).read_bytes(), ID, "export.json")
    stored = agent_samples.result(VERSION)
    assert observations(found.result) == observations(stored)
    assert found.asked == asked(stored.cell).cells[ID]
    assert list(found.objects.values()) == [OBJECT]


def hostile(document: dict[str, Any], part: str) -> dict[str, Any]:
    (cell,) = document["cells"]
    digest = next(iter(document["programs"]))
    match part:
        case "no recipe":
            del cell["recipe"]
        case "a path for a name":
            cell["recipe"]["cell"]["kernel"]["release"] = "../../etc"
        case "another program":
            document["programs"][digest] = base64.b64encode(zlib.compress(b"other")).decode()
        case "a program that is not packed":
            document["programs"][digest] = base64.b64encode(b"other").decode()
        case "a list":
            document["cells"] = [1]
        case "another cell":
            cell["id"] = "6.1.1-x86_64"
        case "an answer of another kind":
            cell["claims"][0]["observation"] = {"load_errno": "x"}
    return document


@pytest.mark.parametrize(
    "part",
    [
        "no recipe",
        "a path for a name",
        "another program",
        "a program that is not packed",
        "a list",
        "another cell",
        "an answer of another kind",
    ],
)
def test_a_wrong_export_is_the_users_mistake(project: Path, part: str) -> None:
    document = hostile(json.loads(exported(project).read_text()), part)
    with pytest.raises(UserError, match=r"export\.json"):
        imported_cell(json.dumps(document).encode(), ID, "export.json")


def test_a_file_that_is_no_json_is_the_users_mistake() -> None:
    for text in (b"", b"[]", b"{", b"[" * 100_000, b"\xff"):
        with pytest.raises(UserError, match="x is not an export"):
            imported_cell(text, ID, "x")
