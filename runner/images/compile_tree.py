# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Runs under the image's own Python, never imported: `compile_tree.py SOURCE TARGET PREFIX cache|beside`.

Compiles every .py below SOURCE into TARGET; tracebacks will name files below PREFIX. `cache` puts them where the
interpreter looks for a source's bytecode, `beside` where it needs no source. "Unchecked": nothing compares them with
their sources, so no file time matters.
"""

import importlib.util
import py_compile
import sys
from pathlib import Path


def main() -> None:
    source, target, prefix, layout = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    for path in sorted(source.rglob("*.py")):
        if not path.is_file():  # sitecustomize.py is a link to a file in another package
            continue
        relative = path.relative_to(source)
        compiled = relative.with_suffix(".pyc")
        if layout == "cache":
            compiled = Path(importlib.util.cache_from_source(str(relative)))
        try:
            py_compile.compile(
                str(path),
                cfile=str(target / compiled),
                dfile=f"{prefix}/{relative}",
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        except py_compile.PyCompileError:
            if layout == "beside":  # of ours; packages have files that no Python takes, as samples of what is wrong
                raise


if __name__ == "__main__":
    main()
