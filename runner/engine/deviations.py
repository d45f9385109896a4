# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What two boots of one cell answered differently: raw answers, number by number; verdicts do not matter. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from runner.model import NO_ANSWER, Ask, CellResult, Deviation
from runner.probes.kinds import KINDS


def changed_answers(
    before: CellResult, after: CellResult, asks: Iterable[Ask], *, held: Collection[str] = ()
) -> tuple[Deviation, ...]:
    """What the second boot answered in another way, for each of these asks.

    Addresses in a log are not the kernel's answer, and neither is how far a timeout has run down. `held` are probes
    whose claims hold both times: what their programs counted may differ within what the claim says.
    """
    was, now = _told(before, after, held), _told(after, before, held)
    asked = {ask.probe: ask.only for ask in asks}
    return tuple(
        Deviation(what=what, before=was.get(what, NO_ANSWER), after=now.get(what, NO_ANSWER))
        for what in dict.fromkeys((*was, *now))
        if _is_asked(what, asked) and was.get(what, NO_ANSWER) != now.get(what, NO_ANSWER)
    )


def _is_asked(what: str, asked: Mapping[str, str]) -> bool:
    """`asked` has by the probe the item that alone was asked about; empty: all of it was."""
    probe, _, part = what.partition(", ")
    if probe in asked:
        return not part or asked[probe] in ("", part)
    # that an item crashed the kernel
    return any(probe.startswith(f"{it}:") and only in ("", probe.removeprefix(f"{it}:")) for it, only in asked.items())


def answered(result: CellResult, ask: Ask) -> bool:
    """Did the kernel say anything to it? A crash is an answer as well."""
    if any(_is_asked(crashed, {ask.probe: ask.only}) for crashed in result.crashed):
        return True
    return any(it.probe == ask.probe and not it.failed and ask.only in ("", it.item) for it in result.answers)


def _told(result: CellResult, other: CellResult, held: Collection[str]) -> dict[str, str]:
    """Each part of what came, by what it is: `alloc-tcp:tc, load errno`."""
    told = {crash.probe: "crashed the kernel" for crash in result.crashes}
    crashed = {*result.crashed, *other.crashed}
    for kind in KINDS.values():
        for probe, part, value in kind.told(result, held):
            if probe in crashed:
                told.setdefault(probe, "answered, and the kernel lived")
            else:
                told[f"{probe}, {part}"] = value
    return told
