"""What a guest is asked."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

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


class ClaimAsk(Plain):
    """One question about one program: load it with these constants, run it on these inputs, read everything back.

    `probe` is `<claim>:<prog type>`. Names in `constants` are `const volatile` globals of the BPF object (the verifier
    sees their values), names in `inputs` are its writable globals. `sysctl` is set before and restored after.
    With `load_as` or another `license` the program is loaded only: the question is whether the kernel takes it.
    With `netns` a network namespace has that id, as seen from the one in which the program runs.
    With `traffic` the program is attached and sees a flow, instead of being run once on a packet of ours.
    """

    kind: Literal["claim"] = "claim"
    probe: str
    object: SafeName  # bpf/<object>.bpf.c
    program: SafeName  # the function in it
    prog_type: ProgType
    constants: dict[str, int] = {}
    inputs: dict[str, int] = {}
    sysctl: dict[str, str] = {}
    load_as: ProgType | None = None
    license: str = "GPL"
    netns: int | None = None
    traffic: Traffic | None = None


class CensusAsk(Plain):
    """May programs of this type call the kfuncs? One observation of each that the kernel's BTF holds.

    The agent asks of all that BTF calls a kfunc, and of `kfuncs` where they are functions of any kind: old kernels'
    BTF does not tell. After a guest was lost, the rest is asked `careful`: each is named before it is asked.
    """

    kind: Literal["census"] = "census"
    probe: str
    prog_type: ProgType
    kfuncs: tuple[str, ...]
    careful: bool = False
    skip: tuple[str, ...] = ()  # have an answer, or will get none


Ask = Annotated[ClaimAsk | CensusAsk, Field(discriminator="kind")]


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
