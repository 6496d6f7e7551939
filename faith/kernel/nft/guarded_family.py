"""The rules of a guard, by family: the names, addresses and ICMP codes in which the two differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faith.kernel.nft.expressions import (
    ACK,
    ADMIN_PROHIBITED,
    ADMIN_PROHIBITED4,
    ECHO_REQUEST,
    ECHO_REQUEST4,
    ICMP,
    ICMPV6,
    PORT_UNREACHABLE,
    PORT_UNREACHABLE4,
    SYN,
    TCP,
    UDP,
    counter,
    daddr4_in,
    daddr_in,
    dnat4_to_itself,
    dnat_to_itself,
    dport_in,
    icmp_type,
    icmpv6_type,
    jump,
    l4proto,
    l4proto_not,
    leave,
    reject,
    reject_with_reset,
    saddr4_in,
    saddr_in,
    skuid_not_in,
    socket_not_transparent,
    tcp_flags,
    tcp_flags_not,
)
from faith.kernel.nft.ruleset import ADDRESS, ADDRESS4, IP, IP6, Rule

if TYPE_CHECKING:
    from faith.kernel.nft.ruleset import ElementType

NO_CONNECTION = Rule(
    "tcp flags & (syn | ack) == syn socket transparent 0 counter reject with tcp reset",
    tcp_flags(SYN | ACK, SYN) + socket_not_transparent() + counter() + reject_with_reset(),
)
"""A new connection passes only to a transparent socket."""

NO_REQUEST = Rule(
    "tcp flags & (syn | ack) != syn return",
    tcp_flags_not(SYN | ACK, SYN) + leave(),
)
"""Packets that begin no connection: they belong to one that was judged at its start."""


@dataclass(frozen=True)
class GuardedFamily:
    """The rules of the guard of one family, nft's *name* of it, and the *set* of its addresses.

    *arriving* has the chain *judge* look at packets to these addresses, *leaving* the chain
    ``sent`` at those from them, and *untranslated* keeps the destination of a connection.
    """

    name: str
    set: str
    judge: str
    kind: ElementType
    arriving: Rule
    refused: tuple[Rule, ...]
    leaving: tuple[Rule, ...]
    no_sender: Rule
    untranslated: Rule


PREFIXES = GuardedFamily(
    name=IP6,
    set="prefixes",
    judge="reserved",
    kind=ADDRESS,
    arriving=Rule("ip6 daddr @prefixes jump reserved", daddr_in("prefixes") + jump("reserved")),
    refused=(
        Rule("tcp dport @open_ports return", dport_in("open_ports") + leave()),
        NO_CONNECTION,
        Rule(
            "meta l4proto udp socket transparent 0 reject",
            l4proto(UDP) + socket_not_transparent() + reject(PORT_UNREACHABLE),
        ),
        Rule(
            "icmpv6 type echo-request reject with icmpv6 admin-prohibited",
            icmpv6_type(ECHO_REQUEST) + reject(ADMIN_PROHIBITED),
        ),
        Rule(
            "meta l4proto != tcp meta l4proto != udp meta l4proto != ipv6-icmp"
            " reject with icmpv6 admin-prohibited",
            l4proto_not(TCP) + l4proto_not(UDP) + l4proto_not(ICMPV6) + reject(ADMIN_PROHIBITED),
        ),
    ),
    leaving=(Rule("ip6 saddr @prefixes jump sent", saddr_in("prefixes") + jump("sent")),),
    no_sender=Rule(
        "meta skuid != @users reject with icmpv6 admin-prohibited",
        skuid_not_in("users") + reject(ADMIN_PROHIBITED),
    ),
    untranslated=Rule(
        "ip6 daddr @prefixes dnat to ip6 daddr",
        daddr_in("prefixes") + dnat_to_itself(),
    ),
)
"""Reserved prefixes, of IPv6."""

NETWORKS = GuardedFamily(
    name=IP,
    set="networks",
    judge="mapped",
    kind=ADDRESS4,
    arriving=Rule("ip daddr @networks jump mapped", daddr4_in("networks") + jump("mapped")),
    refused=(
        NO_CONNECTION,
        Rule(
            "meta l4proto udp socket transparent 0 reject",
            l4proto(UDP) + socket_not_transparent() + reject(PORT_UNREACHABLE4),
        ),
        Rule(
            "icmp type echo-request reject with icmp admin-prohibited",
            icmp_type(ECHO_REQUEST4) + reject(ADMIN_PROHIBITED4),
        ),
        Rule(
            "meta l4proto != tcp meta l4proto != udp meta l4proto != icmp"
            " reject with icmp admin-prohibited",
            l4proto_not(TCP) + l4proto_not(UDP) + l4proto_not(ICMP) + reject(ADMIN_PROHIBITED4),
        ),
    ),
    # The kernel connects to a local address from that very address, whoever asks: what goes to
    # mapped networks does not leave the host, and is judged as it arrives.
    leaving=(
        Rule("ip daddr @networks return", daddr4_in("networks") + leave()),
        Rule("ip saddr @networks jump sent", saddr4_in("networks") + jump("sent")),
    ),
    no_sender=Rule(
        "meta skuid != @users reject with icmp admin-prohibited",
        skuid_not_in("users") + reject(ADMIN_PROHIBITED4),
    ),
    untranslated=Rule(
        "ip daddr @networks dnat to ip daddr",
        daddr4_in("networks") + dnat4_to_itself(),
    ),
)
"""Mapped networks, of IPv4."""
