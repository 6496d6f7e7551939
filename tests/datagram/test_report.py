from __future__ import annotations

import pytest

from faith.datagram import icmp
from faith.datagram.packet import (
    ICMP,
    ICMPV6,
    MOST_V4,
    UDP,
    Packet,
    read_v4,
    read_v6,
    write_v4,
    write_v6,
)
from faith.datagram.report import (
    LEAST,
    about,
    error_for,
    pass_on,
    quoted,
    reporter_v6,
)
from faith.translation.access import Access
from faith.translation.destination import Policy
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix, Prefixes
from tests.datagram.wires import number, packet

CLIENT, MAPPED = "2001:db8:6::2", "2001:db8:ffff::c000:250"
ASKER, SERVER = "203.0.113.9", "192.0.2.80"
PREFIX, WELL_KNOWN = Prefix.parse("2001:db8:ffff::/96"), Prefix.parse("64:ff9b::/96")


def came(hops: int) -> Packet:
    """The packet of an error, of a class as routers give it."""
    return Packet(0, 0, hops, 0xC0, ICMP, 0, b"")


def body(message: bytes) -> bytes:
    read = icmp.read(message)
    assert read
    return read.body


def test_an_error_of_our_own_fits_into_the_least_packet_and_quotes_the_beginning() -> None:
    long = write_v6(packet((CLIENT, 7), (MAPPED, 53), b"x" * 4000))
    told = error_for(icmp.V6, icmp.NO_ROUTE_V6, long, number(CLIENT), 3)
    assert (told.v6, told.source, told.to, told.scope) == (True, None, number(CLIENT), 3)
    assert len(told.message) == 1280 - 40
    assert long.startswith(body(told.message))
    long = write_v4(packet((ASKER, 7), (SERVER, 53), b"x" * 4000))
    told = error_for(icmp.V4, icmp.UNREACHABLE_HOST_V4, long, number(ASKER))
    assert (told.v6, told.source, told.to) == (False, None, number(ASKER))
    assert len(told.message) == 576 - 20
    assert long.startswith(body(told.message))
    read = icmp.within(Packet(0, 0, 1, 0, ICMP, len(told.message), told.message))
    assert read
    assert (read.kind, read.code) == (3, 1)


def test_what_an_error_is_about_is_found_of_its_protocol_only() -> None:
    sent = packet((ASKER, 7), (SERVER, 53))
    error = icmp.Message(3, 3, 0, write_v4(sent))
    assert about(icmp.V4, error, UDP) == sent
    assert about(icmp.V4, error, ICMP) is None
    sent = packet((CLIENT, 7), (MAPPED, 53))
    error = icmp.Message(1, 4, 0, write_v6(sent))
    assert about(icmp.V6, error, UDP) == sent
    assert about(icmp.V6, error, ICMPV6) is None


def test_a_quote_needs_ports_and_checksum() -> None:
    four, six = packet((ASKER, 7), (SERVER, 53)), packet((CLIENT, 7), (MAPPED, 53))
    for octets, found in ((LEAST, True), (LEAST - 1, False)):
        error = icmp.Message(3, 3, 0, write_v4(four)[: 20 + octets])
        assert (about(icmp.V4, error, UDP) is not None) is found
        error = icmp.Message(1, 4, 0, write_v6(six)[: 40 + octets])
        assert (about(icmp.V6, error, UDP) is not None) is found


@pytest.mark.parametrize(("length", "fits"), [(MOST_V4, True), (MOST_V4 + 1, False)])
def test_what_fits_into_no_ipv4_packet_did_not_come_from_there(length: int, fits: bool) -> None:
    sent = packet((CLIENT, 7), (MAPPED, 53))._replace(length=length)
    assert (about(icmp.V6, icmp.Message(1, 4, 0, write_v6(sent)), UDP) is not None) is fits


def test_a_quote_comes_with_the_error_for_the_other_side() -> None:
    four, six = packet((ASKER, 7), (SERVER, 53)), packet((CLIENT, 7), (MAPPED, 53))
    for version, sent, kinds in (
        (icmp.V4, four, {(3, 3): icmp.Error(1, 4), (3, 14): None}),
        (icmp.V6, six, {(1, 4): icmp.Error(3, 3), (1, 6): None}),
    ):
        for (kind, code), translated in kinds.items():
            message = icmp.write(icmp.Message(kind, code, 0, version.write(sent)))
            arrived = Packet(1, 2, 60, 0, version.protocol, len(message), message)
            found = quoted(version, arrived, UDP)
            assert found == (None if translated is None else (sent, translated))
            assert quoted(version, arrived, version.protocol) is None


def test_an_error_with_a_wrong_checksum_is_none() -> None:
    """Of ICMP; the kernel has verified that of ICMPv6 already."""
    sent = write_v4(packet((ASKER, 7), (SERVER, 53)))
    message = icmp.write(icmp.Message(3, 3, 0, sent))
    for last, found in ((message[-1], True), (message[-1] ^ 1, False)):
        octets = message[:-1] + bytes([last])
        arrived = Packet(1, 2, 60, 0, ICMP, len(octets), octets)
        assert (quoted(icmp.V4, arrived, UDP) is not None) is found


def test_an_error_is_passed_on_to_the_sender_with_one_hop_less() -> None:
    six, four = packet((CLIENT, 7), (MAPPED, 53)), packet((ASKER, 7), (SERVER, 53))
    told = pass_on(icmp.V6, icmp.NO_ROUTE_V6, six, number(MAPPED), came(60), 2)
    assert (told.v6, told.source, told.to) == (True, number(MAPPED), number(CLIENT))
    assert (told.hops, told.traffic_class, told.scope) == (59, 0xC0, 2)
    assert read_v6(body(told.message)) == six
    told = pass_on(icmp.V4, icmp.UNREACHABLE_HOST_V4, four, None, came(60))
    assert (told.v6, told.source, told.to) == (False, None, number(ASKER))
    assert (told.hops, told.traffic_class) == (59, 0xC0)
    assert read_v4(body(told.message)) == four


@pytest.mark.parametrize("hops", [0, 1])
def test_the_last_hop_is_enough_for_an_error(hops: int) -> None:
    six, four = packet((CLIENT, 7), (MAPPED, 53)), packet((ASKER, 7), (SERVER, 53))
    assert pass_on(icmp.V6, icmp.NO_ROUTE_V6, six, None, came(hops), 0).hops == 1
    assert pass_on(icmp.V4, icmp.UNREACHABLE_HOST_V4, four, None, came(hops)).hops == 1


def test_who_reports_has_an_address_under_the_prefix_unless_it_may_have_none() -> None:
    own = Networks(32, [(number(ASKER), 32)])
    policy = Policy(Prefixes([PREFIX, WELL_KNOWN]), own, Access.parse(""))
    private = number("10.0.0.1")
    assert reporter_v6(number(SERVER), PREFIX, policy) == number(MAPPED)
    assert reporter_v6(private, PREFIX, policy) == PREFIX.map(private)
    assert reporter_v6(private, WELL_KNOWN, policy) is None  # RFC 6052 section 3.1
    assert reporter_v6(number("8.8.8.8"), WELL_KNOWN, policy) == number("64:ff9b::808:808")
    assert reporter_v6(number(ASKER), PREFIX, policy) is None
