"""A cell is booted again, from the store and from an export; the guests are fakes."""

from __future__ import annotations

import base64
import io
import json
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from runner import cli
from runner.cli import earlier, holding, repro
from runner.cli.earlier import Payload
from runner.cli.judging import Knowledge
from runner.cli.options import Project
from runner.deadline import Deadline
from runner.errors import MatrixError
from runner.execution.again import asked_of
from runner.execution.cellrun import Tell, run_cell
from runner.execution.machine import Machine
from runner.execution.orders import CellOrder, WorkerOrders
from runner.guest.interface import BootOrder, Guest
from runner.model import Asked, Cell, CellResult, Look, Observation, Outcome
from runner.probes import load_issues, load_kfuncs
from runner.reports.imported import imported_cell
from runner.results.asked import read_asked, write_asked
from runner.results.looks import read_look, write_look
from runner.results.merge import merge
from runner.results.store import ResultStore
from tests import fakes
from tests.unit import agent_samples
from tests.unit import results_samples as samples

ROOT = Path(__file__).parents[2]
VERSION = "6.12.117"
ID = f"{VERSION}-x86_64"
PROBE = "insert-then-found:tc"
RUN = "night"
OBJECT = b"\x7fELF of no use"
LOOK = Look(
    probe=PROBE, log="0: R1=ctx()\n", translated="9500000000000000", jited_bytes=40, kernel=("eth0: \x1b[31mup",)
)


@cache
def knowledge() -> Knowledge:
    """The real one; reading it takes longer than all that is tested here."""
    return Knowledge(agent_samples.claims(), load_kfuncs(ROOT), load_issues(ROOT))


def asked(cell: Cell) -> Asked:
    """What the real claims ask this kernel, with a program that could not run."""
    order = CellOrder(cell=cell, asks=agent_samples.transcript(VERSION).asks, modules=("nf_conntrack",))
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        info = tarfile.TarInfo("conntrack.bpf.o")
        info.size = len(OBJECT)
        archive.addfile(info, io.BytesIO(OBJECT))
    return asked_of(WorkerOrders(orders=(order,), payload={"little": tar.getvalue()}, folder="/"))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    shutil.copytree(ROOT / "bpf", root / "bpf")
    for name in ("matrix.yaml", "matrix.lock"):
        shutil.copy(ROOT / name, root / name)
    result = agent_samples.result(VERSION)
    with ResultStore(root / "reports" / "results.db") as store:
        store.begin(samples.run(cells=(result.cell,), run_id=RUN))
        store.add(RUN, result)
        store.finish(RUN, samples.STARTED)
    write_asked(root / "reports", RUN, asked(result.cell))
    return root


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(Knowledge, "of", lambda _: knowledge())
    shutil.copytree(template, tmp_path / "project")
    return tmp_path / "project"


@dataclass
class Guests:
    """In place of a boot: answers as `change` makes of what the store has."""

    change: Callable[[CellResult], CellResult]
    orders: list[CellOrder] = field(default_factory=list)

    def __call__(self, order: CellOrder, payload: bytes, machine: Machine, folder: Path, tell: Tell) -> CellResult:
        self.orders.append(order)
        asked_for = {ask.probe for ask in order.asks}
        result = agent_samples.result(VERSION)
        seen = tuple(one for one in result.observations if one.probe in asked_for)
        looks = (LOOK,) if order.look else ()
        return self.change(result.model_copy(update={"cell": order.cell, "observations": seen, "looks": looks}))


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Guests]:
    def install(change: Callable[[CellResult], CellResult] = lambda result: result) -> Guests:
        made = Guests(change)
        monkeypatch.setattr(repro, "run_cell", made)
        monkeypatch.setattr(earlier, "payload_again", lambda cell, objects, *_, **__: b"".join(objects.values()))
        monkeypatch.setattr(repro, "this_machine", fakes.fake_machine)
        return made

    return install


