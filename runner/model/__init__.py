# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The shared data types: frozen, plain, no I/O. Controller, workers, guests and the store exchange nothing else.

Each validates what it is built from, so reading one from text is also the check of that text (`model_validate_json`).
"""

from runner.model.answers import (
    BEGINS,
    Answer,
    CellResult,
    Crash,
    Deviation,
    Facts,
    JudgedSplat,
    Kept,
    KnownIssue,
    Mark,
    Rechecked,
    Row,
    Splat,
    SplatKind,
    StateWord,
    StructConstant,
    StructLayout,
    StructMember,
    Timings,
    Trace,
    layout_lines,
)
from runner.model.cells import Ask, Asked, AskedCell, Attach, Cell, GuestSize, Limit, Limits, Settings, Traffic, Wanted
from runner.model.kernels import (
    SHARED,
    BootFiles,
    Build,
    DebName,
    Image,
    ImagePin,
    Kernel,
    Lock,
    Package,
    Pin,
    PinnedFile,
    Root,
    Share,
    SharedFile,
    WantedImage,
    Which,
)
from runner.model.words import (
    ANSWERS,
    NETWORK_TYPES,
    NO_ANSWER,
    CellId,
    Level,
    Outcome,
    Plain,
    ProgType,
    SafeName,
    Seconds,
    Sha256,
    SourceText,
    State,
    Verdict,
)
