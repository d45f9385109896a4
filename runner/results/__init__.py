# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What runs answered: kept in a store, read back whole, seen as a grid. Nothing here boots a guest."""
