"""The policy of a running daemon: what changes it, and what of it an upgrade takes along."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from faith.daemon.config import static_map
from faith.daemon.config.policy import PolicyInputs, Rules
from faith.daemon.config.settings import Settings
from faith.daemon.services.running_policy import RunningPolicy
from faith.errors import ConfigError, SetupError
from faith.kernel.netlink import interfaces, routes
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
    monkeypatch.setattr(interfaces, "connected", list)
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


def test_the_networks_on_the_links_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Gateway()
    monkeypatch.setattr(interfaces, "connected", lambda: [(1 << 125, 64)])
    gateway.policy.follow_kernel()
    gateway.policy.follow_kernel()
    (inputs,) = gateway.applied
    assert inputs.policy().is_connected(1 << 125)
    assert not inputs.policy().is_connected(1)


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


VRRP = int(IPv4Address("192.0.2.1"))
OF_A_PAIR = replace(
    SETTINGS,
    vrrp=VRRP,
    sources=Sources(
        [
            Source([], Addresses.parse(["198.51.100.200"]), set_up=True),
            Source([], Addresses.parse(["192.0.2.11"])),
        ]
    ),
)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The gateway's own networks."""
    found = [(int(IPv4Address("192.0.2.11")), 32)]
    monkeypatch.setattr(routes, "own_ipv4", lambda: list(found))
    return found


def test_the_maps_are_those_of_the_gateway_with_the_address_of_vrrp(
    own: list[tuple[int, int]],
) -> None:
    gateway = Gateway(settings=OF_A_PAIR)
    assert gateway.policy.waits_for == "192.0.2.1"
    own.append((VRRP, 32))
    gateway.policy.follow_kernel()
    assert gateway.policy.waits_for == ""
    (master,) = gateway.applied
    assert [*master.maps] == [*FILE]
    assert len(master.sources.sources) == 2
    own.pop()
    gateway.policy.follow_kernel()
    standby = gateway.applied[-1]
    assert not standby.maps
    assert not standby.networks
    assert [one.set_up for one in standby.sources.sources] == [False]


def test_a_standby_begins_without_maps_and_keeps_those_of_commands(
    own: list[tuple[int, int]],
) -> None:
    gateway = Gateway(settings=OF_A_PAIR)
    with pytest.MonkeyPatch.context() as patch:
        probed: list[Any] = []
        patch.setattr(gateway.policy, "_probe", probed.append)
        gateway.policy.apply_maps(gateway.policy.inputs.maps.changed([], OF_RUN_TIME))
    assert [inputs.networks for inputs in probed] == [()]  # another host answers there
    assert gateway.applied == []
    own.append((VRRP, 32))
    gateway.policy.follow_kernel()
    assert len(gateway.applied[-1].maps) == 2


def test_a_reload_may_make_or_end_a_pair(own: list[tuple[int, int]]) -> None:
    gateway = Gateway(settings=OF_A_PAIR)
    gateway.policy.apply_settings(replace(OF_A_PAIR, vrrp=None), RULES)
    assert [*gateway.applied[-1].maps] == [*FILE]
    gateway.policy.apply_settings(OF_A_PAIR, RULES)
    assert not gateway.applied[-1].maps
