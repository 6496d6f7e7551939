"""The AnyIP route and the reading of the tables, against what other programs make and see."""

from __future__ import annotations

import select
import socket
from ipaddress import IPv4Address, IPv6Address
from subprocess import CalledProcessError
from typing import TYPE_CHECKING

import pytest

from faith.errors import PermissionNeeded, SetupError
from faith.kernel.netlink import mapped_routes, routes
from faith.translation.prefix import LOW32, RFC6052, Prefix
from tests.netns.rights import without_capabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import Host, Network

pytestmark = pytest.mark.netns

PREFIX = Prefix.parse("2001:db8:ffff::/96")
OTHER = Prefix.parse("2001:db8:fffe::/64", LOW32)


@pytest.fixture
def host(network: Network) -> Host:
    """A gateway with one link, which is not on the way to anywhere."""
    gateway, neighbour = network.host("gateway"), network.host("peer")
    network.link(gateway, neighbour, ["2001:db8:6::1/64", "192.0.2.1/24"])
    return gateway


@pytest.fixture
def ip(host: Host, need: Callable[[str], str]) -> Callable[[str], str]:
    """iproute2 on the gateway."""
    program = need("ip")
    return lambda words: host.run([program, *words.split()]).stdout


@pytest.fixture
def inside(host: Host) -> Iterator[None]:
    with host.inside():
        yield


@pytest.mark.usefixtures("inside")
class TestReserve:
    @pytest.mark.parametrize(("layout", "metric"), [(LOW32, 3142), (RFC6052, 6052)])
    def test_the_route_is_the_one_described(
        self, layout: str, metric: int, ip: Callable[[str], str]
    ) -> None:
        prefix = Prefix.parse("2001:db8:ffff::/96", layout)
        routes.reserve(prefix)
        shown = ip("-6 route show table local proto 70")
        assert shown.split() == f"local {prefix} dev lo metric {metric} pref medium".split()
        assert routes.reserved() == [prefix]

    def test_several_and_again(self) -> None:
        for prefix in (PREFIX, OTHER, PREFIX):
            routes.reserve(prefix)
        assert set(routes.reserved()) == {PREFIX, OTHER}

    def test_another_layout_takes_the_place(self) -> None:
        again = Prefix.parse("2001:db8:ffff::/96", RFC6052)
        routes.reserve(PREFIX)
        routes.reserve(again)
        assert routes.reserved() == [again]

    def test_release_says_whether_there_was_anything(self) -> None:
        routes.reserve(PREFIX)
        routes.reserve(OTHER)
        assert routes.release(Prefix.parse("2001:db8:ffff::/96", RFC6052))
        assert routes.reserved() == [OTHER]
        assert not routes.release(PREFIX)

    def test_a_route_of_somebody_else_is_left_alone(self, ip: Callable[[str], str]) -> None:
        ip(f"-6 route add local {PREFIX} dev lo metric 3142")
        assert routes.reserved() == []
        assert not routes.release(PREFIX)
        assert str(PREFIX) in ip("-6 route show table local")

    def test_loopback_down(self, ip: Callable[[str], str]) -> None:
        ip("link set lo down")
        with pytest.raises(SetupError, match="ip link set lo up"):
            routes.reserve(PREFIX)

    def test_ipv6_switched_off(self, host: Host) -> None:
        host.sysctl("net.ipv6.conf.lo.disable_ipv6", 1)
        with pytest.raises(SetupError, match=r"lo\.disable_ipv6=0") as refused:
            routes.reserve(PREFIX)
        assert not isinstance(refused.value, PermissionNeeded)

    def test_the_missing_right_is_named(self) -> None:
        routes.reserve(PREFIX)
        for change in (routes.reserve, routes.release):
            with pytest.raises(PermissionNeeded, match="CAP_NET_ADMIN"):
                without_capabilities(lambda change=change: change(PREFIX))  # type: ignore[misc]

    def test_reading_takes_no_right(self) -> None:
        routes.reserve(PREFIX)
        assert without_capabilities(routes.reserved) == [PREFIX]
        assert (int(IPv4Address("192.0.2.1")), 32) in without_capabilities(routes.own_ipv4)
        assert without_capabilities(lambda: routes.conflicts(OTHER)) is None
        assert without_capabilities(routes.forwarding_warnings)


