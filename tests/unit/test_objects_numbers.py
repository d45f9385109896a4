# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the verifier counted: as it is shown, exported, and compared by veristat."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from pydantic import JsonValue

from runner.model import Answer, CellResult
from runner.probes.objects import KIND
from runner.probes.objects.judge import rows_of
from runner.probes.verifier import numbers
from runner.reports.export import veristat_csv
from runner.reports.summary import run_report
from runner.results.model import JudgedCell, JudgedRun, Run
from runner.results.packed import written
from tests.unit.rendering import render
from tests.unit.test_objects_judge import LOADED, REFUSED, result, rows, user_object

SLOWER: dict[str, JsonValue] = {**LOADED, "duration_us": 9000}


def judged(seen: CellResult) -> JudgedCell:
    return JudgedCell(result=seen, rows=tuple(rows_of(seen, user_object())))


def test_numbers_are_those_of_the_verifier() -> None:
    assert numbers(LOADED) == {
        "insns": 15, "states": 2, "peak_states": 1, "max_states_per_insn": 0, "mark_read": 0, "stack_depth_bytes": 24,
        "prog_insns": 17, "prog_bytes": 144, "jited_bytes": 94,
    }  # fmt: skip
    assert numbers({"errno": 0}) == {}
    log = (
        "stack depth max 128\nsubprog 0 (syncookie_tc) main insns_self 4501 insns_total 14667 stack 144\n"
        "subprog 1 (parse) static insns_self 10166 insns_total 10166 stack 8\nprocessed 14667 insns (limit 1000000)"
        " max_states_per_insn 12 total_states 456 peak_states 1258 mark_read 0\n"
    )
    counted = numbers({"errno": 0, "log": log})  # as 7.3 says it
    assert (counted["stack_depth_bytes"], counted["insns"], counted["peak_states"]) == (152, 14667, 1258)
    assert rows(result(good=LOADED))["good"].details["numbers"] == numbers(LOADED)


def test_veristat_reads_a_line_of_each_program() -> None:
    refused = {**REFUSED, "type": "xdp", "attach_type": "xdp", "prog_insns": 5}
    seen = result(good=LOADED, bad=refused, map={"errno": 0}, together={**REFUSED, "culprit": "bad"})
    renamed = [it.model_copy(update={"item": "map:counts"}) if it.item == "map" else it for it in seen.answers]
    assert veristat_csv(judged(seen.model_copy(update={"answers": tuple(renamed)}))) == (
        "file_name,prog_name,verdict,duration,total_insns,total_states,peak_states,max_states_per_insn,"
        "max_mark_read_len,prog_size,prog_size_jited,prog_type,attach_type,stack_depth,mem_peak\n"
        "lb.bpf.o,bad,failure,0,0,0,0,0,0,5,0,xdp,xdp,0,-1\n"
        "lb.bpf.o,good,success,67,15,2,1,0,0,17,94,sched_cls,cgroup_inet_ingress,24,-1\n"
    )


def test_what_has_no_answer_is_no_line_of_veristat() -> None:
    lost = result(good=LOADED)
    failed = Answer(kind="objects", probe="lb", item="bad", failed="gone")
    table = veristat_csv(judged(lost.model_copy(update={"answers": (*lost.answers, failed)})))
    assert [line.split(",")[1] for line in table.splitlines()] == ["prog_name", "good"]
    assert not veristat_csv(judged(CellResult(cell=lost.cell, outcome=lost.outcome)))


def test_how_long_it_took_is_no_part_of_the_answer() -> None:
    fast, slow = result(good=LOADED), result(good=SLOWER)
    assert written(fast)[1] == written(slow)[1]
    assert rows(fast) == rows(slow)
    assert list(KIND.told(fast)) == list(KIND.told(slow))
    other: dict[str, JsonValue] = {**LOADED, "jited_bytes": 95}
    assert written(fast)[1] != written(result(good=other))[1]


def test_the_export_has_the_numbers_and_the_file() -> None:
    seen = result(good=LOADED, together={"errno": 0, "peak_mem_mib": 3})
    by_name = {str(it["name"]): it for it in KIND.exported(seen, judged(seen).rows)}
    good, whole = by_name["good"], by_name["@together"]
    assert (good["file"], good["sha256"], good["up_to"], good["reached"]) == ("lb.bpf.o", "0" * 64, "load", "load")
    assert good["numbers"] == numbers(LOADED)
    assert whole["numbers"] == {"peak_mem_mib": 3}


def test_the_grid_shows_a_number_in_place_of_the_mark() -> None:
    seen = result(good=LOADED, bad=REFUSED)
    shown = render(run_report(judged_run(seen), stats="insns"))
    assert re.search(r"^good +tc +│ 15$", shown, re.MULTILINE)
    assert re.search(r"^bad +│ ✗ 1$", shown, re.MULTILINE)
    assert re.search(r"^good +tc +│ 94$", render(run_report(judged_run(seen), stats="jited_bytes")), re.MULTILINE)
    assert re.search(r"^good +tc +│ ✓$", render(run_report(judged_run(seen))), re.MULTILINE)


def judged_run(seen: CellResult) -> JudgedRun:
    started = datetime(2026, 11, 3, tzinfo=UTC)
    run = Run(
        id="load-20261103-101501-3fa9", started=started, finished=started, matrix_sha256="0" * 64, runner_version="1",
        cells=(seen.cell,), results=(seen,),
    )  # fmt: skip
    return JudgedRun(run=run, cells=(judged(seen),))
