"""What the eBPF Docs project says about kfuncs: data/kfuncs.yaml and data/feature-versions.yaml of its checkout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from runner.errors import UserError
from runner.model import ProgType
from runner.model.version import KernelVersion

# what the project calls our program types; UNSPEC is every type
_NAMES = {
    "BPF_PROG_TYPE_SCHED_CLS": ProgType.TC,
    **{f"BPF_PROG_TYPE_{name.upper()}": name for name in ProgType if name is not ProgType.TC},
}
_EVERY = "BPF_PROG_TYPE_UNSPEC"


class _Read(BaseModel):
    """Someone else's format: what we do not know is not looked at. Every scalar is text, or 6.10 would be 6.1."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Point(_Read):
    version: str

    @field_validator("version")
    @classmethod
    def _version(cls, text: str) -> str:
        KernelVersion.parse(text.removeprefix("v"))
        return text.removeprefix("v")

    @property
    def parsed(self) -> KernelVersion:
        return KernelVersion.parse(self.version)


class _Type(_Read):
    name: str
    since: _Point | None = None
    until: _Point | None = None


class _Except(_Read):
    program_types: tuple[_Type, ...] = ()


class _Func(_Read):
    name: str
    flags: tuple[str, ...] = ()
    except_: _Except = _Except()

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=lambda name: name.rstrip("_"))


class _Set(_Read):
    funcs: tuple[_Func, ...] = ()
    program_types: tuple[_Type, ...] = ()


class _Kfuncs(_Read):
    sets: dict[str, _Set]


class _Feature(_Point):
    name: str


class _Group(_Read):
    name: str
    features: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Allowance:
    """One set that has the kfunc lets these types call it. None is every type."""

    prog_type: ProgType | None
    since: KernelVersion | None
    until: KernelVersion | None


@dataclass(frozen=True, slots=True)
class Documented:
    """One kfunc. `since` is None where no version is given."""

    kfunc: str
    since: KernelVersion | None
    allowances: tuple[Allowance, ...]
    flags: frozenset[str]

    def says(self, prog_type: ProgType, version: KernelVersion) -> bool:
        """May programs of this type call it on this kernel?"""
        if self.since and _before(version, self.since):
            return False
        return any(_holds(it, version) for it in self.allowances if it.prog_type in (None, prog_type))

    def since_for(self, prog_type: ProgType) -> KernelVersion | None:
        """The first version that has it for this type; None when it is not for this type, or no version is given."""
        points = [max(filter(None, (self.since, it.since)), default=None) for it in self._allowances(prog_type)]
        return min((point for point in points if point), default=None)

    def _allowances(self, prog_type: ProgType) -> tuple[Allowance, ...]:
        return tuple(it for it in self.allowances if it.prog_type in (None, prog_type))

    def words(self, prog_type: ProgType) -> str:
        """`since 6.1`, `since 6.3 until 6.11`, `not for this type`, `without a version`"""
        mine = self._allowances(prog_type)
        if not mine:
            return "not for this type"
        since = self.since_for(prog_type)
        until = max((it.until for it in mine if it.until), default=None) if all(it.until for it in mine) else None
        parts = [f"since {since}" if since else "", f"until {until}" if until else ""]
        return " ".join(filter(None, parts)) or "without a version"


Docs = Mapping[str, Documented]  # by kfunc


def load(folder: Path) -> dict[str, Documented]:
    """By kfunc. `folder` is the project's checkout. Raises UserError when the files are not there or not these."""
    kfuncs = _parse(folder / "data" / "kfuncs.yaml", _Kfuncs)
    since = _versions(folder / "data" / "feature-versions.yaml")
    found: dict[str, Documented] = {}
    for entry in kfuncs.sets.values():
        for func in entry.funcs:
            refused = {it.name for it in func.except_.program_types}
            mine = tuple(_allowance(it) for it in entry.program_types if it.name not in refused and _known(it))
            before = found.get(func.name)
            found[func.name] = Documented(
                kfunc=func.name,
                since=since.get(func.name),
                allowances=(*(before.allowances if before else ()), *mine),
                flags=frozenset(func.flags) | (before.flags if before else frozenset()),
            )
    return found


def _versions(path: Path) -> dict[str, KernelVersion]:
    """Since when there is each kfunc."""
    document = _yaml(path)
    try:
        groups = [_Group.model_validate(group) for group in document] if isinstance(document, list) else []
        features = [_Feature.model_validate(it) for group in groups if group.name == "kfuncs" for it in group.features]
    except ValidationError as error:
        raise _not_it(path, error) from error
    return {feature.name: feature.parsed for feature in features}


def _parse(path: Path, model: type[_Kfuncs]) -> _Kfuncs:
    try:
        return model.model_validate(_yaml(path))
    except ValidationError as error:
        raise _not_it(path, error) from error


def _yaml(path: Path) -> object:
    try:
        # BaseLoader makes every scalar a text: to YAML, 6.10 is the number 6.1
        return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506  it makes no objects
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", hint="--ebpf-docs wants a checkout of the project") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {str(error).splitlines()[0]}") from error


def _not_it(path: Path, error: ValidationError) -> UserError:
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return UserError(f"{path}: {place}: {first['msg']}", hint="is it the file of the eBPF Docs project?")


def _known(it: _Type) -> bool:
    return it.name == _EVERY or it.name in _NAMES


def _allowance(it: _Type) -> Allowance:
    prog_type = None if it.name == _EVERY else ProgType(_NAMES[it.name])
    return Allowance(prog_type, it.since.parsed if it.since else None, it.until.parsed if it.until else None)


def _holds(it: Allowance, version: KernelVersion) -> bool:
    if it.since and _before(version, it.since):
        return False
    return not (it.until and not _before(version, it.until))


def _before(version: KernelVersion, point: KernelVersion) -> bool:
    """Release candidates of a version count as it."""
    return version.series < point.series
