# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Reading YAML that people write: every refusal names its line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

from runner import yamlfile
from runner.errors import UserError
from runner.model import Plain


class Small(Plain):
    name: str
    level: int = 0


class Sample(Plain):
    title: str
    items: Annotated[tuple[Small, ...], Field(min_length=1, max_length=3)]
    ratio: float = 1.0
    by_name: dict[str, Small] = Field(default={})


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "file.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def complaint(folder: Path, text: str | bytes) -> str:
    """What is said about a file that must be refused, without the folder."""
    with pytest.raises(UserError) as caught:
        yamlfile.validate(yamlfile.load(written(folder, text)), Sample)
    return str(caught.value).replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "file.yaml:1: the file must be a mapping (`key: value`), not empty"),
        ("# only\n# comments\n", "file.yaml:1: the file must be a mapping (`key: value`), not empty"),
        ("\n- a\n", "file.yaml:2: the file must be a mapping (`key: value`), not a list"),
        ("word", "file.yaml:1: the file must be a mapping (`key: value`), not a single value"),
        ("a: 1\nb: 2\na: 3\n", "file.yaml:3: the key 'a' is there already, in line 1"),
        ("a:\n  b: 1\n  b: 2\n", "file.yaml:3: the key 'b' is there already, in line 2"),
        ("a: 1\n---\nb: 2\n", "file.yaml:2: not YAML: expected a single document"),
        ("a: &x 1\nb: *x\n", "file.yaml:1: anchors and aliases"),
        ("a: 1\nb: !!python/object/apply:os.system [id]\n", "file.yaml:2: tags ("),
        ("a: !mine {}\n", "file.yaml:1: tags (!mine)"),
        ("a: !!binary aGVsbG8=\n", "file.yaml:1: tags ("),
        ("6.1: x\n", "file.yaml:1: the key '6.1' must be text: put it in quotes"),
        ("? [1]\n: x\n", "file.yaml:1: the key must be text"),
        ("a: .inf\n", "file.yaml:1: '.inf' is not a value"),
        ("a: " + "9" * 5000, "file.yaml:1: '99999"),
        ("a: 0x" + "f" * 5000, "file.yaml:1: '0xfffff"),
        ("a: !!int b\n", "file.yaml:1: 'b' is not a value"),
        ("a: 1\nb: [1\n", "not YAML"),
        ("a: 1\n\tb: 2\n", "file.yaml:2: not YAML"),
        ("a: \x01\n", "file.yaml:1: not YAML"),
        (b"a: 1\nb: caf\xe9\n", "file.yaml:2: not UTF-8: byte 0xe9"),
        ("a: 1\n".encode("utf-16"), "file.yaml:1: not UTF-8"),
        ("\na: " + "[" * 40, "file.yaml:2: nested deeper than 32 levels"),
        ("\na: " + "[" * 100_000, "nest"),  # libyaml may refuse it first, in its own words
        ("a: " + "x" * (1 << 20), "file.yaml: larger than 1 MiB"),
    ],
)
def test_what_is_not_plain_yaml_is_refused(tmp_path: Path, text: str | bytes, expected: str) -> None:
    assert expected in complaint(tmp_path, text)


def test_a_billion_laughs_are_refused_before_they_grow(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    assert complaint(tmp_path, "\n".join(lines)).startswith("file.yaml:1: anchors and aliases")


@pytest.mark.parametrize("name", [".", "none.yaml"])
def test_a_file_that_cannot_be_read_is_the_users_mistake(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r" is a folder|: cannot be read: No such file"):
        yamlfile.load(tmp_path / name)


def test_what_to_do_is_said_only_where_there_is_no_file(tmp_path: Path) -> None:
    hints = []
    for name in (".", "none.yaml"):
        with pytest.raises(UserError) as caught:
            yamlfile.load(tmp_path / name, absent="write one")
        hints.append(caught.value.hint)
    assert hints == ["a file is needed", "write one"]


def test_every_problem_is_listed_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = """\
title: 7
items:
  - {name: a, levl: 1}
  - name: b
    level: "2"
  - 5
rtio: 2
"""
    assert complaint(tmp_path, text).splitlines() == [
        "file.yaml:1: title: should be text, not 7",
        "file.yaml:3: items[0].levl: unknown key; did you mean 'level'?",
        'file.yaml:5: items[1].level: should be a whole number, not "2"',
        "file.yaml:6: items[2]: should be a mapping (key: value), not 5",
        "file.yaml:7: rtio: unknown key; did you mean 'ratio'?",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("items: [{name: a}]", "file.yaml:1: the key 'title' is missing"),
        ("title: x\nitems:\n- level: 1", "file.yaml:3: items[0]: the key 'name' is missing"),
        ("title: x\nitems: []", "file.yaml:2: items: needs at least 1"),
        ("title: x\nitems: [{name: a}, {name: a}, {name: a}, {name: a}]", "file.yaml:2: items: at most 3 are allowed"),
        ("title: x\nitems: {name: a}", "file.yaml:2: items: should be a list, not a mapping"),
        ("title: yes\nitems: [{name: a}]", "file.yaml:1: title: should be text, not true"),
        ("title: x\nitems: [{name: a, level: true}]", "should be a whole number, not true"),
        (
            "title: x\nitems: [{name: a}]\nby_name:\n  b:\n    nme: c",
            "file.yaml:5: by_name.b.nme: unknown key; did you mean",
        ),
        ("title: x\nitems: [{name: a, zzzz: 1}]", "unknown key; known: level, name"),
    ],
)
def test_a_wrong_shape_is_named_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in complaint(tmp_path, text)


def test_a_good_file_becomes_the_model(tmp_path: Path) -> None:
    text = "\ufefftitle: 2024-01-01\nitems:\n- name: a\n  level: 3\nratio: 2\n"
    document = yamlfile.load(written(tmp_path, text))
    sample = yamlfile.validate(document, Sample)
    assert sample == Sample(title="2024-01-01", items=(Small(name="a", level=3),), ratio=2.0)
    assert document.line(("items", 0, "level")) == 4
    assert document.line(("items", 0, "not there")) == 3
    assert document.line(("nowhere",)) == 1


def test_a_flood_of_problems_is_cut(tmp_path: Path) -> None:
    text = "title: x\nitems: [{name: a}]\n" + "".join(f"k{n}: 1\n" for n in range(1000))
    assert len(complaint(tmp_path, text).splitlines()) == yamlfile.MAX_PROBLEMS


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(), plain, max_size=4))
def test_plain_data_comes_back_as_it_was_written(tmp_path: Path, data: dict[str, yamlfile.Yaml]) -> None:
    text = yaml.safe_dump(data)
    if "&id" in text:  # safe_dump's own anchors for one object that is there twice
        return
    assert yamlfile.load(written(tmp_path, text)).data == data


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.binary(max_size=200) | st.text(alphabet="ab:-[]{}&*!|>?#'\"%\n\t ,.0", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused_with_a_place(tmp_path: Path, raw: bytes) -> None:
    path = written(tmp_path, raw)
    try:
        document = yamlfile.load(path)
    except UserError as error:
        assert str(error).startswith(f"{path}:")  # noqa: PT017  there need not be an error
    else:
        assert all(isinstance(key, str) for key in document.data)
