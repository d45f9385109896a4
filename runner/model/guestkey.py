# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What an answer depends on: two answers with equal keys are answers to the same question, asked in the same guest.

Everything stands here by its digest or by its words, so a key is the same on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

from runner.model.architecture import architecture
from runner.model.cells import Ask, Cell, GuestSize
from runner.model.words import Plain, SafeName, Sha256


class Tools(Plain):
    """What boots the guests of one architecture on one machine."""

    vng: str  # its version
    qemu: str  # the first line of `--version`: it names the distribution's build too
    accel: Literal["kvm", "tcg"]
    cpu: str  # the model of the CPU: the host's under kvm, qemu's under tcg
    code: Sha256  # of the part of this program that boots guests


class GuestKey(Plain):
    """All that a guest is made from, until the first question is asked."""

    kernel: Sha256  # of the Kernel, over every file of it: its image, its .config and its modules
    image: Sha256  # of the Image's disk
    agent: Sha256  # see `files_digest`
    size: GuestSize
    cmdline: tuple[str, ...]  # words for the kernel's command line that vng does not add by itself
    modules: tuple[SafeName, ...]  # loaded before the first question, in this order
    tools: Tools

    @classmethod
    def of(
        cls, cell: Cell, modules: Iterable[str], tools: Tools, *, kernel: Sha256, image: Sha256, agent: Sha256
    ) -> GuestKey:
        """That of a cell, by what a worker knows when kernel and image are prepared."""
        words = (*architecture(cell.arch).kernel_args, *cell.cmdline.split())
        return cls(
            kernel=kernel,
            image=image,
            agent=agent,
            size=cell.guest,
            cmdline=words,
            modules=tuple(modules),
            tools=tools,
        )

    @property
    def digest(self) -> Sha256:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class AnswerKey(Plain):
    """A question, and the guest that is asked."""

    guest: Sha256  # digest of the GuestKey
    ask: Ask  # with all that the agent is told
    programs: dict[SafeName, Sha256]  # the files that it uses, by name


def files_digest(files: Mapping[str, bytes], folder: str = "") -> Sha256:
    """Over the names and contents of the files below `folder`: `agent/` for the agent in a payload."""
    mine = sorted((name, content) for name, content in files.items() if name.startswith(folder))
    lines = (f"{name} {hashlib.sha256(content).hexdigest()}\n" for name, content in mine)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