def runner(project: Path, *words: str) -> int:
    return cli.run(["cell", *words, "--matrix", str(project / "matrix.yaml")])


def with_field(value: int) -> Callable[[CellResult], CellResult]:
    def change(result: CellResult) -> CellResult:
        (seen,) = result.observations
        return result.model_copy(update={"observations": (seen.model_copy(update={"fields": {"found": value}}),)})

    return change


def test_one_probe_is_asked_again_closely(
    project: Path, guests: Callable[..., Guests], capsys: pytest.CaptureFixture[str]
) -> None:
    booted = guests()
    assert runner(project, "repro", ID, "--probe", PROBE) == 0
    (order,) = booted.orders
    assert ([ask.probe for ask in order.asks], order.look, order.modules) == ([PROBE], True, ("nf_conntrack",))
    out = capsys.readouterr().out
    assert "The answer is the same as the stored one." in out
    assert "Translated: 1 instructions, 40 bytes of machine code\n     0: (95) exit" in out
    assert "The kernel said meanwhile\n  eth0: up" in out
    assert "\x1b" not in out
    assert "Note:" not in out


@pytest.mark.parametrize(
    ("change", "ends"),
    [
        (with_field(0), (1, "Not the same as stored")),
        (lambda result: result.model_copy(update={"observations": ()}), (2, "no answer")),
        (
            lambda result: result.model_copy(update={"outcome": Outcome.LOST, "cause": "ssh dropped"}),
            (2, "says nothing about the kernel"),
        ),
        (
            lambda result: result.model_copy(update={"outcome": Outcome.BOOT_FAILED, "cause": "panic"}),
            (1, "then it ran, now it ended as boot failed"),
        ),
    ],
)
def test_another_answer_and_none_are_told_apart(
    project: Path,
    guests: Callable[..., Guests],
    capsys: pytest.CaptureFixture[str],
    change: Callable[[CellResult], CellResult],
    ends: tuple[int, str],
) -> None:
    guests(change)
    assert runner(project, "repro", ID, "--probe", PROBE) == ends[0]
    assert ends[1] in capsys.readouterr().out


def test_without_a_probe_everything_is_asked_that_was(
    project: Path, guests: Callable[..., Guests], capsys: pytest.CaptureFixture[str]
) -> None:
    booted = guests()
    assert runner(project, "repro", ID, "--format", "json") == 0
    assert booted.orders[0].asks == agent_samples.transcript(VERSION).asks
    assert not booted.orders[0].look
    document = json.loads(capsys.readouterr().out)
    assert (document["same"], document["changed"], document["notes"]) == (True, [], [])


def test_a_probe_that_was_not_asked_is_a_mistake_with_a_proposal(
    project: Path, guests: Callable[..., Guests], capsys: pytest.CaptureFixture[str]
) -> None:
    booted = guests()
    assert runner(project, "repro", ID, "--probe", "insert-then-fond:tc") == 64
    assert f"did you mean {PROBE!r}?" in capsys.readouterr().err
    assert booted.orders == []


