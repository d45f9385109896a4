# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Reports of one cell and of one probe."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from runner.errors import UserError
from runner.model import Crash, Root
from runner.probes.claims.answers import Observation
from runner.reports.cell import cell_report, probe_report
from tests.answers import with_answers
from tests.unit import results_samples as samples
from tests.unit.rendering import render

OOPS = "BUG: unable to handle page fault for address: dead\n\x1b]0;screen\x07RIP: 0010:nf_nat_setup_info+0x1/0x2\n"


def test_cell_report_tells_everything() -> None:
    judged = samples.mixed_run()
    text = render(cell_report(judged.cell("6.1.192-arm64"), console_path="reports/runs/x/console.log"))
    for part in (
        "linux-image-6.1.192-arm64 6.1.192-1 (trixie-backports, arm64)",
        "b" * 64,
        "host-a (tcg)",
        "prepare 0.2, boot 6.5, probe 5.2, total 12.2",
        "Claims: holds 100, no answer 2",
        "module nf_nat did not load",
        "in no BTF; not in the BTF of vmlinux nor of nf_nat, which is loaded",
        "Console, last lines of reports/runs/x/console.log",
        "  [  OK  ] reached\n",
    ):
        assert part in text
    assert text.index("ct-set-nat-info-10:tc") < text.index("skb-ct-lookup-0:tc")  # what is open comes first
    probes = [row.probe for row in judged.cells[1].rows if row.verdict]
    assert probes
    assert [probe for probe in probes if f" {probe} " in text] == probes


def test_report_of_a_cell_that_never_finished() -> None:
    text = render(cell_report(samples.mixed_run().cell("7.3.4-x86_64")))
    assert "infrastructure failed: never finished" in text
    assert "there is no console log" in text
    assert "attempts  0" in text


def test_probe_report_shows_the_raw_observation() -> None:
    cell = samples.mixed_run().cell("6.12.117-x86_64")
    seen = Observation(
        probe=cell.rows[3].probe,
        load_errno=524,
        log="first\n\x1b[31m[red]second[/red]\n\x1b]0;x\x07third",
        run_errno=None,
        fields={"error": -22, "mask": 255},
    )
    rows = tuple(replace(row, log=seen.log) if row.probe == seen.probe else row for row in cell.rows)
    result = with_answers(cell.result, claims=(seen,))
    cell = cell.model_copy(update={"result": result, "rows": rows})
    text = render(probe_report(cell, seen.probe, says="opts__sz must be 12", source="ebpf-docs: bpf_skb_ct_alloc"))
    for part in (
        "says      opts__sz must be 12",
        "source    ebpf-docs: bpf_skb_ct_alloc",
        "expected  error -EINVAL",
        "observed  error 0",
        "verdict   broken",
        "load      -524 (-ENOTSUPP)",
        "run       never got that far",
        "error     -22 (-EINVAL)",
        "mask      255 (0xff)",
        "  first\n  [red]second[/red]\n  third\n",
    ):
        assert part in text


def test_probe_without_an_observation_says_why() -> None:
    judged = samples.mixed_run()
    probe = judged.cells[0].rows[0].probe
    assert "the guest never answered it" in render(probe_report(judged.cell("7.3.4-arm64"), probe))
    crashed = judged.cell("7.3.4-arm64")
    crashed = crashed.model_copy(
        update={"result": crashed.result.model_copy(update={"crashes": (Crash(probe=probe, oops=OOPS),)})}
    )
    shown = render(probe_report(crashed, probe))
    assert "it took the guest down" in shown
    assert "RIP: 0010:nf_nat_setup_info" in shown
    assert "screen" not in shown


def test_unknown_probe_names_the_nearest() -> None:
    with pytest.raises(UserError) as caught:
        probe_report(samples.clean_run().cells[0], "skb-ct-lokup-0:tc")
    assert "skb-ct-lookup-0:tc" in caught.value.hint


def test_the_console_of_a_probe_is_what_came_while_it_was_asked() -> None:
    cell = samples.mixed_run().cell("6.12.117-x86_64")
    probe = cell.rows[3].probe
    said = ("Linux version 6.12", "runner: begin other:tc", "of another", f"runner: begin {probe}", "of this one")
    text = "".join(f"[    {at}.000000] {words}\n" for at, words in enumerate((*said, *said)))
    result = cell.result.model_copy(update={"console": f"{text}qemu: of nobody\n"})
    shown = render(probe_report(cell.model_copy(update={"result": result}), probe))
    assert "Console while it was asked\n  [    4.000000] of this one\n  [    9.000000] of this one\n" in shown
    assert "of another" not in shown
    assert "runner: begin" not in render(cell_report(cell.model_copy(update={"result": result})))


@pytest.mark.parametrize(("root", "said"), [("disk", "root +the image's disk"), ("9p", "root .* 9p")])
def test_the_report_says_what_the_guest_had_as_its_root(root: Root, said: str) -> None:
    cell = samples.mixed_run().cell("6.1.192-arm64")
    booted = cell.model_copy(update={"result": cell.result.model_copy(update={"root": root})})
    assert re.search(said, render(cell_report(booted)))
