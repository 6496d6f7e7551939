"""Steering of datagrams to some networks, on every port, to one socket.

By "sk_lookup" a BPF program chooses the socket; by "tproxy" an nftables rule does.
"""

from __future__ import annotations

import _socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from faith.errors import SetupError
from faith.kernel.nft.expressions import UDP, accept, daddr4_in, daddr_in, l4proto
from faith.kernel.nft.expressions import tproxy as to
from faith.kernel.nft.ruleset import ADDRESS, ADDRESS4, IP, IP6, Chain, Hook, Rule, Set
from faith.kernel.steering.lookup import Lookup
from faith.kernel.steering.owned import MANGLE, OwnedTable
from faith.translation.ports import ALL_PORTS
from faith.translation.ranges import ranges, without

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Self

    Network = tuple[int, int]
    """An address and a prefix length."""

_NETWORKS = {IP: Set("networks", ADDRESS4), IP6: Set("networks", ADDRESS)}


class DatagramSteering:
    """The steering of datagrams for the networks of `replace` to *sock*, of `udp_sockets.arrivals`.

    *method* is "sk_lookup", "tproxy", or anything else for the first of them that works.  It lasts
    until `close`, or until the last copy of its descriptors is closed.  Raises SetupError.
    """

    def __init__(self, sock: _socket.socket, method: str) -> None:
        self.method, self._by = _start(sock, method)

    @classmethod
    def resume(cls, sock: _socket.socket, state: Any) -> Self:
        """Adopt the steering to the same socket whose `state` the predecessor process left."""
        made = cls.__new__(cls)
        made.method, held = state
        made._by = _Table.resume(held) if made.method == "tproxy" else Lookup.resume(sock, held)
        return made

    def state(self) -> Any:
        """Return the state that an upgrade passes to the successor process, fit for JSON."""
        return [self.method, self._by.state()]

    def replace(self, networks: Collection[Network], holes: Collection[Network] = ()) -> None:
        """Steer exactly *networks*, except *holes*.

        A network that stays is steered throughout.  Raises SetupError.
        """
        self._by.replace(networks, holes)

    def close(self) -> None:
        """Stop steering; in a forked process, only close the descriptors."""
        self._by.close()


def _start(sock: _socket.socket, wanted: str) -> tuple[str, Lookup | _Table]:
    refusals = []
    for method, start in _STARTS.items():
        if wanted == method or wanted not in _STARTS:
            try:
                return method, start(sock)
            except SetupError as error:
                refusals.append(error)
    if len(refusals) == 1:
        raise refusals[0]
    raise SetupError("steer UDP", f"no method works; {'; '.join(map(str, refusals))}")


def _lookup(sock: _socket.socket) -> Lookup:
    return Lookup(sock, ALL_PORTS, ())


class _Table(OwnedTable):
    """A table ``faith-<pid>-udp`` that hands datagrams to *sock*."""

    def __init__(self, sock: _socket.socket) -> None:
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
        super().__init__(
            "steer UDP by tproxy", [chain], sets=[networks], suffix="-udp", family=family
        )

    def replace(self, networks: Collection[Network], holes: Collection[Network] = ()) -> None:
        """As `DatagramSteering.replace`."""
        some = _NETWORKS[self._table.family]
        bits = 8 * some.kind.octets
        with self._explained():
            wanted = without(ranges(networks, bits), ranges(holes, bits))
            self._nft.refill(self._table.name, some.of(wanted))


_STARTS: dict[str, Callable[[_socket.socket], Lookup | _Table]] = {
    "sk_lookup": _lookup,
    "tproxy": _Table,
}
