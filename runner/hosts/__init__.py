# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Other machines that boot guests: hosts.yaml, what each of them can do, and how one is made ready."""
