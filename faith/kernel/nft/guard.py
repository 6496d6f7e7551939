"""The guard: under a reserved prefix, only sockets made for it answer.

An AnyIP route makes every address of a prefix the host's own, and so every server on the host that
listens on ``[::]`` reachable under it.  The guard is an nftables table that needs no process: a
connection passes only to a listener that is IPV6_TRANSPARENT, as FAITH's are, or to a port that was
opened for ordinary listeners (inetd's).  The same holds for UDP; echo requests and every other
protocol are refused as administratively prohibited.  ICMPv6 errors pass, because path MTU discovery
needs them, and so do packets of established connections, which were judged at their start.

A connection request in fragments has its whole TCP header in the first fragment, or Linux drops it
(RFC 8200 §4.5; since 5.11).
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from faith.errors import SetupError
from faith.kernel.netlink.netlink import setup_error
from faith.kernel.nft.expressions import (
    ACK,
    ADMIN_PROHIBITED,
    ECHO_REQUEST,
    ICMPV6,
    PORT_UNREACHABLE,
    SYN,
    TCP,
    UDP,
    counter,
    daddr_in,
    dport_in,
    icmpv6_type,
    jump,
    l4proto,
    l4proto_not,
    leave,
    reject,
    reject_with_reset,
    socket_not_transparent,
    tcp_flags,
)
from faith.kernel.nft.nftables import Nftables
from faith.kernel.nft.ruleset import ADDRESS, Chain, Hook, Rule, Set, Table, networks_of
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from faith.translation.prefix import Prefix

TABLE = "faith"
_NO_PORTS = Ports([])

NO_CONNECTION = Rule(
    "tcp flags & (syn | ack) == syn socket transparent 0 counter reject with tcp reset",
    tcp_flags(SYN | ACK, SYN) + socket_not_transparent() + counter() + reject_with_reset(),
)
"""A new connection passes only to a transparent socket."""

_GUARD = (Rule("ip6 daddr @prefixes jump reserved", daddr_in("prefixes") + jump("reserved")),)
_RESERVED = (
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
)


class NoNftables(SetupError):
    """This kernel has no nftables, or lacks an expression that the guard needs."""


@dataclass(frozen=True)
class GuardState:
    """The state of the guard in the kernel.

    *intact* is false when a rule, chain or hook differs from what `install` makes, and when the
    table is missing.  *networks* are the ``(network, length)`` pairs under guard.
    """

    present: bool = False
    intact: bool = False
    networks: frozenset[tuple[int, int]] = frozenset()
    open_ports: Ports = _NO_PORTS

    def covers(self, prefix: Prefix) -> bool:
        """Return whether all of *prefix* is under guard."""
        return any(
            length <= prefix.length and (network ^ prefix.address) >> (128 - length) == 0
            for network, length in self.networks
        )


def install(prefixes: Iterable[Prefix], open_ports: Ports = _NO_PORTS) -> None:
    """Guard exactly *prefixes*, except for *open_ports*; a guard that exists is replaced.

    The replacement is atomic: the prefixes are guarded at every moment.  Raises SetupError.
    """
    with explained(), Nftables() as nft:
        nft.replace(_table(prefixes, open_ports))


def remove() -> bool:
    """Remove the guard; return False when there was none.  Raises SetupError."""
    with explained(), Nftables() as nft:
        return nft.delete(TABLE)


def inspect() -> GuardState:
    """Return the guard's state in the kernel.  Needs CAP_NET_ADMIN; raises SetupError."""
    table = _table((), _NO_PORTS)
    prefixes, open_ports = table.sets
    with explained(), Nftables() as nft:
        if not nft.exists(TABLE):
            return GuardState()
        return GuardState(
            True,
            nft.has_rules_of(table),
            _networks(nft.ranges(TABLE, prefixes)),
            Ports(nft.ranges(TABLE, open_ports)),
        )


def render(prefixes: Iterable[Prefix], open_ports: Ports = _NO_PORTS) -> str:
    """Return what `install` does as a script for ``nft -f -``."""
    return _table(prefixes, open_ports).text()


def _table(prefixes: Iterable[Prefix], open_ports: Ports) -> Table:
    return Table(
        TABLE,
        (Set.of_prefixes("prefixes", prefixes), Set.of_ports("open_ports", open_ports)),
        (Chain("guard", _GUARD, Hook("filter", "input", 0)), Chain("reserved", _RESERVED)),
    )


def _networks(ranges: Iterable[tuple[int, int]]) -> frozenset[tuple[int, int]]:
    return frozenset(
        (int(network.network_address), network.prefixlen)
        for first, last in ranges
        for network in networks_of(ADDRESS, first, last)
    )


# EINVAL is the answer of a kernel with nfnetlink but without nf_tables.
_MISSING = (errno.ENOENT, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EINVAL)


@contextmanager
def explained() -> Iterator[None]:
    """Translate an OSError of the kernel into a SetupError, or into `NoNftables`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _MISSING:
            raise setup_error("guard", error) from error
        hint = "the kernel must have nf_tables with its socket and reject expressions"
        raise NoNftables("guard", error.strerror or "", hint) from error
