"""Matches and targets of iptables inside rules of nftables."""

from __future__ import annotations

import struct

from faith.cli.explain.compat_terms import match, target
from faith.cli.explain.filtered_packet import ESTABLISHED, TCP, UDP, Packet
from faith.kernel.nft.rule_dump import Verdict

SYN = Packet("2001:db8:6::2", "2001:db8:ffff::c000:250", TCP, 80)
ALL = (0, 65535)


def tcp(sources: tuple[int, int] = ALL, ports: tuple[int, int] = ALL, inverted: int = 0) -> bytes:
    return struct.pack("=4H4B", *sources, *ports, 0, 0, 0, inverted)


def test_ports() -> None:
    assert match("tcp", tcp(ports=(80, 80)), SYN) is True
    assert match("tcp", tcp(ports=(22, 22)), SYN) is False
    assert match("tcp", tcp(ports=(22, 22), inverted=2), SYN) is True
    assert match("tcp", tcp(sources=(1024, 65535)), SYN) is None
    datagram = Packet(SYN.source, SYN.destination, UDP, 53)
    assert match("tcp", tcp(), datagram) is False
    assert match("udp", struct.pack("=4HB", *ALL, 53, 53, 0), datagram) is True
    answer = Packet(SYN.destination, SYN.source, TCP, 80, answer=True, state=ESTABLISHED)
    assert match("tcp", tcp(sources=(80, 80)), answer) is True


def test_states() -> None:
    established = struct.pack("=146xHHH4x", 1, 0, 6)
    assert match("conntrack", established, SYN) is False
    assert match("conntrack", struct.pack("=146xHHH4x", 1, 1, 6), SYN) is True
    assert match("conntrack", struct.pack("=146xHHH4x", 3, 0, 6), SYN) is None
    assert match("state", struct.pack("=I", 8), SYN) is True


def test_others_are_not_known() -> None:
    assert match("set", b"", SYN) is None
    assert match("comment", b"", SYN) is True


def test_targets() -> None:
    assert target("REJECT") == "reject"
    assert target("LOG") == ""
    assert target("DNAT") == "translate"
    assert target("MASQUERADE") == Verdict(1)
    assert target("SOMETHING") is None
