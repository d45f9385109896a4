"""What a guest answered: raw, as it came. Verdicts and states are computed from it, never stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, JsonValue, ValidationError, model_validator

from runner.model.cells import Cell
from runner.model.kernels import Build
from runner.model.layouts import StructLayout
from runner.model.words import Outcome, Plain, ProgType


@lru_cache(maxsize=4096)
def _once(layouts: tuple[StructLayout, ...]) -> tuple[StructLayout, ...]:
    """Equal layouts are one object in memory: the kfuncs of a kernel share them, and so do kernels."""
    return layouts


class Answer(Plain):
    """What a kernel answered to a probe, or to one item of it, as it came. `failed`: why the agent got no answer.

    The answer without an item ends its probe.
    """

    kind: str
    probe: str
    item: str = ""
    failed: str = ""
    body: dict[str, JsonValue] = {}


class Observation(Plain):
    """What a kernel answered to a claim, as it came. Not interpreted.

    `errno` is positive. `fields` are the members of the program's `result` global after the run; after a flow also what
    was seen of it and of its entry in the kernel's table, see FIELDS of runner/agent/traffic.py.
    `failed` says why the agent itself could not ask; then there is no answer.
    """

    probe: str
    load_errno: int | None = None  # 0: the verifier took it; None: never got that far
    log: str = ""  # libbpf's and the verifier's words
    run_errno: int | None = None
    retval: int | None = None
    fields: dict[str, int] = {}
    failed: str = ""


class CensusObservation(Plain):
    """What a kernel answered to "may a program of this type call this kfunc".

    Where the kernel refuses for a reason that can be removed, it was asked `again`: "bound to eth0", "with an arena".
    """

    kfunc: str
    prog_type: ProgType
    object: str = ""  # whose BTF holds it: `vmlinux` or a module; empty: in none that is loaded
    load_errno: int | None = None
    log: str = ""
    failed: str = ""
    again: str = ""
    again_errno: int | None = None
    again_log: str = ""
    prototype: str = ""  # from BTF; empty where it has none
    # of the structures that programs hand to it, as far as they are small
    layouts: Annotated[tuple[StructLayout, ...], AfterValidator(_once)] = ()
    tags: tuple[str, ...] = ()  # the function's declaration tags: bpf_kfunc, bpf_fastcall


class Trace(Plain):
    """What the kernel says of one probe in detail, when that was asked for: `runner cell repro --probe`."""

    probe: str
    log: str = ""  # the verifier's, with every state, also of a program that it took
    kernel: tuple[str, ...] = ()  # the kernel's own messages, of any level, while the probe was asked
    failed: str = ""


class Facts(Plain):
    """What the guest says about itself."""

    release: str = ""  # uname -r
    build: str = ""  # uname -v
    machine: str = ""  # uname -m
    cmdline: str = ""
    jit: str = ""  # net.core.bpf_jit_enable, empty where there is none
    btf: tuple[str, ...] = ()  # whose BTF is there
    modules: dict[str, str] = {}  # module that the probes need -> "" or why it did not load
    libbpf: str = ""
    python: str = ""


BEGINS = "runner: begin "  # and a probe: what the agent writes to the console before it asks one


class Crash(Plain):
    """A probe that took the guest down, twice: the second time alone. And what the console said then."""

    probe: str
    cause: str = ""  # one line
    oops: str = ""  # from the kernel's first complaint on; empty in results of an older store


SplatKind = Literal[
    "WARNING",
    "KASAN",
    "UBSAN",
    "KFENCE",
    "KCSAN",
    "KMSAN",
    "lockdep",
    "refcount",
    "list corruption",
    "sleeping function",
    "scheduling while atomic",
    "BUG",  # reported and survived: Bad page state, spinlock bad magic, ...
    "oops",
    "panic",
    "stuck",  # a lockup, an RCU stall, a hung task, a workqueue lockup
    "out of memory",
]


class Splat(Plain):
    """What a kernel reports by itself. `lines` go to the end of its trace, without the kernel's time stamps."""

    kind: SplatKind
    text: str  # the line that says what happened
    lines: tuple[str, ...] = ()
    probe: str = ""  # in flight when it was reported

    @property
    def title(self) -> str:
        """One line with the kind, which most kernels' words have in them."""
        return self.text if self.kind.lower() in self.text.lower() else f"{self.kind}: {self.text}"

    @property
    def blames_kernel(self) -> bool:
        """A host that starves its guests, or gives them little memory, makes any kernel report the others."""
        return self.kind not in {"stuck", "out of memory"}


class Timings(Plain):
    """Seconds; None: not reached."""

    prepare_s: float | None = None
    boot_s: float | None = None  # from vng's start to the first answer over ssh
    probe_s: float | None = None
    total_s: float | None = None


