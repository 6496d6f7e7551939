"""Host bindings by nftables' tproxy, where BPF is refused; see `faith.kernel.steering.tproxy`.

A map in an owned table leads from the client's and the mapped address to the port of a listener.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from faith.kernel.nft.expressions import (
    accept,
    dport_from,
    leave,
    port_of_pair,
    socket_of_its_own,
    tproxy_to_it,
)
from faith.kernel.nft.owned_table import CAPABILITIES, OwnedTable
from faith.kernel.nft.ruleset import PORT, TWO_ADDRESSES, Chain, Hook, Map, Rule

if TYPE_CHECKING:
    import _socket
    from collections.abc import Sequence
    from typing import Any, Self

__all__ = ["CAPABILITIES", "BindingTable"]

_ADDRESS = "::1"
_AFTER_MANGLE = -149  # after the chain of method tproxy: the last tproxy statement wins
_PAIRS = Map("pairs", TWO_ADDRESSES, PORT)
_OF_A_PAIR = dport_from(1024) + port_of_pair(_PAIRS.name)
_RULES = (
    Rule(
        "tcp dport >= 1024 socket transparent 1 socket wildcard 0 return",
        _OF_A_PAIR + socket_of_its_own() + leave(),
    ),
    Rule(
        f"tcp dport >= 1024 tproxy to [{_ADDRESS}]:ip6 saddr . ip6 daddr map @pairs accept",
        _OF_A_PAIR + tproxy_to_it(IPv6Address(_ADDRESS).packed) + accept(),
    ),
)


class _Table(OwnedTable):
    def put(self, pair: bytes, port: bytes, *, again: bool) -> None:
        self._nft.put(self._table.name, _PAIRS, pair, port, again=again)

    def remove(self, pair: bytes) -> None:
        self._nft.remove(self._table.name, _PAIRS, pair)


class BindingTable:
    """An nftables *table* that hands a pair's connections to a listener, on one of *ports*.

    The pairs *there* are in the table.  Connections that a transparent socket bound to their very
    address waits for are left to it.
    """

    method = "tproxy"

    def __init__(self, table: _Table, ports: Sequence[bytes], there: set[bytes]) -> None:
        self._table = table
        self._ports = ports
        self._there = there

    @classmethod
    def create(cls, listeners: Sequence[_socket.socket]) -> Self:
        """Make an empty table that leads to *listeners*, on ``[::1]``.  Raises SetupError."""
        chain = Chain("steer", _RULES, Hook("filter", "prerouting", _AFTER_MANGLE))
        table = _Table.create("steer by tproxy", [chain], maps=[_PAIRS], suffix="-data")
        ports = [listener.getsockname()[1].to_bytes(2, "big") for listener in listeners]
        return cls(table, ports, set())

    @classmethod
    def adopt(cls, state: Any) -> Self:
        """Adopt the table whose `state` the predecessor process left."""
        table, ports, there = state
        ports, there = list(map(bytes.fromhex, ports)), set(map(bytes.fromhex, there))
        return cls(_Table.adopt(table), ports, there)

    def state(self) -> Any:
        """Return the state that an upgrade passes to the successor process."""
        ports = [port.hex() for port in self._ports]
        return [self._table.state(), ports, [pair.hex() for pair in self._there]]

    def put(self, pair: bytes, listener: int) -> None:
        """Steer *pair* to the listener of that index alone.  Raises OSError."""
        again = pair in self._there
        self._table.put(pair, self._ports[listener], again=again)
        self._there.add(pair)

    def remove(self, pair: bytes) -> None:
        """Stop steering *pair*.  Raises OSError, with ENOENT when it was not steered."""
        self._table.remove(pair)
        self._there.discard(pair)

    def close(self) -> None:
        """Stop steering: the kernel deletes the table with the last copy of its descriptor."""
        self._table.close()
