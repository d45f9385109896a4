# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

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

from runner import userfile
from runner.caches import need_space
from runner.errors import BuildError, InfraError, UserError
from runner.guest.command import virtme_environment, virtme_tool
from runner.kernels.checkout import Checkout
from runner.kernels.needs import needs_of, read_build
from runner.model.architecture import architecture
from runner.model.deadline import Deadline
from runner.process import require, run

FRAGMENT = Path(__file__).with_name("kernel.config")
LOG = "runner-build.log"
_SPACE_BYTES = 3 << 30  # objects with debug information: 1.4 GiB seen
_NICE = ("nice", "-n", "10")  # guests, which have time limits, come first
_TAIL_LINES = 25
_ARCHITECTURES = ("x86_64", "arm64")
TOOLS = ("make", "gcc", "ld", "flex", "bison", "bc", "pahole", "perl")
_PACKAGES = "build-essential flex bison bc dwarves libelf-dev perl"
# What make says when the machine failed, not the source.
_MACHINE = re.compile(
    r"No space left on device|Cannot allocate memory|[Vv]irtual memory exhausted|fatal error: Killed signal|"
    r"terminated with signal 9|\bKilled$|Input/output error|Read-only file system|Disk quota exceeded|"
    r"pahole version \S+ is too old|pahole \(pahole\) is not available",
    re.MULTILINE,
)
# C23 is what gcc 15 takes where nothing else is said; kernels before 6.13 do not say it everywhere.
_C23 = re.compile(r"cannot use keyword .(?:false|true|bool). as|.bool. cannot be defined via .typedef.")
_FAILED = "***"  # in what make says last about a source that does not build; a make that was killed says nothing
_FIXED = {
    "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 1970",
    "KBUILD_BUILD_USER": "runner",
    "KBUILD_BUILD_HOST": "runner",
    "KBUILD_BUILD_VERSION": "1",
    "LC_ALL": "C",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a kernel is built."""

    arch: str
    fragment: Path = FRAGMENT  # options beside virtme-ng's
    compiler: str = ""  # of the kernel; empty: the architecture's gcc

    @property
    def key(self) -> str:
        """Equal where objects can be used again. Raises UserError when the fragment cannot be read."""
        return hashlib.sha256(userfile.read(self.fragment) + f"{self.arch} {self.compiler}".encode()).hexdigest()

    @property
    def native(self) -> bool:
        return architecture(self.arch).uname == platform.machine()


@dataclass(frozen=True, slots=True)
class BuiltTree:
    """What was built: `folder` is what the source `tree:` takes."""

    what: str  # the commit and its subject, or the folder of the source
    arch: str
    release: str
    folder: Path
    took_s: float


def build_tree(
    source: Path, ref: str, recipe: Recipe, *, jobs: int, cache: Path, deadline: Deadline, begun: Callable[[Path], None]
) -> BuiltTree:
    """Build the commit `ref` of the repository `source`; without `ref`, the folder `source` as it is.

    `begun` is told the folder when the build begins. Raises UserError when there is no such commit, else what
    `build_kernel` raises.
    """
    start = time.monotonic()
    with Checkout.opened(source, recipe.key, cache, borrowed=bool(ref), deadline=deadline) as checkout:
        files, what = source.absolute(), str(source)
        if ref:
            commit = checkout.commit(ref, deadline=deadline)
            checkout.check_out(commit.id, deadline=deadline)
            files, what = checkout.source, f"{commit.short} {commit.subject}"
        begun(checkout.objects)
        build_kernel(files, checkout.objects, recipe, jobs=jobs, deadline=deadline)
        release = (checkout.objects / "include/config/kernel.release").read_text().strip()
        return BuiltTree(what, recipe.arch, release, checkout.objects, round(time.monotonic() - start, 1))


def build_kernel(source: Path, objects: Path, recipe: Recipe, *, jobs: int, deadline: Deadline) -> None:
    """Build the tree `source` into `objects`, from what is there.

    Raises BuildError with the compiler's words when the source does not build, or does not take an option that guests
    or probes need; InfraError when the machine failed, or has a pahole that is too old. UserError: no such compiler.
    """
    compiler, fragment = recipe.compiler, recipe.fragment.absolute()
    if recipe.arch not in _ARCHITECTURES:
        raise InfraError(f"kernels for {recipe.arch} cannot be built here", hint=f"known: {', '.join(_ARCHITECTURES)}")
    row = architecture(recipe.arch)
    cross = "" if recipe.native else f"{row.multiarch}-"
    if not re.fullmatch(r"[A-Za-z0-9._+/-]*", compiler):
        raise UserError(f"{compiler!r} is not a compiler's name", hint="like gcc-14")
    _check_tools({"gcc": compiler or f"{cross}gcc", "ld": f"{cross}ld"})
    objects.mkdir(parents=True, exist_ok=True)
    need_space(objects, _SPACE_BYTES, "building a kernel")
    # as virtme-configkernel has it: for another ARCH make would configure again
    variables = {"ARCH": row.kernel, "CROSS_COMPILE": cross}
    if compiler:  # a variable of the command line, of every make below: the makefiles set CC themselves
        variables["MAKEFLAGS"] = f" -- CC={compiler}" + (f" HOSTCC={compiler}" if recipe.native else "")
    make = _Make(source, objects, variables, deadline)
    # `vng --kconfig` has but the architecture's defconfig, twice as many options (1,489 for 755, of 6.12 on x86_64).
    # allnoconfig gets the fragment as well: what it makes visible is then "no" where nobody says otherwise.
    make.run(
        virtme_tool("virtme-configkernel"), "--arch", row.uname, "--allnoconfig",
        "--custom", fragment, KCONFIG_ALLCONFIG=os.fspath(fragment),
    )  # fmt: skip
    _check_options(source, objects / ".config", recipe)
    # the second LOCALVERSION counts: vng sets -virtme, and a changed tree would get a +
    make.run(virtme_tool("vng"), "--build", "--verbose", "--jobs", str(jobs), "LOCALVERSION=")


def _check_tools(named: Mapping[str, str]) -> None:
    """`named`: those that are called otherwise than in TOOLS."""
    for tool in TOOLS:
        try:
            require(named.get(tool, tool))
        except InfraError as error:
            raise InfraError(f"building a kernel: {error.what}", hint=f"apt-get install {_PACKAGES}") from None


def _check_options(source: Path, config: Path, recipe: Recipe) -> None:
    """What guests or probes cannot do without, and the fragment asks for, is in the configuration."""
    asked = re.findall(r"^CONFIG_(\w+)=[ym]$", recipe.fragment.read_text(), re.MULTILINE)
    vital = {need.option for need in needs_of(architecture(recipe.arch)) if need.vital}
    build = read_build(config, recipe.arch)
    for option in (it for it in build.lacks if it in vital and it in asked):
        conditions = _conditions(source, option)
        versions = [int(found[1]) for it in conditions if (found := re.fullmatch(r"PAHOLE_VERSION >= (\d+)", it))]
        needed = f"{max(versions, default=0) / 100:.2f}"
        if build.pahole and float(needed) > float(build.pahole):
            what = f"{option} did not take: pahole {build.pahole}, needs {needed}"
            raise InfraError(what, hint="install a newer pahole (Debian: dwarves)")
        depends = f"it depends on {', '.join(conditions)}" if conditions else "this kernel does not have it"
        raise BuildError(f"{source} cannot be built for guests:\n{option} did not take: {depends}")


def _conditions(source: Path, option: str) -> list[str]:
    """What an option depends on, as the kernel's Kconfig files say it."""
    for file in source.rglob("Kconfig*"):
        if found := re.search(
            rf"^config {option}\n((?:[ \t].*\n|\n)*)", file.read_text(errors="replace"), re.MULTILINE
        ):
            return re.findall(r"^\s+depends on (.+?)\s*$", found[1], re.MULTILINE)
    return []


@dataclass(frozen=True, slots=True)
class _Make:
    """What calls make, with variables for it. They go by the environment: virtme-configkernel quotes its arguments."""

    source: Path
    objects: Path
    variables: Mapping[str, str]
    deadline: Deadline

    def run(self, *command: str | Path, **variables: str) -> None:
        """Run one step. Raises BuildError when the source does not build, InfraError for a fault of the machine."""
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
        older = "\ngcc 15 and later need an older one here: --cc gcc-14" if _C23.search(said) else ""
        raise BuildError(f"{self.source} does not build:\n{_errors(said)}{older}", hint=f"the whole output is in {log}")


def _errors(said: str) -> str:
    """The compiler's errors where there are any, else the last lines."""
    lines = [line for line in said.splitlines() if re.search(r"\berror\b|undefined reference|ERROR: modpost", line)]
    return "\n".join(lines[:_TAIL_LINES]) or _tail(said)


def _tail(said: str) -> str:
    return "\n".join(said.splitlines()[-_TAIL_LINES:])
