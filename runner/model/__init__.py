"""The shared data types: frozen, plain, no I/O. Controller, workers, guests and the store exchange nothing else.

Each validates what it is built from, so reading one from text is also the check of that text (`model_validate_json`).
"""

from runner.model.answers import CellResult, CensusObservation, Crash, Facts, Look, Observation, Timings
from runner.model.asks import Ask, Asked, AskedCell, Attach, CensusAsk, ClaimAsk, Traffic
from runner.model.cells import Cell, GuestSize, Limit, Limits
from runner.model.judged import ClaimVerdict, KfuncState, KnownIssue
from runner.model.kernels import (
    Image,
    Kernel,
    KernelBuild,
    Lock,
    LockedImage,
    Package,
    Pin,
    PinnedFile,
    Wanted,
    Which,
)
from runner.model.layouts import StructConstant, StructLayout, StructMember
from runner.model.rows import Mark, Row, StateWord
from runner.model.words import (
    ANSWERS,
    NETWORK_TYPES,
    NO_ANSWER,
    CellId,
    KernelSource,
    Level,
    Outcome,
    Plain,
    ProgType,
    SafeName,
    Seconds,
    Sha256,
    State,
    Verdict,
)

__all__ = [
    "ANSWERS",
    "NETWORK_TYPES",
    "NO_ANSWER",
    "Ask",
    "Asked",
    "AskedCell",
    "Attach",
    "Cell",
    "CellId",
    "CellResult",
    "CensusAsk",
    "CensusObservation",
    "ClaimAsk",
    "ClaimVerdict",
    "Crash",
    "Facts",
    "GuestSize",
    "Image",
    "Kernel",
    "KernelBuild",
    "KernelSource",
    "KfuncState",
    "KnownIssue",
    "Level",
    "Limit",
    "Limits",
    "Lock",
    "LockedImage",
    "Look",
    "Mark",
    "Observation",
    "Outcome",
    "Package",
    "Pin",
    "PinnedFile",
    "Plain",
    "ProgType",
    "Row",
    "SafeName",
    "Seconds",
    "Sha256",
    "State",
    "StateWord",
    "StructConstant",
    "StructLayout",
    "StructMember",
    "Timings",
    "Traffic",
    "Verdict",
    "Wanted",
    "Which",
]
