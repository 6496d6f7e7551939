"""The policy of a running daemon: what changes it, and what of it an upgrade takes along."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from faith.daemon.config import static_map
from faith.daemon.config.policy import PolicyInputs, Rules
from faith.daemon.config.settings import Settings
from faith.daemon.services.running_policy import RunningPolicy
from faith.errors import ConfigError, SetupError
from faith.kernel.netlink import routes
from faith.translation.map import TCP
from faith.translation.map_table import NO_MAPS, Maps
from faith.translation.prefix import Prefix
from faith.translation.sources import Addresses, Source, Sources

RULES = Rules("", "")
FILE = Maps(static_map.parse("198.51.100.1 2001:db8::1", "/etc/maps"))
SETTINGS = Settings((), maps=FILE)
OF_RUN_TIME = static_map.parse("198.51.100.9 2001:db8::9")


class Gateway:
    """A policy, what was applied of it, and whether the kernel refuses."""

    def __init__(self, inherited: Any = None, settings: Settings = SETTINGS) -> None:
        self.applied: list[PolicyInputs] = []
        self.refuses: set[int] = set()
        self.policy = RunningPolicy(self.apply, lambda networks: None)
        self.policy.gather(settings, RULES, (), inherited)

    def apply(self, inputs: PolicyInputs) -> None:
        self.applied.append(inputs)
        if len(inputs.maps) in self.refuses:
            raise SetupError("guard networks", "no room")

    @property
    def maps(self) -> list[str]:
        return [*map(str, self.policy.inputs.maps)]


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> list[Prefix]:
    """The prefixes that the kernel has."""
    reserved: list[Prefix] = []
    monkeypatch.setattr(routes, "reserved", lambda: list(reserved))
    monkeypatch.setattr(routes, "own_ipv4", list)
    return reserved


def test_a_change_of_the_kernels_is_applied_once(kernel: list[Prefix]) -> None:
    gateway = Gateway()
    gateway.policy.follow_kernel()
    assert gateway.applied == []
    kernel.append(Prefix.parse("2001:db8:ffff::/96"))
    gateway.policy.follow_kernel()
    gateway.policy.follow_kernel()
    (inputs,) = gateway.applied
    assert inputs.prefixes == tuple(kernel)


def test_maps_that_the_kernel_refuses_leave_the_old_ones() -> None:
    gateway = Gateway()
    gateway.refuses.add(2)
    before = gateway.policy.inputs
    with pytest.raises(SetupError, match="no room"):
        gateway.policy.apply_maps(before.maps.changed([], OF_RUN_TIME))
    assert gateway.policy.inputs == gateway.applied[-1] == before


def test_maps_that_are_refused_leave_no_trace_among_many() -> None:
    """So many that a change is made in place."""
    text = "\n".join(f"198.51.100.{host} 2001:db8::{host}" for host in range(1, 100))
    gateway = Gateway(settings=replace(SETTINGS, maps=Maps(static_map.parse(text))))
    gateway.refuses.add(100)
    before = gateway.policy.inputs.maps
    more = static_map.parse("198.51.101.1 2001:db8::100\n198.51.101.2 2001:db8::101")
    with pytest.raises(SetupError, match="no room"):
        gateway.policy.apply_maps(before.changed([], more[:1]))
    asked = more[0].v4[0], TCP, 80
    assert gateway.policy.inputs.maps is before
    assert before.find(*asked) is None
    gateway.policy.apply_maps(before.changed([], more))
    assert gateway.policy.inputs.maps.find(*asked) == more[0]
    assert (before.find(*asked), len(before)) == (None, 99)


def test_maps_of_run_time_outlive_an_upgrade_and_no_reload(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gateway = Gateway()
    gateway.policy.apply_maps(gateway.policy.inputs.maps.changed([], OF_RUN_TIME))
    after = Gateway(gateway.policy.state())
    assert len(after.maps) == 2
    assert after.maps == gateway.maps
    caplog.set_level("INFO", "faith.supervisor")
    after.policy.apply_settings(replace(SETTINGS, log="json"), RULES)
    assert after.maps == [str(one) for one in FILE]
    assert "map over, for it is in no file: 198.51.100.9" in caplog.text


def test_sources_that_the_host_lacks_are_told_when_they_go_and_come(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "faith.supervisor")
    own = [(0xC6336401, 32)]
    monkeypatch.setattr(routes, "own_ipv4", lambda: own)
    sources = Sources([Source([(0, 0)], Addresses.parse(["198.51.100.1"]))])
    gateway = Gateway(settings=replace(SETTINGS, maps=NO_MAPS, sources=sources))
    gateway.policy.report_absent()
    assert caplog.text == ""
    own.clear()
    for _ in range(2):
        gateway.policy.follow_kernel()
    assert caplog.text.count("not used as a source until this host has it: 198.51.100.1") == 1
    own.append((0xC6336401, 32))
    gateway.policy.follow_kernel()
    assert "this host has all addresses of the sources" in caplog.text


def test_a_map_of_an_address_of_the_gateways_own_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(routes, "own_ipv4", lambda: [(0xC6336401, 32)])
    with pytest.raises(ConfigError, match=r"198\.51\.100\.1"):
        Gateway()
