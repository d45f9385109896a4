"""Summary, Markdown, cell and probe reports, JSON and exit status say what the run says."""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console, RenderableType

from runner.errors import MatrixError
from runner.model import Crash, KfuncState, KnownIssue, Observation, Outcome, ProgType, State, Timings, Verdict
from runner.reports.cell import cell_report, probe_report
from runner.reports.exitcode import exit_code
from runner.reports.export import export, exported_cell, to_json
from runner.reports.markdown import availability_markdown
from runner.reports.summary import Summary, run_report
from runner.results.model import JudgedCell, JudgedRun, judge_run
from tests.unit import results_samples as samples

OOPS = "BUG: unable to handle page fault for address: dead\n\x1b]0;screen\x07RIP: 0010:nf_nat_setup_info+0x1/0x2\n"


def render(what: RenderableType, width: int = 120) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(what)
    text = out.getvalue()
    assert "\x1b" not in text
    assert not any(line.endswith(" ") for line in text.splitlines())
    return text


# --- exit status ----------------------------------------------------------------------------------------------------


def test_clean_run_is_0() -> None:
    assert exit_code(samples.clean_run()) == 0


@pytest.mark.parametrize("cell", range(8))
def test_missing_cell_is_never_0(cell: int) -> None:
    results = [samples.result(each) for at, each in enumerate(samples.CELLS) if at != cell]
    judged = samples.judged(*results)
    assert exit_code(judged) == 2
    # not even when the judge has nothing to say about a cell without a result
    silent = judge_run(judged.run, judge=lambda _: (), states=samples.states)
    assert exit_code(silent) == 2


def test_run_without_cells_or_questions_is_not_0() -> None:
    assert exit_code(samples.judged(cells=())) == 2
    run = samples.run(samples.result(samples.CELLS[0]), cells=samples.CELLS[:1])
    assert exit_code(judge_run(run, judge=lambda _: (), states=lambda _: ())) == 2


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [(Outcome.BOOT_FAILED, 1), (Outcome.LOST, 2), (Outcome.INFRA_FAILED, 2), (Outcome.SKIPPED, 2)],
)
def test_outcome_decides(outcome: Outcome, expected: int) -> None:
    results = [samples.result(cell) for cell in samples.CELLS[:-1]]
    assert exit_code(samples.judged(*results, samples.result(samples.CELLS[-1], outcome, "x"))) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"verdict": Verdict.BROKEN}, 1),
        ({"verdict": Verdict.NO_ANSWER, "crashed": True}, 1),
        ({"verdict": Verdict.NO_ANSWER}, 2),
        ({"verdict": Verdict.NOT_APPLICABLE}, 0),
    ],
)
def test_one_verdict_decides(changes: dict[str, object], expected: int) -> None:
    assert exit_code(samples.with_claim(samples.clean_run(), "6.18.15-x86_64", 7, **changes)) == expected


def test_broken_wins_over_unanswered() -> None:
    assert exit_code(samples.mixed_run()) == 1


def test_probe_that_crashed_or_was_never_asked_decides_without_a_verdict() -> None:
    for field, value, expected in (("crashes", Crash(probe="some:tc"), 1), ("unasked", "some:tc", 2)):
        results = [samples.result(cell) for cell in samples.CELLS]
        results[3] = results[3].model_copy(update={field: (value,)})
        assert exit_code(samples.judged(*results)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 2),
        ({"hidden": True}, 0),  # the kernel has answered, but with another refusal: it always will
        ({"prog_type": ProgType.NETFILTER}, 0),  # 6.1 has no such programs
    ],
)
def test_open_states_decide_when_something_can_be_done(changes: dict[str, object], expected: int) -> None:
    found = KfuncState(kfunc="bpf_x", object="", prog_type=ProgType.TC, state=State.NO_ANSWER, cause="c")
    more = found.model_copy(update=changes)
    run = samples.clean_run().run
    judged = judge_run(run, judge=samples.verdicts, states=lambda of: (*samples.states(of), more))
    assert exit_code(judged) == expected


# --- known issues ---------------------------------------------------------------------------------------------------

ISSUE = KnownIssue(id="btf-twice", what="Two \x1b[31mtypes.", reason="The build.", link="docs/findings.md#x")


def with_known_issue(issue: KnownIssue = ISSUE) -> JudgedRun:
    judged = samples.clean_run()
    if not issue.gone:
        judged = samples.with_claim(
            judged, "6.18.15-x86_64", 7, verdict=Verdict.BROKEN, observed="error 0", known_issue=issue.id
        )
    return judged.model_copy(update={"known_issues": (issue,)})


