"""Packets as filters look at them: what is known of their headers, and what is not."""

from __future__ import annotations

import pytest

from faith.cli.explain.filtered_packet import (
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    Packet,
    is_v4,
    plain,
    protocol_number,
)

V6, MAPPED, V4, SERVER = "2001:db8:6::2", "2001:db8:ffff::c000:250", "192.0.2.1", "192.0.2.80"


def test_the_addresses_are_known_and_lengths_are_not() -> None:
    octets, unknown = Packet(V6, MAPPED, TCP, 80).network_header()
    assert (len(octets), octets[6]) == (40, TCP)
    assert octets[8:24].hex() == "20010db8000600000000000000000002"
    assert not unknown & {6, *range(8, 40)}
    octets, unknown = Packet(V4, SERVER, UDP, 53).network_header()
    assert (len(octets), octets[9], octets[12:16]) == (20, UDP, bytes([192, 0, 2, 1]))
    assert not unknown & {0, 9, *range(12, 20)}


def test_the_port_of_the_server_is_known_on_its_side() -> None:
    octets, unknown = Packet(V6, MAPPED, TCP, 80).transport_header()
    assert (octets[2:4], octets[13], 0 in unknown, 2 in unknown) == (b"\0\x50", 2, True, False)
    octets, unknown = Packet(MAPPED, V6, TCP, 80, answer=True).transport_header()
    assert (octets[:2], octets[13], 0 in unknown, 2 in unknown) == (b"\0\x50", 0x12, False, True)


@pytest.mark.parametrize(
    ("source", "protocol", "answer", "kind"),
    [(V6, ICMPV6, False, 128), (V6, ICMPV6, True, 129), (V4, ICMP, False, 8), (V4, ICMP, True, 0)],
)
def test_echo_requests_and_replies(source: str, protocol: int, answer: bool, kind: int) -> None:
    octets, _ = Packet(source, source, protocol, answer=answer).transport_header()
    assert (octets[0], len(octets)) == (kind, 8)


def test_words() -> None:
    assert (protocol_number("icmp", V6), protocol_number("icmp", V4)) == (ICMPV6, ICMP)
    assert protocol_number("tcp", V4) == TCP
    assert (is_v4(V4), is_v4(V6)) == (True, False)
    assert plain("2001:DB8::0%eth0") == "2001:db8::"
    with pytest.raises(ValueError, match="x"):
        plain("x")