@pytest.mark.usefixtures("inside")
class TestConflicts:
    @pytest.mark.parametrize(
        ("prefix", "reason"),
        [
            ("2001:db8:6::/96", "it holds 2001:db8:6::1, an address of to-peer"),
            ("2001:db8::/32", "it holds 2001:db8:6::1, an address of to-peer"),
            ("2001:db8:6:0:1::/96", "it lies in 2001:db8:6::/64, the subnet of to-peer"),
            ("::/96", "it overlaps ::/127, the unspecified and the loopback address"),
            ("::ffff:0:0/96", "it overlaps ::ffff:0.0.0.0/96, the IPv4-mapped addresses,"),
            ("fe80::1:0:0/96", "it overlaps fe80::/10, the link-local addresses"),
            ("c000::/2", "it overlaps fe80::/10, the link-local addresses"),
        ],
    )
    def test_with_what_the_host_is(self, prefix: str, reason: str) -> None:
        found = routes.conflicts(Prefix.parse(prefix, LOW32))
        assert found
        assert found.startswith(reason)

    @pytest.mark.parametrize(
        ("route", "reason"),
        [
            (
                "2001:db8:ffff::/96 via 2001:db8:6::2",
                "it has a route already through to-peer, protocol 3",
            ),
            (
                "unreachable 2001:db8:ffff::/96",
                "it has a route already through lo, protocol 3",
            ),
            (
                "2001:db8:ffff::5/128 via 2001:db8:6::2",
                "it holds 2001:db8:ffff::5/128, which has a route through to-peer",
            ),
            (
                "local 2001:db8:ffff::5 dev lo",
                "it holds 2001:db8:ffff::5/128, which has a route through lo",
            ),
            (
                "2001:db8:ffff::/48 dev to-peer proto ra",
                "it lies in 2001:db8:ffff::/48, which is on the link of to-peer",
            ),
        ],
    )
    def test_with_a_route(self, route: str, reason: str, ip: Callable[[str], str]) -> None:
        ip(f"-6 route add {route}")
        assert routes.conflicts(PREFIX) == reason
        assert routes.conflicts(OTHER) is None

    @pytest.mark.parametrize(
        "route",
        [
            "default via 2001:db8:6::2",
            "default dev to-peer",
            "2001:db8::/32 via 2001:db8:6::2",
            "2001:db8::/32 nexthop via 2001:db8:6::2 nexthop via 2001:db8:6::3",
            "unreachable 2001:db8::/32",
            "local 2001:db8:ffff::/48 dev lo",
            "2001:db8:ffff::/96 via 2001:db8:6::2 table 100",
        ],
    )
    def test_none_with_a_wider_route(self, route: str, ip: Callable[[str], str]) -> None:
        ip(f"-6 route add {route}")
        assert routes.conflicts(PREFIX) is None

    def test_none_with_a_wider_route_to_a_link_without_neighbours(
        self, ip: Callable[[str], str]
    ) -> None:
        ip("link set to-peer arp off")  # as on a tunnel, nobody on it is asked for
        ip("-6 route add 2001:db8::/32 dev to-peer")
        assert routes.conflicts(PREFIX) is None

    def test_an_address_without_a_subnet(self, ip: Callable[[str], str]) -> None:
        ip("-6 addr add 2001:db8:ffff:1::1/32 dev to-peer noprefixroute nodad")
        assert routes.conflicts(PREFIX) is None

    def test_none_with_what_is_reserved(self) -> None:
        routes.reserve(PREFIX)
        for prefix in ("2001:db8:ffff::/96", "2001:db8:ffff::/64"):
            assert routes.conflicts(Prefix.parse(prefix, LOW32)) is None