class CellResult(Plain):
    """All that is known about one cell after a run. Verdicts and states are computed from it, never stored."""

    cell: Cell
    outcome: Outcome
    cause: str = ""  # one line, empty when the cell ran
    image_sha256: str = ""
    host: str = ""
    accel: str = ""  # kvm or tcg
    attempts: int = 1
    began: AwareDatetime | None = None  # when a worker took it up, by its own clock
    timings: Timings = Timings()
    facts: Facts = Facts()
    answers: tuple[Answer, ...] = ()
    config: dict[str, str] = {}  # of the kernel's own .config what explains a "no": y, m, n, or another value
    build: Build = Build()
    crashes: tuple[Crash, ...] = ()
    splats: tuple[Splat, ...] = ()  # of crashes the others: what ended a kernel is told by its crash
    unasked: tuple[str, ...] = ()  # probes that were never asked, or never answered
    traces: tuple[Trace, ...] = ()  # none, unless they were asked for
    console: str = ""  # the console log, control characters and all; stored beside the database

    @property
    def ended(self) -> str:
        """`ran`; `boot failed: kernel panicked`."""
        return f"{self.outcome}: {self.cause}" if self.cause else str(self.outcome)

    @property
    def where(self) -> str:
        """`big (kvm)`; empty when it never started."""
        return " ".join(filter(None, (self.host, self.accel and f"({self.accel})")))

    @property
    def crashed(self) -> tuple[str, ...]:
        """The probes that took the guest down."""
        return tuple(crash.probe for crash in self.crashes)

    # --- the answers of the kinds `claims` and `census`, as their types ------------------------

    @cached_property
    def observations(self) -> tuple[Observation, ...]:
        """What was answered to claims."""
        return tuple(_observation(it) for it in self.answers if it.kind == "claims")

    @cached_property
    def census(self) -> tuple[CensusObservation, ...]:
        """What was answered about each kfunc; each with what any answer says of it."""
        mine = [it for it in self.answers if it.kind == "census" and it.item]
        told = {it.item: it.body for it in mine if "object" in it.body}
        return tuple(_census(it, {n: told[it.item][n] for n in _ABOUT if n in told.get(it.item, ())}) for it in mine)

    @cached_property
    def census_ended(self) -> dict[ProgType, str]:
        """Whose census came to its end: empty, or why nothing could be asked."""
        return {_prog_type(it.probe): it.failed for it in self.answers if it.kind == "census" and not it.item}

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """The names that the census looked for, and no BTF of the kernel has as a function."""
        told = [it.body.get("missing") for it in self.answers if it.kind == "census" and not it.item]
        return tuple(sorted({str(name) for names in told if isinstance(names, list) for name in names}))

    @model_validator(mode="before")
    @classmethod
    def _typed(cls, data: Any) -> Any:
        if isinstance(data, dict) and _TYPED.intersection(data):
            rest = {name: value for name, value in data.items() if name not in _TYPED}
            return {**rest, "answers": (*data.get("answers", ()), *answers_of(**_given(data)))}
        return data

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As that of pydantic."""
        changes = dict(update or {})
        if _TYPED.intersection(changes):
            others = tuple(it for it in self.answers if it.kind not in ("claims", "census"))
            now = {name: getattr(self, name) for name in _TYPED}
            changes["answers"] = (*answers_of(**_given({**now, **changes})), *others)
        copied = super().model_copy(update={k: v for k, v in changes.items() if k not in _TYPED}, deep=deep)
        for name in _TYPED:
            copied.__dict__.pop(name, None)
        return copied


_ABOUT = ("object", "prototype", "tags", "layouts")
_TYPED = frozenset({"observations", "census", "census_ended", "missing"})


def _given(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in _TYPED if name in data}


def _prog_type(probe: str) -> ProgType:
    return ProgType(probe.partition(":")[2])


def _observation(answer: Answer) -> Observation:
    try:
        return Observation.model_validate({**answer.body, "probe": answer.probe, "failed": answer.failed})
    except ValidationError as error:
        return Observation(probe=answer.probe, failed=_nonsense(error))


def _census(answer: Answer, about: Mapping[str, JsonValue]) -> CensusObservation:
    known = {"kfunc": answer.item, "prog_type": _prog_type(answer.probe), "failed": answer.failed}
    try:
        return CensusObservation.model_validate({**about, **answer.body, **known})
    except ValidationError as error:
        return CensusObservation.model_validate({**known, "failed": _nonsense(error)})


def _nonsense(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"the agent's answer is none: {'.'.join(map(str, first['loc']))}: {first['msg']}"


def answers_of(
    observations: Iterable[Observation | Mapping[str, Any]] = (),
    census: Iterable[CensusObservation | Mapping[str, Any]] = (),
    census_ended: Mapping[ProgType, str] | None = None,
    missing: Iterable[str] = (),
) -> tuple[Answer, ...]:
    """The other way round."""
    return (*_census_answers(census, census_ended or {}, tuple(missing)), *_claim_answers(observations))


def _claim_answers(observations: Iterable[Observation | Mapping[str, Any]]) -> Iterator[Answer]:
    for each in observations:
        seen = Observation.model_validate(each)
        body = seen.model_dump(mode="json", exclude={"probe", "failed"}, exclude_defaults=True)
        yield Answer(kind="claims", probe=seen.probe, failed=seen.failed, body=body)


def _census_answers(
    census: Iterable[CensusObservation | Mapping[str, Any]], ended: Mapping[ProgType, str], missing: tuple[str, ...]
) -> Iterator[Answer]:
    for each in census:
        seen = CensusObservation.model_validate(each)
        body = seen.model_dump(mode="json", exclude={"kfunc", "prog_type", "failed"}, exclude_defaults=True)
        yield Answer(kind="census", probe=f"census:{seen.prog_type}", item=seen.kfunc, failed=seen.failed, body=body)
    for prog_type, failed in ended.items():
        names: dict[str, JsonValue] = {"missing": list(missing)} if missing else {}
        yield Answer(kind="census", probe=f"census:{prog_type}", failed=failed, body=names)
