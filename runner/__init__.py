# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A distributed QEMU kernel test-matrix runner: which kfuncs can TC and XDP programs call, on which kernel?"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("kfunc-runner")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "0+unknown"
