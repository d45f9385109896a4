# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Why a program, a map or an object was not loaded: one word for the cause, and a name. Pure.

libbpf's texts are those of 1.1 to 1.7; the verifier's own are in runner.probes.verifier.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from runner.model.words import ERRNO, errno_name
from runner.probes.verifier import plain_words, platform_trouble, steady, verdict_line

REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class Cause:
    """`word` is of the tables below, `name` is what it is about: a kfunc, a map; `words` are the kernel's."""

    word: str
    name: str = ""
    words: str = ""

    def __str__(self) -> str:
        about = f"{self.word} {self.name}".rstrip()
        return f"{about}: {self.words}" if self.words and self.word != REFUSED else self.words or about


# (word, pattern; its group is the name). The first that is found counts: what libbpf says before the verifier's words.
_SAID_BY_LIBBPF = (
    ("untyped", r"prog '([^']+)': missing BPF prog type, check ELF section name"),
    ("extern", r"extern \((?:func|var) ksym\) '([^']+)': (?:not found|func_proto .* incompatible|incompatible)"),
    ("extern", r"extern (?:\(\w+\) )?'([^']+)'[^\n]*(?:not found|failed to resolve|unrecognized)"),
    ("extern", r"failed to find BTF (?:info|ID) for extern '?([^'\n]+?)'?(?:\[|:|$)"),
    ("tail-call", r"map '([^']+)': failed to initialize slot"),
    ("map", r"map '([^']+)': failed to (?:create|auto-create|initialize)"),
    ("target", r"prog '([^']+)': attach program FD is not set"),
    ("target", r"struct_ops init_kern [^:\n]+: [Cc]annot find member (\S+) in kernel BTF"),
    ("target", r"struct_ops init_kern ?[^:\n]*: struct (?:bpf_struct_ops_)?(\S+) is not found in kernel BTF"),
    ("target", r"failed to find kernel BTF type ID of '([^']+)'"),
    ("target", r"prog '[^']+': (?:attach target|.*attach_btf_id)[^\n']*'([^']+)'"),
    ("core", r"prog '[^']+': relo #\d+: (?:no matching targets found|failed to relocate[^\n]*) ?(?:for )?([^\n]*)"),
    ("core", r"(?:failed to find valid kernel BTF|Error loading vmlinux BTF|kernel BTF is missing)()"),
)
_SAID_BY_VERIFIER = (
    ("extern", r"kfunc '([^']+)' is referenced but wasn't resolved"),
    ("map", r"BPF map '([^']+)' is referenced but wasn't created"),
    ("core", r"failed to resolve CO-RE relocation <\w+> \[\d+\] ([^\n(]+)"),
    ("core", r"invalid func unknown#195896080()"),
    ("extern", r"invalid func unknown#200[2-9]\d{6}()"),
    ("extern", r"calling kernel function (\S+) is not allowed"),
    ("helper", r"program of this type cannot use helper (\S+)"),
    ("helper", r"unknown func (\S+)"),
    ("helper", r"(?:cannot call|cannot use) helper (\S+)"),
    ("helper", r"invalid func (\S+)#\d+"),
    ("too-large", r"BPF program is too large\. Processed (\d+) insn"),
    ("too-large", r"The sequence of (\d+) jumps is too complex"),
    ("tail-call", r"tail_calls are not allowed()"),
    ("target", r"attach_btf_id (\S+) is not a (?:function|tracepoint)"),
)
_NUMBERED = re.compile(r" fd=\d+|(?<!slot) \[\d+\]")  # descriptors and BTF ids: others on each boot and kernel
_SAYS_NOTHING = re.compile(r"failed to load|-- (?:BEGIN|END) PROG LOAD LOG --$")
_NO_CONFIG = "failed to open system Kconfig"
_LIBBPF = tuple((word, re.compile(pattern, re.MULTILINE)) for word, pattern in _SAID_BY_LIBBPF)
_VERIFIER = tuple((word, re.compile(pattern, re.MULTILINE)) for word, pattern in _SAID_BY_VERIFIER)


def cause_of(errno: int, words: str, log: str, *, supported: bool | None, is_map: bool = False) -> Cause:
    """What refused it. `words` are libbpf's, `log` is the verifier's; `supported`: has the kernel this type at all?"""
    said = plain_words(log)
    for table, text in ((_VERIFIER, said), (_LIBBPF, words)):
        for word, pattern in table:
            if found := pattern.search(text):
                return Cause(word, found[1].strip(), _line(text, found.start()))
    last = verdict_line(log) or _last_line(words) or f"-{errno_name(errno)}"
    if supported is False and not said.strip():
        return Cause("map" if is_map else "type", "", f"the kernel does not have this type: -{errno_name(errno)}")
    if errno == ERRNO["E2BIG"]:
        return Cause("too-large", "", last)
    return Cause(REFUSED, "", last)


def _last_line(words: str) -> str:
    """What libbpf said last but that it failed."""
    said = [it for it in words.splitlines() if it.startswith("libbpf: ") and not _SAYS_NOTHING.search(it)]
    return _line(said[-1], 0) if said else ""


def _line(text: str, place: int) -> str:
    """The line at that place, as libbpf or the verifier said it, without addresses."""
    line = text[text.rfind("\n", 0, place) + 1 :].partition("\n")[0]
    return _NUMBERED.sub("", steady(line.removeprefix("libbpf: ").strip()))


def not_attached(errno: int, words: str) -> Cause:
    """Why what was loaded could not be attached. `words` are libbpf's."""
    said = [line.removeprefix("libbpf: ") for line in words.splitlines() if line.startswith("libbpf: ")]
    return Cause("attach", "", steady(said[0]) if said else f"-{errno_name(errno)}")


def trouble(errno: int, words: str, log: str) -> str:
    """Why a refusal says nothing about the program; empty when it does. `words` are libbpf's."""
    if _NO_CONFIG in words:
        return "the kernel's configuration is not known"
    return platform_trouble(errno, log) if errno != ERRNO["ENOSPC"] else ""
