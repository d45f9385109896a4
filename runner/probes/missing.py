"""Why libbpf could not resolve what a program calls: the kernel lacks it, or has it with another prototype."""

from __future__ import annotations

from runner.model import CellResult
from runner.probes.claims import ClaimFile
from runner.probes.verifier import lacks_kfunc


def other_prototype(result: CellResult, file: ClaimFile, log: str) -> str:
    """Says so when a call was not resolved although the kernel's BTF holds every kfunc that there is to call.

    libbpf leaves a weak kfunc out, without a word, when its prototype is not the program's (bpf_core_types_are_compat).
    Empty when that is not what the evidence says.
    """
    if not lacks_kfunc(log) or absent_kfuncs(result, file):
        return ""
    found = {answer.kfunc for answer in result.census if answer.object}
    if not found.issuperset(file.kfunc_names):
        return ""  # not asked about: nothing is known
    return "signature differs: the kernel has every kfunc of the program, one with another prototype than the program's"


def absent_kfuncs(result: CellResult, file: ClaimFile) -> tuple[str, ...]:
    """The kfuncs of the file that were looked for in this kernel's BTF and are not there."""
    absent = set(result.missing)
    return tuple(name for name in file.kfunc_names if name in absent)


def missing_words(result: CellResult, file: ClaimFile, log: str) -> str:
    """What the program needs that this kernel does not have, once everything that could be loaded was."""
    if not lacks_kfunc(log):
        return "the program reads a field that this kernel does not have"
    absent = absent_kfuncs(result, file)
    return "the program needs a kfunc that this kernel does not have" + (f": {', '.join(absent)}" if absent else "")
