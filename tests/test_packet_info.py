"""Control messages as linux/in.h and linux/in6.h lay them out; tests/netns sends by them."""

from __future__ import annotations

import socket
import struct

from faith.kernel.sockets.packet_info import control
from faith.translation.address import V4, V6, packed

SOURCE4, SOURCE6 = packed("192.0.2.7"), packed("2001:db8::7")
IP, IPV6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6
IP_PKTINFO = 8


def test_an_ipv4_packet() -> None:
    info, hops, tos = control(V4, SOURCE4, 9, 0xB8)
    assert info == (IP, IP_PKTINFO, struct.pack("=i4s4s", 0, SOURCE4, bytes(4)))
    assert hops == (IP, socket.IP_TTL, struct.pack("=i", 9))
    assert tos == (IP, socket.IP_TOS, struct.pack("=i", 0xB8))


def test_an_ipv6_packet() -> None:
    info, hops, traffic_class = control(V6, SOURCE6, 9, 0xB8)
    assert info == (IPV6, socket.IPV6_PKTINFO, struct.pack("=16si", SOURCE6, 0))
    assert hops == (IPV6, socket.IPV6_HOPLIMIT, struct.pack("=i", 9))
    assert traffic_class == (IPV6, socket.IPV6_TCLASS, struct.pack("=i", 0xB8))


def test_what_is_not_said_is_left_to_the_kernel() -> None:
    for family, source in ((V4, SOURCE4), (V6, SOURCE6)):
        assert control(family) == []
        assert len(control(family, source)) == len(control(family, None, 9)) == 1
