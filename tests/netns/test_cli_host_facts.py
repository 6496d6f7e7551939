"""A host as ``faith setup`` sees it, on a gateway of the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faith.cli.setup import host_facts
from faith.cli.setup.host_facts import Host
from faith.kernel.netlink import routes
from faith.lab.topology import GATEWAY_V4, GATEWAY_V6, SERVER
from faith.translation.prefix import Prefix
from tests.netns.rights import without_capabilities

if TYPE_CHECKING:
    from pathlib import Path

    from faith.lab import ThreeHosts

pytestmark = pytest.mark.netns


def addresses(host: Host) -> dict[str, list[str]]:
    return {
        name: sorted(str(own.address) for own in found) for name, found in host.addresses.items()
    }


@pytest.fixture
def resolv_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "resolv.conf"
    monkeypatch.setattr(host_facts, "RESOLV_CONF", file)
    return file


def test_interfaces_with_their_addresses_but_for_loopback_and_link_local(lab: ThreeHosts) -> None:
    host = lab.gateway.call(Host.look)
    assert addresses(host) == {"to-client": [GATEWAY_V6], "to-server": [GATEWAY_V4]}
    assert [str(own.network) for own in host.own(["to-server"], 4)] == ["192.0.2.0/24"]
    assert host.own(["to-server", "no-such"], 6) == []


def test_outside_is_where_the_default_route_of_ipv4_is(lab: ThreeHosts) -> None:
    before = lab.gateway.call(Host.look)
    assert before.outside == ()
    assert (before.inside(), before.towards_ipv4()) == (["to-client"], ["to-server"])
    lab.gateway.links.add_route("default", SERVER)
    after = lab.gateway.call(Host.look)
    assert after.outside == ("to-server",)


def test_an_interface_outside_is_inside_only_if_there_is_no_other(lab: ThreeHosts) -> None:
    lab.gateway.links.add_address("to-server", "2001:db8:1::1/64")
    lab.gateway.links.add_address("to-client", "198.51.100.1/24")
    lab.gateway.links.add_route("default", SERVER)
    host = lab.gateway.call(Host.look)
    assert host.with_addresses(6) == ["to-client", "to-server"]
    assert (host.inside(), host.towards_ipv4()) == (["to-client"], ["to-server"])
    only = Host({"to-server": host.addresses["to-server"]}, ("to-server",))
    assert (only.inside(), only.towards_ipv4()) == (["to-server"], ["to-server"])


def test_reserved_prefixes_and_rights_are_seen(lab: ThreeHosts) -> None:
    prefix = Prefix.parse(lab.prefix)
    lab.gateway.call(routes.reserve, prefix)
    with lab.gateway.inside():
        assert Host.look().reserved == (prefix,)
        assert "CAP_NET_ADMIN" in Host.look().rights
        assert without_capabilities(Host.look).rights == frozenset()


def test_name_servers_are_those_of_resolv_conf(lab: ThreeHosts, resolv_conf: Path) -> None:
    assert lab.gateway.call(Host.look).servers == ()  # there is none
    resolv_conf.write_text("# mine\nnameserver 192.0.2.53\nnameserver 2001:db8::53\n")
    assert lab.gateway.call(Host.look).servers == ("192.0.2.53", "2001:db8::53")
