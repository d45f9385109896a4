# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The schema of matrix.yaml, for editors."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from runner.kernels.fields import Series
from runner.matrix import json_schema
from tests.samples import ROOT


def test_the_committed_schema_is_the_code() -> None:
    assert json.loads((ROOT / "matrix.schema.json").read_text()) == json_schema(), "`make schema` writes it again"


def test_every_key_of_the_schema_is_described() -> None:
    schema = TypeAdapter(dict[str, object]).validate_python(json_schema())
    definitions = TypeAdapter(dict[str, dict[str, object]]).validate_python(schema["$defs"])
    keyed = {name: it for name, it in definitions.items() if "properties" in it}  # the others are words
    for name, definition in {"matrix.yaml": schema, **keyed}.items():
        properties = TypeAdapter(dict[str, dict[str, object]]).validate_python(definition["properties"])
        bare = [key for key, value in properties.items() if not value.get("description")]
        assert not bare, f"{name}: {bare}"


@given(st.from_regex(r"[1-9][0-9]{0,2}(\.[0-9]{1,5}){0,2}", fullmatch=True) | st.text(max_size=8))
def test_the_schemas_pattern_of_a_series_is_the_codes(text: str) -> None:
    adapter = TypeAdapter(Series)
    pattern = str(adapter.json_schema()["pattern"])
    try:
        adapter.validate_python(text)
        taken = True
    except ValidationError:
        taken = False
    assert taken == bool(re.fullmatch(pattern.removesuffix("$"), text))
