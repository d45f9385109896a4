# SPDX-FileCopyrightText: 2026 The kfunc-runner authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whose kernel is it, by its release?"""

from __future__ import annotations

import pytest

from runner.model import Facts, Verdict
from runner.model.version import Vendor, vendor_of
from runner.probes.issues import Issue
from tests.samples import pin
from tests.unit import agent_samples


@pytest.mark.parametrize(
    ("release", "vendor"),
    [
        ("6.12.117", "upstream"),
        ("6.12.0-rc3", "upstream"),
        ("7.3.0-rc7-00012-gdeadbeef1234-dirty", "upstream"),
        ("6.12.117+", "upstream"),
        ("6.13.0-next-20250130", "upstream"),
        ("6.6.0-060600-generic", "upstream"),
        ("6.7.0-060700rc1-generic", "upstream"),
        ("6.1.0-56-amd64", "debian"),
        ("6.1.0-56-rt-amd64", "debian"),
        ("6.12.107+deb13-amd64", "debian"),
        ("6.12.107+deb13+1-cloud-arm64", "debian"),
        ("6.12.73+deb12-powerpc64le-64k", "debian"),
        ("7.3-rc7-amd64", "debian"),
        ("7.3.4+deb14-s390x", "debian"),
        ("6.8.0-52-generic", "ubuntu"),
        ("5.15.0-72-generic", "ubuntu"),
        ("6.8.0-1020-aws", "ubuntu"),
        ("6.8.0-50-generic-64k", "ubuntu"),
        ("6.8.0-1052-azure", "azure"),
        ("6.6.57.1-7.azl3", "azure"),
        ("6.12.0-124.8.1.el10_1.x86_64", "rhel"),
        ("5.14.0-570.el9", "rhel"),
        ("5.14.0-570.el9.x86_64+debug", "rhel"),
        ("4.18.0-553.el8_10.x86_64", "rhel"),
        ("5.15.0-310.184.5.2.el9uek.x86_64", "rhel"),
        ("6.1.112-124.190.amzn2023.x86_64", "amazon"),
        ("6.11.4-301.fc41.x86_64", "unknown"),
        ("6.8.12-4-pve", "unknown"),
        ("6.12.1-arch1-1", "unknown"),
        ("6.4.0-150600.23.25-default", "unknown"),
        ("5.10.0-ourcompany", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_release_names_its_vendor(release: str, vendor: str) -> None:
    assert vendor_of(release) == Vendor(vendor)


def test_a_suffix_of_the_users_own_hides_no_vendor() -> None:
    assert vendor_of("6.12.117-mine", built_by_user=True) is Vendor.UPSTREAM
    assert vendor_of("5.14.0-570.el9", built_by_user=True) is Vendor.RHEL


def test_what_an_archive_of_ubuntu_has_is_ubuntus() -> None:
    assert pin("6.8.12", source="ubuntu:noble/6.8", release="6.8.12-custom").vendor is Vendor.UBUNTU
    assert pin("6.8.0", source="ubuntu:noble/6.8/azure", release="6.8.0-1052-azure").vendor is Vendor.AZURE


def test_only_upstream_and_debian_number_their_fixes() -> None:
    assert [vendor for vendor in Vendor if vendor.follows_upstream] == [Vendor.UPSTREAM, Vendor.DEBIAN]


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("6.12.0", "6.12.0-124.8.1.el10_1.x86_64"),
        ("5.14.0", "5.14.0-570.el9"),
        ("4.18.0", "4.18.0-553.el8"),
        ("6.8.0", "6.8.0-1052-azure"),
    ],
)
def test_upstreams_versions_judge_no_vendor_kernel(version: str, release: str) -> None:
    """Real answers of 6.12.117, as if a vendor had backported it all to that version."""
    seen = agent_samples.result("6.12.117")
    as_upstream = {row.probe: row for row in agent_samples.expectations().rows(seen)}
    of_vendor = seen.model_copy(update={"cell": agent_samples.cell(version, release=release)})
    rows = [row for row in agent_samples.expectations().rows(of_vendor) if row.verdict]
    assert len(rows) > 300
    assert not [row.probe for row in rows if row.verdict in (Verdict.BROKEN, Verdict.HOLDS)]
    answered = [row for row in rows if row.answer]
    assert len(answered) > 300  # for comparison with its own earlier ones
    assert {row.cause for row in answered} == {"vendor kernel: compared with its own earlier answers only"}
    assert all(row.answer == as_upstream[row.probe].answer for row in answered if as_upstream[row.probe].answer)
    as_if = seen.model_copy(update={"cell": agent_samples.cell(version)})  # what upstream's intervals would have said
    assert any(row.verdict is Verdict.BROKEN for row in agent_samples.expectations().rows(as_if))


def test_a_vendor_kernel_is_asked_whatever_its_version_is() -> None:
    expectations = agent_samples.expectations()
    assert len(expectations.asks(None)) > len(expectations.asks(pin("5.14.0").upstream))


def test_a_known_issue_names_a_vendor_kernel_by_its_release_only() -> None:
    def issue(**where: object) -> Issue:
        splat = {"kind": "WARNING", "text": "at x"}
        return Issue.model_validate({"id": "i", "what": "w", "reason": "r", "link": "l", "splat": splat, **where})

    rhel = agent_samples.result("6.12.117").model_copy(
        update={"cell": agent_samples.cell("6.12.0", release="6.12.0-124.el10"), "facts": Facts()}
    )
    assert not issue(since=["6.1"]).is_of(rhel)
    assert issue(since=["6.1"], releases=["*.el10"]).is_of(rhel)
    assert issue().is_of(rhel)
    assert issue(since=["6.1"]).is_of(agent_samples.result("6.12.117"))
