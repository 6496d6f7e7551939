"""How datagrams to some networks reach one socket, on every port.

By "sk_lookup" a BPF program chooses the socket, by "tproxy" a rule of nftables hands them to it.
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
from faith.kernel.steering.owned import MANGLE, Owned
from faith.translation.ports import ALL_PORTS
from faith.translation.ranges import ranges, without

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Self

    Network = tuple[int, int]
    """An address and a length."""

_NETWORKS = {IP: Set("networks", ADDRESS4), IP6: Set("networks", ADDRESS)}


class Lead:
    """Leads to *sock*, of `udp_sockets.arrivals`, what is for the networks of `replace`.

    *way* is "sk_lookup", "tproxy", or anything else for the first of them that fits.  It lasts
    until `close`, or until the last copy of its descriptors is closed.  Raises SetupError.
    """

    def __init__(self, sock: _socket.socket, way: str) -> None:
        self.way, self._by = _start(sock, way)

    @classmethod
    def resume(cls, sock: _socket.socket, state: Any) -> Self:
        """The one whose `state` the program before this one has left, of the same socket."""
        made = cls.__new__(cls)
        made.way, held = state
        made._by = _Table.resume(held) if made.way == "tproxy" else Lookup.resume(sock, held)
        return made

    def state(self) -> Any:
        """What the program after this one needs of it, fit for JSON."""
        return [self.way, self._by.state()]

    @property
    def descriptors(self) -> list[int]:
        """Those that it lives by."""
        return self._by.descriptors

    def replace(self, networks: Collection[Network], holes: Collection[Network] = ()) -> None:
        """Lead there what is for *networks* but for *holes*, and nothing else.

        What stays is led there all the while.  Raises SetupError.
        """
        self._by.replace(networks, holes)

    def close(self) -> None:
        """Lead nothing there any more; in a forked process, only let go of it."""
        self._by.close()


def _start(sock: _socket.socket, wanted: str) -> tuple[str, Lookup | _Table]:
    refusals = []
    for way, start in _STARTS.items():
        if wanted == way or wanted not in _STARTS:
            try:
                return way, start(sock)
            except SetupError as error:
                refusals.append(error)
    if len(refusals) == 1:
        raise refusals[0]
    raise SetupError("steer UDP", f"no way is open; {'; '.join(map(str, refusals))}")


def _lookup(sock: _socket.socket) -> Lookup:
    return Lookup(sock, ALL_PORTS, ())


class _Table(Owned):
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

    @property
    def descriptors(self) -> list[int]:
        """The one that it lives by."""
        return [self.fileno()]

    def replace(self, networks: Collection[Network], holes: Collection[Network] = ()) -> None:
        """As `Lead.replace`."""
        some = _NETWORKS[self._table.family]
        bits = 8 * some.kind.octets
        with self._explained():
            wanted = without(ranges(networks, bits), ranges(holes, bits))
            self._nft.refill(self._table.name, some.of(wanted))


_STARTS: dict[str, Callable[[_socket.socket], Lookup | _Table]] = {
    "sk_lookup": _lookup,
    "tproxy": _Table,
}
