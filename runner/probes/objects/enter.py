# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Adds entries of `expect:` to the text of bpf/NAME.yaml; comments and layout stay as they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from runner.errors import UserError
from runner.probes.objects.learn import Learned
from runner.probes.objects.objectfile import name_of


def shown(entries: Sequence[Learned], why: str, files: Mapping[str, str]) -> str:
    """The entries as a new file would have them. `files` are the paths of the objects, by id."""
    return entered("objects:\n", entries, why, files, "") if entries else ""


def entered(text: str, entries: Sequence[Learned], why: str, files: Mapping[str, str], path: str) -> str:
    """`text` is of the file at `path`, which is a mapping. Raises UserError for a layout that is not understood."""
    by_object: dict[str, list[str]] = defaultdict(list)
    for each in entries:
        by_object[each.of].append(f"- {_flow(each.entry(why))}")
    for object_, lines in by_object.items():
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        objects = _value(root, "objects")
        listed = objects.value if isinstance(objects, yaml.SequenceNode) else ()
        mine = next((it for it in listed if isinstance(it, yaml.MappingNode) and _is_of(it, object_)), None)
        if mine is None:
            new = [f"- {_flow({'id': object_})[1:-1]}", f"  {_flow({'file': files[object_]})[1:-1]}", "  expect:"]
            added = [*new, *(f"    {line}" for line in lines)]
            if isinstance(objects, yaml.SequenceNode):
                text = _after(text, objects, [" " * objects.start_mark.column + line for line in added], path)
            else:
                text = text.rstrip("\n") + "\n" + ("" if objects else "objects:\n") + _joined(f"  {it}" for it in added)
        elif isinstance(expect := _value(mine, "expect"), yaml.SequenceNode):
            text = _after(text, expect, [" " * expect.start_mark.column + line for line in lines], path)
        else:
            column = " " * mine.start_mark.column
            text = _after(text, mine, [f"{column}expect:", *(f"{column}  {line}" for line in lines)], path)
    return text


def _flow(entry: Mapping[str, object]) -> str:
    """The value in YAML, on one line."""
    return str(
        yaml.safe_dump(dict(entry), default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True)
    ).strip()


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)


def _is_of(node: yaml.Node, object_: str) -> bool:
    """Is this entry about the object: by its id, or by its file's name, which may be a pattern?"""
    id_, file = _value(node, "id"), _value(node, "file")
    if id_ is not None:
        return bool(id_.value == object_)
    return file is not None and fnmatchcase(object_, name_of(Path(str(file.value))))


def _after(text: str, node: yaml.CollectionNode, added: Sequence[str], path: str) -> str:
    """The text with these lines behind the last line of a sequence or mapping, which stands on lines of its own."""
    if node.flow_style:
        line = node.start_mark.line + 1
        raise UserError(f"{path}:{line}: an entry is added only where each stands on a line of its own", hint=_HINT)
    last: yaml.Node = node
    while isinstance(last, yaml.CollectionNode) and last.value and not last.flow_style:
        item = last.value[-1]
        last = item[1] if isinstance(item, tuple) else item
    lines = text.splitlines(keepends=True)
    at = last.end_mark.line + (1 if last.end_mark.column else 0)
    while at and not lines[at - 1].strip():
        at -= 1
    if not lines[at - 1].endswith("\n"):
        lines[at - 1] += "\n"
    return "".join([*lines[:at], _joined(added), *lines[at:]])


_HINT = "write it without brackets, or add what `runner probes learn` prints by hand"
