# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Three hosts, or an honest skip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts import namespaces
from tests.hosts.namespaces import Net


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    if why := namespaces.lacking():
        pytest.skip(why)
    with namespaces.net(tmp_path_factory.mktemp("net"), "amber", "birch", "cedar") as net:
        yield net
        for host in net.hosts:
            host.mend()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.heavy)
