"""Static maps as people write them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from faith.daemon.config import static_map
from faith.errors import ConfigError
from faith.translation.map import TCP
from faith.translation.map_table import Maps
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix, Prefixes
from tests.test_map_table import one_map

if TYPE_CHECKING:
    from faith.translation.map import Map

MANY = 100_000
OTHER = "198.51.100.77 2001:db8:1::77\n"
PREFIXES = Prefixes([Prefix.parse("2001:db8:ffff::/96")])
OWN = Networks(32, [static_map.network4("192.0.2.1"), static_map.network4("203.0.113.0/24")])


def test_a_file_has_one_a_line() -> None:
    found = static_map.parse(
        """
        # The web server
        198.51.100.102    2001:db8:a::2    ports=80,https  protocols=tcp
        198.51.100.16/28  2001:db8:c::/124 direction=in  # and its neighbours
        """,
        "maps",
    )
    assert [(str(one), one.file, one.line) for one in found] == [
        ("198.51.100.102 2001:db8:a::2 protocols=tcp ports=80,443", "maps", 3),
        ("198.51.100.16/28 2001:db8:c::/124 direction=in", "maps", 4),
    ]


@given(one_map())
def test_what_a_map_says_of_itself_is_that_map(one: Map) -> None:
    assert static_map.parse(str(one)) == [one]


def test_of_words() -> None:
    words = {"ports": "8080", "to_port": "80"}
    one = static_map.of_words("198.51.100.1", "2001:db8::1", words)
    assert str(one) == "198.51.100.1 2001:db8::1 ports=8080 to_port=80"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("198.51.100.1", "a map has two addresses: IPV4"),
        ("198.51.100.1.1 2001:db8::1", r"'198\.51\.100\.1\.1' is not an IPv4 address \(such as"),
        ("2001:db8::1 198.51.100.1", "2001:db8::1 is IPv6, and IPv4 is expected here"),
        ("198.51.100.1 198.51.100.2", r"198\.51\.100\.2 is IPv4, and IPv6 is expected here"),
        ("198.51.100.1 fe80::1%lo", "is not an IPv6 address"),
        ("198.51.100.1 2001:db8::1\0", "is not an IPv6 address"),
        ("198.51.100.0/33 2001:db8::", "'33' is not a prefix length from 0 to 32"),
        ("198.51.100.0/0024 2001:db8::/120", "'0024' is not a prefix length"),
        ("198.51.100.0/\u00b2 2001:db8::/120", "'\u00b2' is not a prefix length"),
        ("198.51.100.0/ 2001:db8::", "'' is not a prefix length"),
        ("198.51.100.0 2001:db8::/-1", "'-1' is not a prefix length from 0 to 128"),
        ("198.51.100.1/24 2001:db8::/120", r"did you mean 198\.51\.100\.0/24\?"),
        ("198.51.100.1 2001:db8::1 80", "'80' is not KEY=VALUE"),
        ("198.51.100.1 2001:db8::1 protocol=tcp", "is protocols meant?"),
        ("198.51.100.1 2001:db8::1 ports=1 ports=2", "ports is given twice"),
        ("198.51.100.1 2001:db8::1 ports=0", "port 0 is not between"),
        ("198.51.100.1 2001:db8::1 ports=1 to_port=2-3", "2-3 is not one port"),
        ("198.51.100.1 2001:db8::1 protocols=", "'' is none of tcp, udp, icmp"),
        ("198.51.100.1 2001:db8::1 protocols=tcp,ucp", "is udp meant?"),
        ("198.51.100.1 2001:db8::1 direction=inwards", "'inwards' is none of both, in, out"),
        ("127.0.0.1 2001:db8::1", "no host can have"),
    ],
)
def test_a_mistake_is_told_with_its_place(line: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as told:
        static_map.parse(f"\n{line}", "maps")
    assert (told.value.file, told.value.line) == ("maps", 2)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "198.51.100.1 2001:db8:ffff::1",
            "2001:db8:ffff::1 is under the prefix 2001:db8:ffff::/96",
        ),
        ("198.51.100.0/28 2001:db8::/32", "2001:db8::/32 has the prefix 2001:db8:ffff::/96 in it"),
        ("192.0.2.1 2001:db8::1", r"192\.0\.2\.1 is the gateway's own$"),
        ("203.0.113.7 2001:db8::1", r"203\.0\.113\.7 is the gateway's own, by 203\.0\.113\.0/24"),
    ],
)
def test_what_is_the_gateways_is_not_mapped(line: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as told:
        static_map.check(static_map.parse(OTHER + line, "maps"), PREFIXES, OWN)
    assert (told.value.file, told.value.line) == ("maps", 2)


def test_a_mapped_network_may_begin_with_the_gateways_address() -> None:
    own = Networks(32, [static_map.network4("192.0.2.16")])
    static_map.check(static_map.parse("192.0.2.16/28 2001:db8:1::/64"), PREFIXES, own)


def test_neighbours_do_not_overlap() -> None:
    beside = "198.51.100.0/28 2001:db8:ffff::2:0:0/95"
    static_map.check(static_map.parse(beside), PREFIXES, OWN)
    pool = [static_map.network4("198.51.100.128/25")]
    static_map.check_pool(static_map.parse("198.51.100.127 2001:db8:1::1"), pool)
    with pytest.raises(
        ConfigError, match=r"^maps:2: 198\.51\.100\.128 is mapped, and in the pool of"
    ):
        static_map.check_pool(static_map.parse(OTHER + "198.51.100.128 2001:db8::1", "maps"), pool)
    static_map.check_pool(static_map.parse(OTHER), [])


def test_a_mapped_network_may_have_the_gateways_address_in_it() -> None:
    static_map.check(static_map.parse(OTHER + "192.0.2.0/24 2001:db8:1::/64"), PREFIXES, OWN)


def test_a_hundred_thousand_maps() -> None:
    lines = (
        f"198.{18 + (host >> 16)}.{host >> 8 & 255}.{host & 255}"
        f" 2001:db8:{host >> 16:x}:{host & 0xFFFF:x}::1"
        for host in range(MANY)
    )
    maps = Maps(static_map.parse("\n".join(lines)))
    static_map.check(maps, PREFIXES, OWN)
    assert len(maps) == MANY
    for host in random.Random(1).choices(range(MANY), k=100):
        v4, v6 = (198 << 24 | 18 << 16) + host, (0x20010DB8 << 32 | host) << 64 | 1
        assert maps.to_v6(v4, TCP, 80) == (v6, 80)
        assert maps.to_v4(v6, TCP) == v4
    assert sum(1 << 32 - length for _, length in maps.networks) == MANY
