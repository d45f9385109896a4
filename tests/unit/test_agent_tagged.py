"""The BTF of maps with a tagged pointer: the kernel wants the pointer, its tag and the structure in this order."""

from __future__ import annotations

import pytest

from runner.agent.btf import INT, PTR, STRUCT, TYPE_TAG, Btf
from runner.agent.objects import PREFIX, tagged_btf
from tests.unit.agent_samples import ROOT


@pytest.mark.parametrize("tag", ["kptr", "kptr_ref", "kptr_untrusted"])
def test_the_btf_is_what_the_kernel_looks_for(tag: str) -> None:
    found = Btf(tagged_btf(tag))
    assert [found.kind(type_id) for type_id in found.ids()] == [INT, STRUCT, TYPE_TAG, PTR, STRUCT]
    assert found.members(5) == {"entry": (0, 4)}
    assert (found.target(4), found.target(3)) == (3, 2)
    assert (found.name(3), found.name(2)) == (tag, "nf_conn")
    assert f"TAGGED({PREFIX}{tag})" in (ROOT / "bpf" / "conntrack_kptr.bpf.c").read_text()
