"""What a guest is asked."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, JsonValue, StringConstraints

from runner.model.words import CellId, Plain, ProgType, SafeName, Sha256


class Attach(StrEnum):
    """How a program is attached to a device."""

    CLSACT = "clsact"  # TC, by a filter of the clsact queueing discipline
    TCX = "tcx"  # TC, by a link; since v6.6
    NATIVE = "native"  # XDP, in the driver
    GENERIC = "generic"  # XDP, behind it

    @property
    def prog_type(self) -> ProgType:
        return ProgType.TC if self in {Attach.CLSACT, Attach.TCX} else ProgType.XDP


class Traffic(Plain):
    """A real flow past an attached program, between network namespaces."""

    attach: Attach
    protocol: Literal["tcp", "udp"]
    tracked: bool = False  # by the kernel too, where the program is attached; it then also translates addresses
    virtual: bool = False  # to an address that nobody has


class Ask(Plain):
    """One question of some kind of probe. runner/agent/<kind>.py asks it in the guest, runner/probes/<kind>/ reads it.

    A probe may have `items`, each with an answer of its own: a census has one for each kfunc. After a guest was lost
    in such a probe the rest is asked `careful`: each item is named before it is asked.
    """

    kind: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    probe: str
    body: dict[str, JsonValue] = {}  # what the agent's module is told
    programs: tuple[str, ...] = ()  # functions that it runs as BPF programs, by which the trace of an oops names it
    items: bool = False
    careful: bool = False
    skip: tuple[str, ...] = ()  # items that have an answer, or will get none
    only: str = ""  # this item alone


class AskedCell(Plain):
    """What one cell was asked, all of it."""

    asks: tuple[Ask, ...]
    modules: tuple[SafeName, ...]  # loaded before the first ask
    programs: dict[SafeName, Sha256]  # the BPF objects, by file name


class Asked(Plain):
    """What cells were asked, and with which programs: enough to ask the very same again."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    cells: dict[CellId, AskedCell]
    objects: dict[Sha256, bytes]
