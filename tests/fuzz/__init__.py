# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Finds inputs that a parser does not refuse as it should: `make fuzz`. What is interesting is kept for `make test`."""