def test_known_issue_is_shown_apart_and_does_not_fail_the_run() -> None:
    judged = with_known_issue()
    assert exit_code(judged) == 0
    shown = render(Summary(judged))
    assert "Broken claims" not in shown
    assert "Known issues\n  ! btf-twice  6.18.15 (x86_64)" in shown
    assert "docs/findings.md#x" in shown
    assert "1 broken; 1 of the broken ones by known issues" in shown
    text = availability_markdown(judged)
    assert (
        "Nothing: every other claim has an answer, and it holds.\n\n## Known issues\n\n- **known issue**: btf" in text
    )
    document = json.loads(to_json(export(judged)))
    assert document["known_issues"] == [{**ISSUE.model_dump(), "what": "Two \x1b[31mtypes."}]
    marked = [claim for cell in document["cells"] for claim in cell["claims"] if claim["known_issue"]]
    assert [(claim["verdict"], claim["known_issue"]) for claim in marked] == [("broken", "btf-twice")]
    assert "known issue" in render(cell_report(judged.cell("6.18.15-x86_64")))


def test_known_issue_excuses_nothing_else() -> None:
    judged = with_known_issue()
    assert exit_code(samples.with_claim(judged, "6.18.15-x86_64", 8, verdict=Verdict.BROKEN)) == 1
    assert exit_code(samples.with_claim(judged, "6.18.15-x86_64", 8, verdict=Verdict.NO_ANSWER)) == 2
    assert exit_code(samples.with_claim(judged, "6.18.15-x86_64", 7, crashed=True)) == 1


def test_known_issue_that_is_gone_is_reported_so_that_it_gets_deleted() -> None:
    judged = with_known_issue(ISSUE.model_copy(update={"gone": True}))
    assert exit_code(judged) == 0
    shown = render(Summary(judged))
    assert "Known issues that are gone" in shown
    assert "delete its entry in bpf/known-issues.yaml" in shown
    assert "delete its entry" in availability_markdown(judged)


# --- JSON -----------------------------------------------------------------------------------------------------------


def test_export_has_the_promised_shape() -> None:
    document = json.loads(to_json(export(samples.mixed_run())))
    assert list(document) == ["schema", "run", "cells", "known_issues", "programs"]
    assert document["schema"] == 1
    assert list(document["run"]) == ["id", "started", "finished", "matrix_sha256", "runner_version", "slots"]
    assert document["run"]["started"] == "2026-11-03T10:15:01Z"
    assert [cell["id"] for cell in document["cells"]] == [cell.id for cell in samples.CELLS]
    cell = document["cells"][1]
    promised = ["id", "kernel", "arch", "outcome", "cause", "host", "accel", "attempts", "timings", "claims", "census"]
    assert [key for key in cell if key in promised] == promised
    assert list(cell["kernel"])[:5] == ["name", "version", "release", "source", "sha256"]
    assert list(cell["kernel"])[5:] == ["variant", "compiler", "pahole", "lacks"]  # added since
    assert list(cell["timings"]) == ["prepare_s", "boot_s", "probe_s", "total_s"]
    for key, fields in {
        "claims": {"id", "kfunc", "prog_type", "verdict", "expected", "observed", "crashed"},
        "census": {"kfunc", "object", "prog_type", "state", "errno", "log"},
    }.items():
        assert all(fields <= set(entry) for entry in cell[key])
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
        return of.model_copy(update={"claims": of.claims[::-1], "states": of.states[::-1]})

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


# --- summary --------------------------------------------------------------------------------------------------------


def test_clean_summary_is_short() -> None:
    assert render(Summary(samples.clean_run())).splitlines() == [
        "8 cells: 8 ran",
        "816 claims: 816 hold",
        "52.0 s in all; the cells took 98.0 s, 49.0 s on each of 2 slots (94% of the run)",
    ]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_summary_names_all_that_is_wrong_and_how_to_look_at_it(width: int) -> None:
    text = render(Summary(samples.mixed_run()), width)
    for cell in ("6.1.192-arm64", "6.12.117-x86_64", "6.18.15-arm64", "7.3.4-x86_64", "7.3.4-arm64"):
        assert re.search(rf"^  {re.escape(cell)} ", text, re.MULTILINE)
    assert not re.search(r"^  6\.1\.192-x86_64 ", text, re.MULTILINE)
    titles = ["Crashed the kernel", "Did not boot", "Broken claims", "Cells without an answer", "No answer"]
    assert [line for line in text.splitlines() if line in titles] == titles
    for command in (
        "runner cell show 6.18.15-arm64 --probe ct-release-2:xdp",
        "runner cell show 7.3.4-arm64",
        "runner cell show 6.12.117-x86_64 --probe xdp-ct-lookup-1:xdp",
        "runner cell show 7.3.4-x86_64",
        "runner cell show 6.1.192-arm64 --probe ct-set-nat-info-10:tc",
    ):
        assert f"    {command}\n" in text  # whole, on a line of its own
    assert text.count("--probe xdp-ct-lookup-1:xdp") == 1  # one finding for both architectures
    assert "8 cells: 6 ran, 1 boot failed, 1 infrastructure failed" in text
    assert "816 claims: 607 hold, 3 broken, 206 no answer" in text


def test_summary_tells_open_kfuncs_that_no_claim_is_about() -> None:
    judged = samples.clean_run()
    states = [
        state.model_copy(update={"state": State.NO_ANSWER, "cause": "BTF refused"})
        if "dynptr" in state.kfunc
        else state
        for state in judged.cells[0].states
    ]
    cells = (judged.cells[0].model_copy(update={"states": tuple(states)}), *judged.cells[1:])
    opened = judged.model_copy(update={"cells": cells})
    assert exit_code(opened) == 2
    text = render(Summary(opened))
    assert "? bpf_dynptr_from_skb (tc), bpf_dynptr_from_skb (xdp)  6.1.192 (x86_64)" in text
    assert "BTF refused" in text


