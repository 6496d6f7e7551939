"""The guard of mapped IPv4 networks: only sockets made for them answer there.

The IPv4 counterpart of `faith.kernel.nft.guard`, a table ``ip faith`` with the same rules: a
connection or a datagram for a mapped address passes only to a socket that is IP_TRANSPARENT; echo
requests and every other protocol are refused as administratively prohibited.  ICMP errors pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.kernel.nft.expressions import (
    ADMIN_PROHIBITED4,
    ECHO_REQUEST4,
    ICMP,
    PORT_UNREACHABLE4,
    TCP,
    UDP,
    daddr4_in,
    icmp_type,
    jump,
    l4proto,
    l4proto_not,
    reject,
    socket_not_transparent,
)
from faith.kernel.nft.guard import NO_CONNECTION, TABLE, explained
from faith.kernel.nft.nftables import Nftables
from faith.kernel.nft.ruleset import ADDRESS4, IP, Chain, Hook, Rule, Set, Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    Range = tuple[int, int]
    """The first and the last of consecutive IPv4 addresses."""

_NETWORKS = Set("networks", ADDRESS4)
_GUARD = (Rule("ip daddr @networks jump mapped", daddr4_in("networks") + jump("mapped")),)
_MAPPED = (
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
)


def install(ranges: Iterable[Range], known: Iterable[Range] | None = None) -> None:
    """Guard exactly the address *ranges*; without any, remove the guard.

    Ranges guarded before and after stay guarded throughout.  *known* are the ranges of a guard that
    the caller has found intact, which saves reading it again.  Raises SetupError.
    """
    wanted = _table(ranges)
    with explained(), Nftables(family=IP) as nft:
        if not wanted.sets[0].ranges:
            nft.delete(TABLE)
        elif known or (nft.exists(TABLE) and nft.has_rules_of(wanted)):
            _refill(nft, wanted.sets[0], known)
        else:
            nft.replace(wanted)


def _refill(nft: Nftables, wanted: Set, known: Iterable[Range] | None) -> None:
    there, here = set(known or nft.ranges(TABLE, wanted)), set(wanted.ranges)
    if there != here:
        nft.change(TABLE, wanted, sorted(here - there), sorted(there - here))


def is_intact(ranges: Iterable[Range]) -> bool:
    """Return whether the guard has all its rules, and guards *ranges*.  Raises SetupError."""
    wanted = _table(ranges)
    with explained(), Nftables(family=IP) as nft:
        if not wanted.sets[0].ranges:
            return not nft.exists(TABLE)
        return (
            nft.exists(TABLE)
            and nft.has_rules_of(wanted)
            and nft.ranges(TABLE, wanted.sets[0]) == wanted.sets[0].ranges
        )


def generation() -> int:
    """Return nftables' generation, which every change of the ruleset increases.  Raises
    SetupError."""
    with explained(), Nftables(family=IP) as nft:
        return nft.generation()


def render(ranges: Iterable[Range]) -> str:
    """Return what `install` does as a script for ``nft -f -``."""
    return _table(ranges).text()


def _table(ranges: Iterable[Range]) -> Table:
    chains = Chain("guard", _GUARD, Hook("filter", "input", 0)), Chain("mapped", _MAPPED)
    return Table(TABLE, (_NETWORKS.of(ranges),), chains, family=IP)
