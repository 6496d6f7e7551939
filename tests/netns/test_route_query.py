"""Questions about single packets: their routes, links and neighbours."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from faith.kernel.netlink import route_query, routes
from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, PREFIX, SERVER
from faith.translation.prefix import Prefix

if TYPE_CHECKING:
    from faith.lab import ThreeHosts

pytestmark = pytest.mark.netns


def test_a_mapped_address_is_local_by_the_route_of_its_prefix(lab: ThreeHosts) -> None:
    with lab.gateway.inside():
        assert route_query.route(lab.mapped()).error == errno.ENETUNREACH
        routes.reserve(Prefix.parse(PREFIX))
        (arrives,) = [one.index for one in route_query.links().values() if "client" in one.name]
        found = route_query.route(lab.mapped(), CLIENT, arrives)
    assert found.is_local
    assert (found.protocol, found.network, found.length) == (
        routes.PROTOCOL,
        "2001:db8:ffff::",
        96,
    )


def test_a_route_out_has_its_source_and_gateway(lab: ThreeHosts) -> None:
    lab.gateway.links.add_route("198.51.100.0/24", SERVER)
    with lab.gateway.inside():
        near, far = route_query.route(SERVER), route_query.route("198.51.100.1")
        own = route_query.route(GATEWAY_V4)
    assert (near.source, near.gateway, near.is_local) == (GATEWAY_V4, "", False)
    assert (far.gateway, far.network, far.length) == (SERVER, "198.51.100.0", 24)
    assert own.is_local


def test_refusals_have_their_errno(lab: ThreeHosts) -> None:
    for kind, number in (
        ("blackhole", errno.EINVAL),
        ("prohibit", errno.EACCES),
        ("unreachable", errno.EHOSTUNREACH),
    ):
        lab.gateway.run(["ip", "route", "add", kind, "198.51.100.0/24"])
        with lab.gateway.inside():
            assert route_query.route("198.51.100.1").error == number
        lab.gateway.run(["ip", "route", "del", kind, "198.51.100.0/24"])


def test_reverse_path_filtering_is_a_refusal_of_its_own(lab: ThreeHosts) -> None:
    lab.gateway.sysctl("net.ipv4.conf.all.rp_filter", 1)
    with lab.gateway.inside():
        links = {one.name: one.index for one in route_query.links().values()}
        wrong = next(index for name, index in links.items() if "client" in name)
        error = route_query.route(GATEWAY_V4, SERVER, wrong).error
        assert error in (errno.EXDEV, errno.EINVAL)  # as Linux 6.18 says


def test_links_and_neighbours(lab: ThreeHosts) -> None:
    with lab.gateway.inside():
        links = {one.name: one for one in route_query.links().values()}
    assert links["lo"].loopback
    (name,) = [name for name in links if "server" in name]
    assert (links[name].up, links[name].works, links[name].mtu) == (True, True, 1500)
    lab.gateway.run(["ip", "link", "set", name, "down"])
    with lab.gateway.inside():
        down = route_query.links()[links[name].index]
    assert (down.up, down.works) == (False, False)
    lab.gateway.run(["ip", "link", "set", name, "up"])

    def mute() -> bool:
        with lab.gateway.inside():
            found = route_query.neighbours()
        return any(one.failed and one.address == "192.0.2.99" for one in found)

    lab.gateway.run(["ping", "-c1", "-W5", "192.0.2.99"], check=False)
    wait_until(mute, 5, "the neighbour is known to be mute")
