# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Tables that are committed: every field, equal for equal answers."""

from __future__ import annotations

import re

from runner.model import Timings, Verdict
from runner.reports.markdown import availability_markdown
from runner.results.model import JudgedRun
from tests.unit import results_samples as samples


def test_markdown_tables_hold_every_field() -> None:
    text = availability_markdown(samples.mixed_run())
    assert "| kfunc | type | 6.1.192 | 6.12.117 | 6.18.15 | 7.3.4 |" in text
    last = "? <sup>4</sup>/? <sup>5</sup> |"
    assert f"| `bpf_skb_ct_alloc` | tc | ✓ | ✓ | ✓ | {last}" in text
    assert f"| `bpf_skb_ct_alloc` | xdp | ○ | ○ | ○ | {last}" in text, "the one cause of a state is told once"
    assert "○ registered (wrong context: R1 is ctx expected STRUCT \\_\\_sk_buff)" in text
    assert f"| `bpf_ct_set_nat_info` | tc, xdp | ✓/- | ✓ | ✓ | {last}" in text
    assert "several marks: x86_64/arm64" in text
    assert "| 7.3.4 | arm64 | `7.3.4+deb13-arm64` |" in text
    assert "`runner cell show 6.12.117-x86_64 --probe xdp-ct-lookup-1:xdp`" in text
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) >= 3
    assert [len({line.count("|") for line in table.splitlines()}) for table in tables] == [1] * len(tables)


def test_what_is_alike_everywhere_has_a_line_by_its_states() -> None:
    text = availability_markdown(samples.clean_run())
    same = text[text.index("## Where they do not: kfuncs") :]
    assert "- ✓ usable (tc, xdp): `bpf_ct_change_status`, " in same
    assert "- ○ registered (xdp): `bpf_skb_ct_alloc`, `bpf_skb_ct_lookup`\n" in same
    assert "- on no kernel (xdp): `bpf_dynptr_from_skb`\n" in same, "every kfunc is there, also without a claim"


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
    assert "Nothing: everything has an answer, and it is as expected." in below_the_heading(first)


def test_markdown_of_hostile_answers_stays_a_list() -> None:
    judged = samples.with_claim(
        samples.clean_run(), "6.1.192-arm64", 0, verdict=Verdict.BROKEN, observed="<img src=x>|`a`\n# head\n\x1b[2J"
    )
    assert "  - observed: \\<img src=x\\>\\|\\`a\\` # head\n" in availability_markdown(judged)
