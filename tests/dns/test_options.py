"""Who gets what."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from faith.dns.options import Options, View
from faith.translation.address import IPV4_MAPPED
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix, Prefixes

P1, P2, P3 = (Prefix.parse(f"2001:db8:fff{n}::/96") for n in (1, 2, 3))
EVERYBODY, SOME, FEW = View((P1,)), View((P2,)), View((P1,), filter_a=True)
NONE = View(filter_a=True)
OPTIONS = Options(
    (P1,),
    clients={
        (int(IPv6Address("2001:db8:7::")), 48): (P2,),
        (int(IPv6Address("2001:db8:7:1::")), 64): (),
    },
    filter_a=Networks(
        128,
        [
            (int(IPv6Address("2001:db8:7:1::")), 64),
            (IPV4_MAPPED | int(IPv4Address("192.0.2.0")), 120),
        ],
    ),
    ranges={(int(IPv4Address("10.0.0.0")), 8): (P3,)},
)


@pytest.mark.parametrize(
    ("client", "view"),
    [
        ("2001:db8:6::1", EVERYBODY),
        ("2001:db8:7:2::1", SOME),
        ("2001:db8:7:1::1", NONE),
        ("::ffff:192.0.2.9", FEW),
        ("::ffff:198.51.100.9", EVERYBODY),
    ],
)
def test_the_smallest_network_with_a_client_decides(client: str, view: View) -> None:
    assert OPTIONS.view(int(IPv6Address(client))) == view


def test_rfc6147_5_3_1_all_prefixes_in_use_are_known_and_the_well_known_one() -> None:
    assert OPTIONS.all_prefixes == Prefixes([P1, P2, P3, Prefix.parse("64:ff9b::/96")])


@pytest.mark.parametrize(
    ("v4", "view", "mapped"),
    [
        ("198.51.100.1", EVERYBODY, "2001:db8:fff1::c633:6401"),
        ("198.51.100.1", SOME, "2001:db8:fff2::c633:6401"),
        ("10.1.2.3", SOME, "2001:db8:fff3::a01:203"),
    ],
)
def test_a_range_has_its_own_prefix_for_every_client(v4: str, view: View, mapped: str) -> None:
    assert OPTIONS.addresses(int(IPv4Address(v4)), view) == (IPv6Address(mapped).packed,)
