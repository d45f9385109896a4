# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The list of names: read and grown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import UserError
from runner.kernels.needs import MODULES
from runner.model.version import KernelVersion
from runner.probes import OPTIONS, Expectations
from runner.probes.census.answers import CensusBody
from runner.probes.files import KfuncList, load_kfuncs
from tests.samples import ROOT
from tests.unit.agent_samples import claims, expectations

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
SEEN = st.lists(st.tuples(NAMES, st.sampled_from(["vmlinux", "fou", "nf_nat"])))


def test_the_list_is_what_the_rest_needs() -> None:
    known = load_kfuncs(ROOT)
    assert len(known.names) >= 350
    assert set(known.modules) <= set(MODULES), "a module that is not taken from the packages cannot be loaded"
    assert {holder.config for name, holder in known.objects.items() if name != "vmlinux"} <= set(OPTIONS)
    assert set(claims()[0].kfunc_names) <= known.names


def test_every_name_is_asked_about_and_every_module_loaded() -> None:
    known = load_kfuncs(ROOT)
    asks = expectations(known).asks(KernelVersion.parse("6.12"))
    census = [ask for ask in asks if ask.kind == "census"]
    assert [ask.probe for ask in census] == ["census:tc", "census:xdp"]
    assert [set(CensusBody.model_validate(ask.body).kfuncs) for ask in census] == [known.names] * 2
    assert Expectations.load(ROOT, ["conntrack"]).modules == (
        "nf_conntrack",
        "nf_nat",
        "fou",
        "nf_flow_table",
        "xfrm_interface",
    )


@settings(max_examples=50)
@given(SEEN, SEEN)
def test_growing_adds_and_never_takes_away(first: list[tuple[str, str]], second: list[tuple[str, str]]) -> None:
    known = KfuncList().grown(first)
    grown = known.grown(second)
    assert grown.names == {name for name, _ in first + second}
    assert all(holder in grown.homes[name] for name, holder in first + second)
    assert grown.grown(first) == grown
    assert grown == KfuncList().grown(second + first)


def test_a_wrong_list_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "bpf").mkdir()
    (tmp_path / "bpf/kfuncs.yaml").write_text("objects:\n  vmlinux:\n    kfuncs:\n      - bpf_ok\n      - not a name\n")
    with pytest.raises(UserError, match=r"kfuncs\.yaml:5: "):
        load_kfuncs(tmp_path)


def test_without_a_list_of_its_own_a_project_has_the_shipped_one(tmp_path: Path) -> None:
    assert load_kfuncs(tmp_path) == load_kfuncs(ROOT)
