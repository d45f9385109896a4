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
    tc, xdp = text.split("## XDP programs")[0].split("## TC programs")[1], text.split("## XDP programs")[1]
    x, four = "○ <sup>1</sup>", " | ? <sup>3</sup> | ? <sup>4</sup> |"
    assert f"| `bpf_skb_ct_alloc` | {' | '.join('✓' * 6)}{four}" in tc
    assert f"| `bpf_skb_ct_alloc` | {' | '.join([x] * 6)}{four}" in xdp
    assert f"| `bpf_ct_set_nat_info` | ✓ | - <sup>2</sup> | ✓ | ✓ | ✓ | ✓{four}" in tc
    assert "| 7.3.4 | arm64 | `7.3.4+deb13-arm64` |" in text
    assert "`runner cell show 6.12.117-x86_64 --probe xdp-ct-lookup-1:xdp`" in text
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) >= 3
    assert [len({line.count("|") for line in table.splitlines()}) for table in tables] == [1] * len(tables)


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