def test_a_run_that_did_not_keep_what_it_asked_says_so(
    project: Path, guests: Callable[..., Guests], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guests()
    monkeypatch.setattr(repro, "payload_of", lambda *_, **__: Payload(b"", same=False))
    (project / "reports" / "runs" / RUN / "asked.json.gz").unlink()
    assert runner(project, "repro", ID, "--probe", PROBE) == 0
    assert "Note: the run did not keep what it asked" in capsys.readouterr().out


# --- from another machine ---------------------------------------------------------------------------------------------


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
    assert "export.json, booted again" in out
    assert "Note:" not in out


def test_what_comes_back_from_an_export_is_what_went_in(project: Path) -> None:
    found = imported_cell(exported(project).read_bytes(), ID, "export.json")
    stored = agent_samples.result(VERSION)
    claimed = {seen.probe: seen for seen in found.result.observations}
    assert claimed == {seen.probe: seen for seen in stored.observations}
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
    with pytest.raises(MatrixError, match=r"export\.json"):
        imported_cell(json.dumps(document).encode(), ID, "export.json")


def test_a_file_that_is_no_json_is_the_users_mistake() -> None:
    for text in (b"", b"[]", b"{", b"[" * 100_000, b"\xff"):
        with pytest.raises(MatrixError, match="x is not an export"):
            imported_cell(text, ID, "x")


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_a_look_is_kept_only_when_asked_for(
    project: Path, guests: Callable[..., Guests], capsys: pytest.CaptureFixture[str]
) -> None:
    guests()
    runner(project, "repro", ID, "--probe", PROBE)
    assert read_look(project / "reports", RUN, ID, PROBE) is None
    runner(project, "repro", ID, "--probe", PROBE, "--keep")
    assert read_look(project / "reports", RUN, ID, PROBE) == LOOK
    capsys.readouterr()
    assert runner(project, "show", ID, "--probe", PROBE) == 0
    assert "(95) exit" in capsys.readouterr().out
    assert runner(project, "repro", ID, "--keep") == 64


def test_damaged_files_beside_the_store_are_as_if_not_there(project: Path) -> None:
    reports = project / "reports"
    write_look(reports, RUN, ID, LOOK)
    for path in (reports / "runs" / RUN).rglob("*.json.gz"):
        path.write_bytes(b"\x1f\x8b\x08")
    assert read_asked(reports, RUN) is None
    assert read_look(reports, RUN, ID, PROBE) is None


def test_what_was_asked_comes_along_when_stores_are_joined(project: Path, tmp_path: Path) -> None:
    with ResultStore(tmp_path / "other" / "results.db") as store:
        merge(store, [project / "reports" / "results.db"])
        merge(store, [project / "reports" / "results.db"])
    assert read_asked(tmp_path / "other", RUN) == read_asked(project / "reports", RUN)


# --- guests that stay open --------------------------------------------------------------------------------------------


def test_a_guest_is_shown_before_the_questions_and_after_them(tmp_path: Path) -> None:
    seen: list[str] = []
    booted: list[bool] = []

    @contextmanager
    def boot(order: BootOrder, *, deadline: Deadline) -> Iterator[Guest]:
        booted.append(order.gdb)
        with fakes.fake_boot(order, deadline=deadline) as guest:
            yield guest

    machine = holding.OpenMachine(
        fakes.FakeMachine(boot=boot),
        before=lambda guest: seen.append(f"before {guest.access().ssh[0]}"),
        after=lambda guest: seen.append("after"),
        gdb=True,
    )
    result = run_cell(fakes.cell_order(), fakes.EMPTY_TAR, machine, tmp_path, lambda phase, note: None)
    assert (result.outcome, seen, booted) == (Outcome.RAN, ["before ssh", "after"], [True])


def test_what_failed_is_asked_again_in_a_guest_that_stays(
    project: Path, guests: Callable[..., Guests], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    booted = guests(lambda result: result)
    monkeypatch.setattr(holding, "run_cell", booted)
    monkeypatch.setattr(holding, "this_machine", fakes.fake_machine)
    result = agent_samples.result(VERSION)
    broken = [_broken(seen) for seen in result.observations]
    stored = result.model_copy(update={"observations": tuple(broken)})
    here = Project.at(project / "matrix.yaml")
    known = knowledge()
    run = samples.run(cells=(result.cell,), run_id=RUN).model_copy(update={"results": (stored,)})
    holding.hold_failures(here, known, known.judged(run), gdb=False, offline=True)
    assert [[ask.probe for ask in order.asks] for order in booted.orders] == [[PROBE]]
    holding.hold_failures(
        here, known, known.judged(run.model_copy(update={"results": (result,)})), gdb=False, offline=True
    )
    assert len(booted.orders) == 1


def _broken(seen: Observation) -> Observation:
    return seen.model_copy(update={"fields": seen.fields | {"found": 0}}) if seen.probe == PROBE else seen
