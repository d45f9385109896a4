"""A kernel's .config: what is set, what is not, and what is not known."""

from __future__ import annotations

from pathlib import Path

from runner.kernels.config import read_config

TEXT = """\
# Automatically generated file; DO NOT EDIT.
CONFIG_NF_NAT=m
# CONFIG_NET_FOU is not set
CONFIG_BPF_JIT=y
CONFIG_HZ=250
CONFIG_NF_NAT_OLD=y
"""


def test_values(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(TEXT)
    found = read_config(path, ("NF_NAT", "NET_FOU", "BPF_JIT", "HZ", "NF", "UNHEARD_OF"))
    assert found == {"NF_NAT": "m", "NET_FOU": "n", "BPF_JIT": "y", "HZ": "250", "NF": "n", "UNHEARD_OF": "n"}


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert read_config(tmp_path / "none", ("NF_NAT",)) == {}
    (tmp_path / "empty").write_text("not a config\n")
    assert read_config(tmp_path / "empty", ("NF_NAT",)) == {}
