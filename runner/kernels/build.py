"""Builds a kernel for guests: `make` in a folder of its own, which is kept, so that the next build is a short one.

The configuration is as small as the probes allow (`kernel.config` beside this file). Time, user and host are fixed:
the same source gives the same image.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from runner.caches import need_space
from runner.deadline import Deadline
from runner.errors import BuildError, InfraError
from runner.process import require, run
from runner.store import write_atomically

FRAGMENT = Path(__file__).with_name("kernel.config")
LOG = "runner-build.log"
_CONFIGURED = "runner-kernel.config"  # the fragment that .config was made of
_SPACE_BYTES = 3 << 30  # objects with debug information: 1.4 GiB seen
_NICE = 10  # guests, which have time limits, come first
_TAIL_LINES = 25
_TOOLS = ("make", "gcc", "ld", "flex", "bison", "bc", "pahole", "perl")
_PACKAGES = "build-essential flex bison bc dwarves libelf-dev perl"
# What make says when the machine failed, not the source.
_MACHINE = re.compile(
    r"No space left on device|Cannot allocate memory|[Vv]irtual memory exhausted|fatal error: Killed signal|"
    r"terminated with signal 9|\bKilled$|Input/output error|Read-only file system|Disk quota exceeded",
    re.MULTILINE,
)
Argv = list[str | Path]
_FIXED = {
    "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 1970",
    "KBUILD_BUILD_USER": "runner",
    "KBUILD_BUILD_HOST": "runner",
    "KBUILD_BUILD_VERSION": "1",
    "LOCALVERSION": "",  # set, though empty: no + after the version of a changed tree
    "LC_ALL": "C",
}


@dataclass(frozen=True, slots=True)
class _Target:
    """How the kernel's own makefiles call an architecture."""

    arch: str
    image: str
    cross: str  # Debian's prefix of the compiler on hosts of another architecture


_TARGETS = {
    "x86_64": _Target("x86_64", "bzImage", "x86_64-linux-gnu-"),
    "arm64": _Target("arm64", "Image", "aarch64-linux-gnu-"),
}


def build_kernel(
    source: Path, objects: Path, arch: str, *, native: bool, jobs: int, deadline: Deadline, fragment: Path = FRAGMENT
) -> None:
    """Build the tree `source` into `objects`, from what is there. `native`: for the host's own architecture.

    Raises BuildError with the compiler's words when the source does not build, InfraError when the machine failed.
    """
    target = _TARGETS.get(arch)
    if target is None:
        raise InfraError(f"kernels for {arch} cannot be built here", hint=f"known: {', '.join(_TARGETS)}")
    cross = "" if native else target.cross
    _check_tools(cross)
    objects.mkdir(parents=True, exist_ok=True)
    need_space(objects, _SPACE_BYTES, "building a kernel")
    make: Argv = ["nice", "-n", str(_NICE), "make", "-C", source, f"O={objects}", f"ARCH={target.arch}"]
    make += [f"CROSS_COMPILE={cross}"] if cross else []
    _configure(make, objects, fragment, deadline)
    _make([*make, f"-j{jobs}", target.image, "modules"], objects, deadline)


def _check_tools(cross: str) -> None:
    for tool in _TOOLS:
        try:
            require(f"{cross}{tool}" if tool in {"gcc", "ld"} else tool)
        except InfraError as error:
            raise InfraError(f"building a kernel: {error.what}", hint=f"apt-get install {_PACKAGES}") from None


def _configure(make: Argv, objects: Path, fragment: Path, deadline: Deadline) -> None:
    """Make .config anew where the fragment is another one, else bring it up to what the source has."""
    wanted, mark = fragment.read_bytes(), objects / _CONFIGURED
    if (objects / ".config").is_file() and mark.is_file() and mark.read_bytes() == wanted:
        _make([*make, "olddefconfig"], objects, deadline)
        return
    mark.unlink(missing_ok=True)
    _make([*make, f"KCONFIG_ALLCONFIG={fragment}", "allnoconfig"], objects, deadline)
    write_atomically(mark, wanted)


def _make(argv: Argv, objects: Path, deadline: Deadline) -> None:
    done = run(argv, deadline=deadline, env=_FIXED, check=False)
    log = objects / LOG
    log.write_text(f"{done.stdout}\n{done.stderr}")
    if done.returncode == 0:
        return
    said = done.stderr.strip() or done.stdout.strip()
    if _MACHINE.search(said) or done.returncode > 128:  # a signal ended it
        raise InfraError(f"the machine failed while a kernel was built:\n{_tail(said)}", hint=f"{log} has all of it")
    raise BuildError(f"{argv[argv.index('-C') + 1]} does not build:\n{_errors(said)}", hint=f"{log} has all of it")


def _errors(said: str) -> str:
    """The compiler's errors where there are any, else the last lines."""
    lines = [line for line in said.splitlines() if re.search(r"\berror\b|undefined reference|ERROR: modpost", line)]
    return "\n".join(lines[:_TAIL_LINES]) or _tail(said)


def _tail(said: str) -> str:
    return "\n".join(said.splitlines()[-_TAIL_LINES:])
