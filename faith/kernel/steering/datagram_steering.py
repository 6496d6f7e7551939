"""Steering of datagrams to some networks, on every port, to one socket.

By "sk_lookup" a BPF program chooses the socket; by "tproxy" an nftables rule does.
"""

from __future__ import annotations

import _socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from faith.kernel.nft.expressions import UDP, accept, daddr4_in, daddr_in, l4proto
from faith.kernel.nft.expressions import tproxy as to
from faith.kernel.nft.owned_table import OwnedTable
from faith.kernel.nft.ruleset import ADDRESS, ADDRESS4, IP, IP6, Chain, Hook, Rule, Set
from faith.kernel.steering.first_fit import first_fit
from faith.kernel.steering.lookup import Lookup
from faith.kernel.steering.owned import MANGLE
from faith.translation.ports import ALL_PORTS
from faith.translation.ranges import ranges, without

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Self

    Network = tuple[int, int]
    """An address and a prefix length."""

_NETWORKS = {IP: Set("networks", ADDRESS4), IP6: Set("networks", ADDRESS)}


class DatagramSteering:
    """The steering of datagrams for the networks of `replace`, *by* a program or a table.

    It lasts until `close`, or until the last copy of its descriptors is closed.
    """

    def __init__(self, method: str, by: Lookup | _Table) -> None:
        self.method = method
        self._by = by

    @classmethod
    def create(cls, sock: _socket.socket, method: str) -> Self:
        """Steer nothing yet to *sock*, of `udp_sockets.arrivals`.

        *method* is "sk_lookup", "tproxy", or anything else for the first of them that works.
        Raises SetupError.
        """
        return cls(*first_fit("steer UDP", method, _METHODS, sock))

    @classmethod
    def adopt(cls, state: Any, sock: _socket.socket) -> Self:
        """Adopt the steering to the same socket whose `state` the predecessor process left."""
        method, held = state
        by = _Table.adopt(held) if method == "tproxy" else Lookup.adopt(held, sock)
        return cls(method, by)

    def state(self) -> Any:
        """Return the state that an upgrade passes to the successor process, fit for JSON."""
        return [self.method, self._by.state()]

    def replace(self, networks: Collection[Network], holes: Collection[Network] = ()) -> None:
        """Steer exactly *networks*, except *holes*.

        A network that stays is steered throughout.  Raises SetupError.
        """
        self._by.replace(networks, holes)

    def close(self) -> None:
        """Stop steering."""
        self._by.close()


def _lookup(sock: _socket.socket) -> Lookup:
    return Lookup.create(sock, ALL_PORTS, ())


class _Table(OwnedTable):
    """A table ``faith-<pid>-udp`` that hands datagrams to a socket."""

    def replace(self, networks: Collection[Network], holes: Collection[Network] = ()) -> None:
        """As `DatagramSteering.replace`."""
        some = _NETWORKS[self._table.family]
        bits = 8 * some.kind.octets
        self.refill(some.of(without(ranges(networks, bits), ranges(holes, bits))))


def _table(sock: _socket.socket) -> _Table:
    """Make a table that hands datagrams to *sock*.  Raises SetupError."""
    host, port = sock.getsockname()[:2]
    family, prefix, matched, where = (
        (IP6, "ip6", daddr_in, f"[{host}]")
        if sock.family == _socket.AF_INET6
        else (IP, "ip", daddr4_in, host)
    )
    networks = _NETWORKS[family]
    rule = Rule(
        f"{prefix} daddr @{networks.name} meta l4proto udp tproxy to {where}:{port} accept",
        matched(networks.name) + l4proto(UDP) + to(ip_address(host).packed, port) + accept(),
    )
    chain = Chain("steer", (rule,), Hook("filter", "prerouting", MANGLE))
    return _Table.create(
        "steer UDP by tproxy", [chain], sets=[networks], suffix="-udp", family=family
    )


_METHODS: dict[str, Callable[[_socket.socket], Lookup | _Table]] = {
    "sk_lookup": _lookup,
    "tproxy": _table,
}
