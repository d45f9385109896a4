# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Writes a program that a guest ran (runner/agent/calls.py) as C, to be compiled like those of bpf/. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_AREA, _VALUE = 1024, 16384  # of runner/agent/calls.py
_SECTIONS = {
    "socket_filter": "socket", "sched_act": "action", "cgroup_skb": "cgroup_skb/ingress", "lsm": "lsm/file_open",
    "tracing": "fentry/bpf_fentry_test1", "raw_tracepoint": "raw_tp/sys_enter",
}  # fmt: skip
_PLAIN = frozenset({"void", "char", "short", "int", "long", "signed", "unsigned", "float", "double", "_Bool", "..."})
_TYPEDEFS = {
    "bool": "_Bool", "size_t": "unsigned long", "s8": "__s8", "s16": "__s16", "s32": "__s32", "s64": "__s64",
    "u8": "__u8", "u16": "__u16", "u32": "__u32", "u64": "__u64",
}  # fmt: skip
_MAP = f"""\
struct {{
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u8[{_VALUE}]);
}} map SEC(".maps");
"""
# A type of the kernel has a name of its own here: its content does not matter, and linux/bpf.h may declare it.
_TYPE = re.compile(r"\b(struct|union|enum) (\w+)")


def source(
    program: Mapping[str, Any], prototypes: Mapping[str, str], contents: Mapping[str, bytes], prog_type: str, title: str
) -> str:
    """`contents` of the memory, by what it is for. Empty where a prototype is missing, or the program is none."""
    try:
        names = sorted({name for name, _ in _calls(program["body"]) if name in prototypes})
        if not all(prototypes[name] for name in names):
            return ""
        declared = [prototypes[name] for name in names]
        body = [*_slots(program), *_block(program["body"], "\t")]
        areas = list(_areas(program["areas"]))
        filled = list(_filled(program["areas"], contents))
    except (KeyError, TypeError, ValueError, IndexError):
        return ""
    text = "\n".join(body)
    parts = [
        f"// {title}\n#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n",
        "\n".join([*_types(declared), *(f"extern {_TYPE.sub(_renamed, it)} __ksym;" for it in declared)]) + "\n",
        *(["\n".join(["/* in memory:", *(f" * {line}" for line in areas), " */"])] if areas else []),
        *(
            [f'__u8 memory[{_VALUE}] SEC(".data.memory") = {{{", ".join(filled) or "0"}}};']
            if "(memory" in text
            else []
        ),
        *(['const char text[64] = "probe";'] if re.search(r"\btext\b", text) else []),
        *([_MAP] if "&map" in text else []),
        f'__u64 returned = 0;\n\nSEC("{_SECTIONS.get(prog_type, prog_type)}")\nint probe(void *context)\n{{',
        f'{text}\n\treturn 0;\n}}\n\nchar LICENSE[] SEC("license") = "GPL";\n',
    ]
    return "\n".join(parts)


def _calls(body: Sequence[Any]) -> Iterator[tuple[str, Sequence[Any]]]:
    """The functions that statements call, each with its arguments."""
    for word, what, *more in body:
        if word == "call":
            yield str(what), more[0]
        elif word == "if":
            yield from _calls(more[0])


def _renamed(found: re.Match[str]) -> str:
    return f"{found[1]} {found[2]}___kernel"


def _types(prototypes: Sequence[str]) -> Iterator[str]:
    """What the prototypes need besides linux/bpf.h."""
    used = dict.fromkeys(found.groups() for it in prototypes for found in _TYPE.finditer(it))
    for word, name in used:
        yield f"{word} {name}___kernel {{{f' {name}___none ' if word == 'enum' else ''}}};"
    words = {re.sub(r"\b(const|volatile)\b", "", it).split()[0] for text in prototypes for it in _parts(text)}
    for name in sorted(words - _PLAIN):
        if not name.startswith("__"):
            yield f"typedef {_TYPEDEFS.get(name, 'int')} {name};"


def _parts(prototype: str) -> Iterator[str]:
    """What is returned, and each parameter, of which the type is no structure."""
    head, _, tail = prototype.partition("(")
    for part in (head, *tail.rstrip(")").split(",")):
        if part.strip() and not _TYPE.search(part):
            yield part


def _areas(areas: Sequence[Sequence[Any]]) -> Iterator[str]:
    for number, (size, what) in enumerate(areas, 1):
        yield f"{_AREA * number}: {int(size)} bytes, {str(what).replace('*/', '')}"


def _filled(areas: Sequence[Sequence[Any]], contents: Mapping[str, bytes]) -> Iterator[str]:
    for number, (size, what) in enumerate(areas, 1):
        for at, value in enumerate(contents.get(what, b"")[:size]):
            if value:
                yield f"[{_AREA * number + at}] = {value:#x}"


def _slots(program: Mapping[str, Any]) -> Iterator[str]:
    """Those of which the address is taken."""
    arguments = [it for _, given in _calls(program["body"]) for it in given]
    taken = {it[1] for it in arguments if isinstance(it, list) and it[0] == "stack"}
    for number in sorted(taken):
        yield f"\t__u64 s{number}[{(int(program['slots'][number]) + 7) // 8}];"


def _block(body: Sequence[Any], indent: str) -> Iterator[str]:
    for word, what, *more in body:
        if word == "call":
            made = "" if more[1] is None else f"__auto_type v{int(more[1])} = "
            yield f"{indent}{made}{what}({', '.join(map(_argument, more[0]))});"
        elif word == "if":
            yield f"{indent}if (v{int(what)}) {{"
            yield from _block(more[0], f"{indent}\t")
            yield f"{indent}}}"
        elif what is not None:
            yield f"{indent}returned = (__u64)v{int(what)};"


def _argument(argument: Any) -> str:
    if isinstance(argument, int):
        return str(argument) if abs(argument) < 1 << 31 else f"{argument:#x}"
    word, at = argument[0], int(argument[-1]) if len(argument) > 1 else 0
    return {
        "context": f"context + {at}" if at else "context",
        "area": f"(void *)(memory + {_AREA * (at + 1)})",
        "end": f"(void *)(memory + {_VALUE - at})",
        "stack": f"(void *)s{at}",
        "value": f"(void *)v{at}",
        "text": "text",
        "map": "(void *)&map",
    }[word]
