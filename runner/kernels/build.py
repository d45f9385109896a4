"""Builds a kernel for guests with virtme-ng, in a folder of its own. The folder is kept: the next build is a short one.

`virtme-configkernel` writes the configuration: the kernel's allnoconfig, virtme-ng's options and `kernel.config` beside
this file. `vng --build` takes it as it is. Time, user and host are fixed: the same source gives the same image.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.caches import need_space
from runner.errors import BuildError, InfraError, UserError
from runner.guest.command import virtme_environment, virtme_tool
from runner.kernels.checkout import Checkout
from runner.model.architecture import architecture, by_uname
from runner.model.deadline import Deadline
from runner.process import require, run

FRAGMENT = Path(__file__).with_name("kernel.config")
LOG = "runner-build.log"
_SPACE_BYTES = 3 << 30  # objects with debug information: 1.4 GiB seen
_NICE = ("nice", "-n", "10")  # guests, which have time limits, come first
_TAIL_LINES = 25
TOOLS = ("make", "gcc", "ld", "flex", "bison", "bc", "pahole", "perl")
_PACKAGES = "build-essential flex bison bc dwarves libelf-dev perl"
# What make says when the machine failed, not the source.
_MACHINE = re.compile(
    r"No space left on device|Cannot allocate memory|[Vv]irtual memory exhausted|fatal error: Killed signal|"
    r"terminated with signal 9|\bKilled$|Input/output error|Read-only file system|Disk quota exceeded",
    re.MULTILINE,
)
_FAILED = "***"  # in what make says last about a source that does not build; a make that was killed says nothing
_FIXED = {
    "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 1970",
    "KBUILD_BUILD_USER": "runner",
    "KBUILD_BUILD_HOST": "runner",
    "KBUILD_BUILD_VERSION": "1",
    "LC_ALL": "C",
}


@dataclass(frozen=True, slots=True)
class _Target:
    """How the kernel's own makefiles and Debian call an architecture."""

    arch: str  # as virtme-configkernel has it: for another ARCH make would configure again
    cross: str  # the prefix of the compiler on hosts of another architecture


_TARGETS = {
    "x86_64": _Target("x86", "x86_64-linux-gnu-"),
    "arm64": _Target("arm64", "aarch64-linux-gnu-"),
}


@dataclass(frozen=True, slots=True)
class BuiltTree:
    """What was built: `folder` is what the source `tree:` takes."""

    what: str  # the commit and its subject, or the folder of the source
    arch: str
    release: str
    folder: Path
    took_s: float


def build_tree(
    source: Path, ref: str, arch: str, *, fragment: Path, jobs: int, cache: Path, deadline: Deadline,
    begun: Callable[[Path], None],
) -> BuiltTree:  # fmt: skip
    """Build the commit `ref` of the repository `source`; without `ref`, the folder `source` as it is.

    `arch` is the host's own where it is empty. `begun` is told the folder when the build begins. Raises UserError when
    there is no such commit, else what `build_kernel` raises.
    """
    start = time.monotonic()
    row = architecture(arch) if arch else by_uname(platform.machine())
    if row is None:
        raise UserError(
            f"this machine's architecture {platform.machine()} is not one of guests", hint="name one with --arch"
        )
    if not fragment.is_file():
        raise UserError(f"{fragment} does not exist")
    digest = hashlib.sha256(fragment.read_bytes()).hexdigest()
    with Checkout.opened(source, row.name, digest, cache, borrowed=bool(ref), deadline=deadline) as checkout:
        files, what = source.absolute(), str(source)
        if ref:
            commit = checkout.commit(ref, deadline=deadline)
            checkout.check_out(commit.id, deadline=deadline)
            files, what = checkout.source, f"{commit.short} {commit.subject}"
        begun(checkout.objects)
        build_kernel(
            files,
            checkout.objects,
            row.name,
            native=row.uname == platform.machine(),
            jobs=jobs,
            deadline=deadline,
            fragment=fragment.absolute(),
        )
        release = (checkout.objects / "include/config/kernel.release").read_text().strip()
        return BuiltTree(what, row.name, release, checkout.objects, round(time.monotonic() - start, 1))


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
    make = _Make(source, objects, {"ARCH": target.arch, "CROSS_COMPILE": cross}, deadline)
    # `vng --kconfig` has but the architecture's defconfig, twice as many options (1,489 for 755, of 6.12 on x86_64).
    # allnoconfig gets the fragment as well: what it makes visible is then "no" where nobody says otherwise.
    make.run(
        virtme_tool("virtme-configkernel"), "--arch", architecture(arch).uname, "--allnoconfig", "--custom", fragment,
        KCONFIG_ALLCONFIG=os.fspath(fragment),
    )  # fmt: skip
    # the second LOCALVERSION counts: vng sets -virtme, and a changed tree would get a +
    make.run(virtme_tool("vng"), "--build", "--verbose", "--jobs", str(jobs), "LOCALVERSION=")


def _check_tools(cross: str) -> None:
    for tool in TOOLS:
        try:
            require(f"{cross}{tool}" if tool in {"gcc", "ld"} else tool)
        except InfraError as error:
            raise InfraError(f"building a kernel: {error.what}", hint=f"apt-get install {_PACKAGES}") from None


@dataclass(frozen=True, slots=True)
class _Make:
    """What calls make, with variables for it. They go by the environment: virtme-configkernel quotes its arguments."""

    source: Path
    objects: Path
    variables: Mapping[str, str]
    deadline: Deadline

    def run(self, *command: str | Path, **variables: str) -> None:
        env = {
            **_FIXED,
            **virtme_environment(self.objects),
            "KBUILD_OUTPUT": os.fspath(self.objects),
            **self.variables,
            **variables,
        }
        done = run([*_NICE, *command], deadline=self.deadline, cwd=self.source, env=env, check=False)
        log = self.objects / LOG
        log.write_text(f"{done.stdout}\n{done.stderr}")
        if done.returncode == 0:
            return
        said = done.stderr.strip() or done.stdout.strip()
        if _MACHINE.search(said) or _FAILED not in said:
            raise InfraError(
                f"the machine failed while a kernel was built:\n{_tail(said)}", hint=f"the whole output is in {log}"
            )
        raise BuildError(f"{self.source} does not build:\n{_errors(said)}", hint=f"the whole output is in {log}")


def _errors(said: str) -> str:
    """The compiler's errors where there are any, else the last lines."""
    lines = [line for line in said.splitlines() if re.search(r"\berror\b|undefined reference|ERROR: modpost", line)]
    return "\n".join(lines[:_TAIL_LINES]) or _tail(said)


def _tail(said: str) -> str:
    return "\n".join(said.splitlines()[-_TAIL_LINES:])
