# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Adds entries of `expect:` to the text of bpf/NAME.yaml; comments and layout stay as they are.

There a kind lists what is the user's (`objects:`, `commands:`) under its own name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import yaml

from runner.errors import UserError
from runner.probes.lessons import Learned

IsOf = Callable[[Mapping[str, object], str], bool]  # is this entry, as it is written, about the probe?


@dataclass(frozen=True, slots=True)
class Listing:
    """What a kind lists under `name`. `begun`: how an entry that is not there begins, by the probe's id."""

    name: str
    begun: Mapping[str, Mapping[str, object]]
    is_of: IsOf


def entered(text: str, listing: Listing, entries: Sequence[Learned], why: str, path: str) -> str:
    """`text` is of the file at `path`, which is a mapping or empty.

    Raises UserError for a layout that is not understood.
    """
    by_probe: dict[str, list[str]] = defaultdict(list)
    for each in entries:
        by_probe[each.of].append(f"- {_flow(each.entry(why))}")
    for probe, lines in by_probe.items():
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        there = _value(root, listing.name)
        listed = there.value if isinstance(there, yaml.SequenceNode) else ()
        mine = next((it for it in listed if isinstance(it, yaml.MappingNode) and listing.is_of(_read(it), probe)), None)
        if mine is None:
            pairs = [_flow({key: value})[1:-1] for key, value in listing.begun[probe].items()]
            new = [f"{'  ' if number else '- '}{pair}" for number, pair in enumerate(pairs)]
            added = [*new, "  expect:", *(f"    {line}" for line in lines)]
            if isinstance(there, yaml.SequenceNode):
                text = _after(text, there, [" " * there.start_mark.column + line for line in added], path)
            elif there:  # the key, with nothing behind it
                text = _inserted(text, there.start_mark.line + 1, [f"  {it}" for it in added])
            else:
                head = text.rstrip("\n") + "\n" if text.strip() else ""
                text = f"{head}{listing.name}:\n" + _joined(f"  {it}" for it in added)
        elif isinstance(expect := _value(mine, "expect"), yaml.SequenceNode):
            text = _after(text, expect, [" " * expect.start_mark.column + line for line in lines], path)
        else:
            column = " " * mine.start_mark.column
            text = _after(text, mine, [f"{column}expect:", *(f"{column}  {line}" for line in lines)], path)
    return text


def _read(node: yaml.Node) -> Mapping[str, object]:
    found: Mapping[str, object] = yaml.SafeLoader("").construct_document(node)
    return found


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


def _after(text: str, node: yaml.CollectionNode, added: Sequence[str], path: str) -> str:
    """The text with these lines behind the last line of a sequence or mapping, which stands on lines of its own."""
    if node.flow_style:
        line = node.start_mark.line + 1
        raise UserError(f"{path}:{line}: an entry is added only where each stands on a line of its own", hint=_HINT)
    last: yaml.Node = node
    while isinstance(last, yaml.CollectionNode) and last.value and not last.flow_style:
        item = last.value[-1]
        last = item[1] if isinstance(item, tuple) else item
    lines = text.splitlines()
    at = last.end_mark.line + (1 if last.end_mark.column else 0)
    while at and not lines[at - 1].strip():
        at -= 1
    return _inserted(text, at, added)


def _inserted(text: str, at: int, added: Iterable[str]) -> str:
    """The text with these lines behind the first `at` ones."""
    lines = text.splitlines(keepends=True)
    if not lines[at - 1].endswith("\n"):
        lines[at - 1] += "\n"
    return "".join([*lines[:at], _joined(added), *lines[at:]])


_HINT = "write it without brackets, or add what `runner probes learn` prints by hand"
