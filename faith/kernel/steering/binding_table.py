"""Pairs steered by nftables' tproxy, as in `faith.kernel.steering.tproxy`: for want of BPF.

A map in a table of our own leads from a client's and a mapped address to the port of a listener.
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
from faith.kernel.nft.ruleset import PORT, TWO_ADDRESSES, Chain, Hook, Map, Rule
from faith.kernel.steering.owned import CAPABILITIES, Owned

if TYPE_CHECKING:
    import _socket
    from collections.abc import Sequence
    from typing import Any, Self

__all__ = ["CAPABILITIES", "PairTable"]

_ADDRESS = "::1"
_AFTER_MANGLE = -149  # behind the chain of way tproxy, of which the last has its will
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


class PairTable(Owned):
    """A table that hands a pair's connections to one of *listeners*, on ``[::1]``.

    What a transparent socket of its own waits for is left to that.  Raises SetupError.
    """

    way = "tproxy"

    def __init__(self, listeners: Sequence[_socket.socket]) -> None:
        chain = Chain("steer", _RULES, Hook("filter", "prerouting", _AFTER_MANGLE))
        super().__init__("steer by tproxy", [chain], maps=[_PAIRS], suffix="-data")
        self._ports = [listener.getsockname()[1].to_bytes(2, "big") for listener in listeners]
        self._there: set[bytes] = set()

    @classmethod
    def resume(cls, state: Any) -> Self:
        """The one whose `state` the program before this one has left."""
        owned, ports, there = state
        made = super().resume(owned)
        made._ports = list(map(bytes.fromhex, ports))
        made._there = set(map(bytes.fromhex, there))
        return made

    def state(self) -> Any:
        """What makes another like it in the next program of this process."""
        ports = [port.hex() for port in self._ports]
        return [super().state(), ports, [pair.hex() for pair in self._there]]

    @property
    def descriptors(self) -> list[int]:
        """The one that it lives by."""
        return [self.fileno()]

    def put(self, pair: bytes, listener: int) -> None:
        """Have *pair* come to the listener of that number, and to no other.  Raises OSError."""
        again = pair in self._there
        self._nft.put(self._table.name, _PAIRS, pair, self._ports[listener], again=again)
        self._there.add(pair)

    def take(self, pair: bytes) -> None:
        """Steer *pair* no more.  Raises OSError, ENOENT when it was not."""
        self._nft.take(self._table.name, _PAIRS, pair)
        self._there.discard(pair)
