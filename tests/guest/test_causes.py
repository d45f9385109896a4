# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Something is taken from a real guest: the answers change to the right cause, and never to "absent"."""

from __future__ import annotations

import re
from pathlib import Path

from runner.model import CellResult, Outcome, Row, State, Verdict
from tests.guest.conftest import Project
from tests.guest.inprocess import OneCell

CELL = "kernel=6.12,arch=x86_64"
PROBES = ("conntrack", "traffic")


def conntrack_states(cell: OneCell, result: CellResult) -> list[Row]:
    """Of the kfuncs that every kernel here has; the census also names those that came later."""
    mine = {name for file in cell.expectations.files for name in file.family.kfunc_names}
    return [row for row in cell.expectations.rows(result) if row.state and row.subject in mine]


def verdicts(cell: OneCell, result: CellResult) -> set[tuple[str, Verdict, str]]:
    assert result.outcome is Outcome.RAN, result.cause
    assert State.ABSENT not in {state.state for state in conntrack_states(cell, result)}
    rows = cell.expectations.rows(result)
    return {(row.probe.rpartition(":")[0], row.verdict, row.cause) for row in rows if row.verdict}


def test_without_the_jit_nothing_is_known(project: Project) -> None:
    cell = OneCell.of(project.root, CELL, *PROBES)
    result = cell.run(words="sysctl.net.core.bpf_jit_enable=0")
    assert result.facts.jit == "0"
    said = verdicts(cell, result)
    open_ = {(verdict, cause) for _, verdict, cause in said if verdict is not Verdict.NOT_APPLICABLE}
    assert open_ == {(Verdict.NO_ANSWER, "the BPF JIT is off")}
    found = {(state.state, state.cause) for state in conntrack_states(cell, result)}
    assert found == {(State.NO_ANSWER, "the BPF JIT is off")}


def test_without_a_module_its_kfuncs_have_no_answer(project: Project) -> None:
    cell = OneCell.of(project.root, CELL, *PROBES)
    result = cell.run(words="module_blacklist=nf_nat")
    reason = result.facts.modules["nf_nat"]
    assert "Operation not permitted" in reason
    said = verdicts(cell, result)
    unanswered = {name: cause for name, verdict, cause in said if verdict is Verdict.NO_ANSWER}
    assert {"nat-source", "nat-destination", "set-nat-info-found"} <= unanswered.keys()
    assert set(unanswered.values()) == {f"module nf_nat did not load: {reason}"}
    answered = {(name, verdict) for name, verdict, _ in said if name not in unanswered}
    assert {verdict for _, verdict in answered} <= {Verdict.HOLDS, Verdict.NOT_APPLICABLE}
    assert ("alloc-tcp", Verdict.HOLDS) in answered, "what needs another module alone is asked"
    failed = {answer.failed for answer in result.answers if answer.failed} - {f"module nf_nat did not load: {reason}"}
    assert len(failed) == 1  # the first failure of the traffic
    nat = {state.cause for state in conntrack_states(cell, result) if state.subject == "bpf_ct_set_nat_info"}
    assert nat == {f"module nf_nat did not load: {reason}"}


def test_another_prototype_is_told_from_a_missing_kfunc(project: Project) -> None:
    change_prototype(project.root)
    cell = OneCell.of(project.root, CELL, *PROBES)
    said = verdicts(cell, cell.run())
    differs = {name for name, verdict, cause in said if verdict is Verdict.NO_ANSWER and "signature differs" in cause}
    assert {"set-timeout", "timeout-default", "change-timeout"} <= differs
    assert {verdict for name, verdict, _ in said if name not in differs} <= {Verdict.HOLDS, Verdict.NOT_APPLICABLE}


def change_prototype(root: Path) -> None:
    """bpf_ct_set_timeout takes a pointer, as the programs have it."""
    for name, old, new in (
        ("conntrack_kfuncs.h", r"(bpf_ct_set_timeout, \(struct nf_conn___init \*), __u32 msec", r"\1, void *msec"),
        *(
            (f"{name}.h", r"(bpf_ct_set_timeout\(.+), (set_timeout_ms|\d+)\);", r"\1, (void *)1000);")
            for name in ("conntrack_programs", "conntrack_details", "traffic_programs")
        ),
    ):
        path = root / "bpf" / name
        changed, times = re.subn(old, new, path.read_text())
        assert times > 0
        path.write_text(changed)


def test_without_the_btf_of_a_module_its_kfuncs_have_no_answer(project: Project) -> None:
    cell = OneCell.of(project.root, CELL, *PROBES)
    tree = cell.copy_tree(project.root / "tree")
    (module,) = tree.rglob("nf_conntrack.ko")
    strip_btf(module)
    result = cell.run(tree=tree)
    assert result.facts.modules["nf_conntrack"] == ""
    assert "nf_conntrack" not in result.facts.btf
    cause = "module nf_conntrack has no BTF in this kernel"
    assert (("alloc-tcp", Verdict.NO_ANSWER, cause)) in verdicts(cell, result)
    assert {state.cause for state in conntrack_states(cell, result)} == {cause}


def strip_btf(module: Path) -> None:
    """Gives its section another name. The file is replaced: it is a hard link into the cache."""
    content = unsigned(module.read_bytes())
    module.unlink()
    module.write_bytes(content.replace(b"\0.BTF\0", b"\0.OFF\0"))


def unsigned(module: bytes) -> bytes:
    """Without the signature at its end, which would be wrong now: that is refused, no signature is not."""
    magic = b"~Module signature appended~\n"
    if not module.endswith(magic):
        return module
    end = len(module) - len(magic)
    signature_bytes = int.from_bytes(module[end - 4 : end], "big")  # the last member of struct module_signature
    return module[: end - 12 - signature_bytes]