@pytest.mark.usefixtures("inside")
class TestOwnIPv4:
    def test_addresses_broadcasts_and_what_was_made_local(self, ip: Callable[[str], str]) -> None:
        ip("route add local 198.51.100.0/24 dev lo")
        own = {f"{IPv4Address(network)}/{length}" for network, length in routes.own_ipv4()}
        assert own >= {"127.0.0.0/8", "192.0.2.1/32", "192.0.2.255/32", "198.51.100.0/24"}
        assert not own & {"192.0.2.0/24", "192.0.2.80/32"}

    def test_and_of_ipv6_but_for_what_is_reserved(self, ip: Callable[[str], str]) -> None:
        routes.reserve(PREFIX)
        ip("-6 route add local 2001:db8:9::/64 dev lo")
        own = {f"{IPv6Address(network)}/{length}" for network, length in routes.own_ipv6()}
        assert own >= {"::1/128", "2001:db8:6::1/128", "2001:db8:9::/64"}
        assert not own & {str(PREFIX), "2001:db8:6::/64"}

    def test_local_routes_of_every_table_count(self, ip: Callable[[str], str]) -> None:
        ip("route add local 198.51.100.0/24 dev lo table 100")
        ip("-6 route add local 2001:db8:9::/64 dev lo table 4242")
        ip("-6 route add local 2001:db8:8::/64 dev lo table 100 proto 71")
        assert (int(IPv4Address("198.51.100.0")), 24) in routes.own_ipv4()
        own = {f"{IPv6Address(network)}/{length}" for network, length in routes.own_ipv6()}
        assert "2001:db8:9::/64" in own
        assert "2001:db8:8::/64" not in own

    def test_a_local_default_route_is_for_tproxy_and_no_address(
        self, ip: Callable[[str], str]
    ) -> None:
        before = set(routes.own_ipv4()), set(routes.own_ipv6())
        ip("route add local default dev lo table 100")
        ip("-6 route add local default dev lo table 100")
        assert (set(routes.own_ipv4()), set(routes.own_ipv6())) == before

    def test_an_address_in_a_vrf_counts(self, host: Host, ip: Callable[[str], str]) -> None:
        try:
            ip("link add red type vrf table 100")
        except CalledProcessError:
            pytest.skip("this kernel has no VRFs")
        ip("link set red up")
        ip("link set to-peer master red")
        ip("-6 addr add 2001:db8:9::1/64 dev to-peer nodad")
        assert (int(IPv4Address("192.0.2.1")), 32) in routes.own_ipv4()
        assert (int(IPv6Address("2001:db8:9::1")), 128) in routes.own_ipv6()

    def test_a_host_that_never_had_an_ipv4_address(self, network: Network) -> None:
        empty = network.host("empty")
        empty.run(["ip", "addr", "flush", "dev", "lo"])
        assert empty.call(routes.own_ipv4) == []


@pytest.mark.usefixtures("inside")
class TestWarnings:
    def test_no_way_to_the_world(self) -> None:
        (warning,) = routes.forwarding_warnings()
        assert warning == "no IPv4 route to the world: Network is unreachable"

    def test_a_way_there_is(self, host: Host) -> None:
        host.links.add_route("default", "192.0.2.80")
        assert routes.forwarding_warnings() == []

    def test_no_ipv6(self, network: Network) -> None:
        bare = network.host("bare")
        assert [w.partition(":")[0] for w in bare.call(routes.forwarding_warnings)] == [
            "no interface has an IPv6 address beyond its own link",
            "no route to any IPv4 network",
        ]


@pytest.mark.usefixtures("inside")
class TestWatch:
    @pytest.mark.parametrize(
        "change",
        [
            "addr add 192.0.2.9/24 dev to-peer",
            "addr add 2001:db8:6::9/64 dev to-peer nodad",
            "route add local 198.51.100.0/24 dev lo",
            "-6 route add local 2001:db8:ffff::/96 dev lo",
            "-6 route add local 2001:db8:ffff::/96 dev lo table 100",
        ],
    )
    def test_a_change(self, change: str, ip: Callable[[str], str]) -> None:
        with routes.watch() as watch:
            assert not watch.drain()
            ip(change)
            assert select.select([watch], [], [], 2)[0]  # an IPv6 address is told of a bit later
            assert watch.drain()

    def test_nothing(self) -> None:
        with routes.watch() as watch:
            assert not watch.drain()
            assert not select.select([watch], [], [], 0)[0]

    def test_what_is_known_does_not_count(self, ip: Callable[[str], str]) -> None:
        def known(kind: int, body: bytes) -> bool:
            return mapped_routes.change(kind, body) in ours

        networks = [(0xC6336400, 24), (0xC6336501, 32)]
        ours = {(network, 7, came) for network in networks for came in (True, False)}
        with routes.watch() as watch:
            mapped_routes.hold(networks, 7)
            mapped_routes.release(networks, 7)
            assert not watch.drain(known)
            mapped_routes.hold(networks, 8)
            assert watch.drain(known)
            mapped_routes.release(networks, 8)
            ip("route add local 198.51.100.0/24 dev lo metric 7")
            assert watch.drain(known)

    def test_routes_elsewhere_do_not_count(self, ip: Callable[[str], str]) -> None:
        with routes.watch() as watch:
            ip("-6 route add 2001:db8:ffff::/96 via 2001:db8:6::2")
            ip("route add 198.51.100.0/24 via 192.0.2.80")
            assert not watch.drain()

    def test_what_was_lost_counts(self, host: Host, ip: Callable[[str], str]) -> None:
        with routes.watch() as watch:
            with socket.socket(fileno=socket.dup(watch.fileno())) as same:
                same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            commands = "".join(
                f"route add 198.51.100.{last}/32 via 192.0.2.80\n" for last in range(64)
            )
            host.run(["ip", "-batch", "-"], stdin=commands)
            assert watch.drain()
            assert not watch.drain()