def test_time_of_a_killed_run_is_not_invented() -> None:
    judged = samples.clean_run()
    killed = judged.model_copy(update={"run": judged.run.model_copy(update={"finished": None, "slots": None})})
    assert "the run did not come to its end; the cells took 98.0 s\n" in render(Summary(killed))


def test_repeated_cell_is_told_although_it_ran() -> None:
    lost = samples.result(samples.CELLS[0], Outcome.LOST, "ssh dropped")
    judged = samples.judged(lost, *(samples.result(cell) for cell in samples.CELLS))
    assert re.search(r"6\.1\.192-x86_64 +ran +2 attempts", render(Summary(judged)))
    assert "attempt 1  lost: ssh dropped" in render(cell_report(judged.cells[0]))
    assert "the cells took 118.0 s" in render(Summary(judged))  # what the lost attempt took as well


def test_commands_of_an_older_run_name_it() -> None:
    text = render(run_report(samples.mixed_run(), is_last=False))
    run_id = samples.mixed_run().run.id
    assert f"    runner cell show 6.12.117-x86_64 --probe xdp-ct-lookup-1:xdp --run {run_id}\n" in text
    assert text.count("runner cell show") == text.count(f"--run {run_id}") == 5


def test_report_of_a_run_is_grid_and_summary() -> None:
    text = render(run_report(samples.mixed_run(), every_hint="--all"))
    assert text.index("bpf_ct_release") < text.index("Why") < text.index("Broken claims") < text.index("8 cells")


# --- Markdown -------------------------------------------------------------------------------------------------------


def test_markdown_tables_hold_every_field() -> None:
    text = availability_markdown(samples.mixed_run())
    tc, xdp = text.split("## XDP programs")[0].split("## TC programs")[1], text.split("## XDP programs")[1]
    x, four = "○ <sup>1</sup>", " | ? <sup>3</sup> | ? <sup>4</sup> |"
    assert f"| `bpf_skb_ct_alloc` | {' | '.join('✓' * 6)}{four}" in tc
    assert f"| `bpf_skb_ct_alloc` | {' | '.join([x] * 6)}{four}" in xdp
    assert f"| `bpf_ct_set_nat_info` | ✓ | - <sup>2</sup> | ✓ | ✓ | ✓ | ✓{four}" in tc
    assert "| 7.3.4 | arm64 | `7.3.4+deb13-arm64` |" in text
    assert "`runner cell show 6.12.117-x86_64 --probe xdp-ct-lookup-1:xdp`" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_markdown_is_equal_for_equal_answers() -> None:
    def below_the_heading(of: JudgedRun) -> str:
        text = availability_markdown(of)
        return text[text.index("## Kernels") :]

    slower = [
        samples.result(cell, seed=9).model_copy(
            update={"timings": Timings(total_s=99.0), "host": "other", "attempts": 2}
        )
        for cell in samples.CELLS
    ]
    first, second = samples.clean_run(), samples.judged(*slower)
    second = second.model_copy(update={"run": second.run.model_copy(update={"id": "another"})})
    assert below_the_heading(first) == below_the_heading(second)
    assert below_the_heading(first) != below_the_heading(samples.mixed_run())
    assert "Nothing: every claim has an answer, and it holds." in below_the_heading(first)


def test_markdown_of_hostile_answers_stays_a_list() -> None:
    judged = samples.with_claim(
        samples.clean_run(), "6.1.192-arm64", 0, verdict=Verdict.BROKEN, observed="<img src=x>|`a`\n# head\n\x1b[2J"
    )
    assert "  - observed: \\<img src=x\\>\\|\\`a\\` # head\n" in availability_markdown(judged)


# --- one cell -------------------------------------------------------------------------------------------------------


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
    assert all(f" {claim.probe} " in text for claim in judged.cells[1].claims)


def test_report_of_a_cell_that_never_finished() -> None:
    text = render(cell_report(samples.mixed_run().cell("7.3.4-x86_64")))
    assert "infrastructure failed: never finished" in text
    assert "there is no console log" in text
    assert "attempts  0" in text


def test_probe_report_shows_the_raw_observation() -> None:
    cell = samples.mixed_run().cell("6.12.117-x86_64")
    seen = Observation(
        probe=cell.claims[3].probe,
        load_errno=524,
        log="first\n\x1b[31m[red]second[/red]\n\x1b]0;x\x07third",
        run_errno=None,
        fields={"error": -22, "mask": 255},
    )
    cell = cell.model_copy(update={"result": cell.result.model_copy(update={"observations": (seen,)})})
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
    probe = judged.cells[0].claims[0].probe
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
    with pytest.raises(MatrixError) as caught:
        probe_report(samples.clean_run().cells[0], "skb-ct-lokup-0:tc")
    assert "skb-ct-lookup-0:tc" in caught.value.hint
