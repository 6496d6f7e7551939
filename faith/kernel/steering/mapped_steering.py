"""Steering of connections to mapped IPv4 networks, on every port, to the daemon's listeners.

The routes of `faith.kernel.netlink.mapped_routes` make the networks local.  By "sk_lookup" a BPF
program chooses a listener on 127.0.0.1; by "tproxy" an nftables rule does.
"""

from __future__ import annotations

from contextlib import ExitStack
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from faith.kernel.nft.expressions import TCP, accept, daddr4_in, l4proto, leave, socket_of_its_own
from faith.kernel.nft.expressions import tproxy as to
from faith.kernel.nft.owned_table import OwnedTable
from faith.kernel.nft.ruleset import ADDRESS4, IP, Chain, Hook, Rule, Set
from faith.kernel.steering.base import Steering, adopt_groups, listen
from faith.kernel.steering.first_fit import first_fit
from faith.kernel.steering.lookup import Lookup
from faith.kernel.steering.owned import MANGLE
from faith.translation.ports import ALL_PORTS
from faith.translation.ranges import ranges, without

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Collection, Sequence

    from faith.kernel.steering.base import HeldState
    from faith.translation.ports import Ports

    Network = tuple[int, int]
    """An IPv4 address and a prefix length."""
    Steer = Callable[[Collection[Network], Collection[Network]], None]

_ADDRESS = "127.0.0.1"
_NETWORKS = Set("networks", ADDRESS4)
_STEERED = "ip daddr @networks meta l4proto tcp"
_STEERED_EXPRESSIONS = daddr4_in("networks") + l4proto(TCP)
_PINHOLES = Rule(
    f"{_STEERED} socket transparent 1 socket wildcard 0 return",
    _STEERED_EXPRESSIONS + socket_of_its_own() + leave(),
)
"""Leaves alone the connections to a transparent socket bound to their very address: FTP data."""


class MappedSteering(Steering):
    """A `Steering` of mapped networks."""

    def __init__(
        self,
        method: str,
        group: Sequence[_socket.socket],
        undo: ExitStack,
        held: Sequence[HeldState],
        steer: Steer,
        set_ports: Callable[[Ports], None] | None = None,
    ) -> None:
        super().__init__(method, [group], undo, held=held, set_ports=set_ports)
        self._steer = steer

    def steer(self, networks: Collection[Network], holes: Collection[Network]) -> None:
        """Steer exactly *networks*, except *holes*, from now on.

        A network that stays is steered throughout.  Raises SetupError.
        """
        self._steer(networks, holes)


def create(method: str, workers: int) -> MappedSteering:
    """Make listeners for each of *workers*, to which nothing is steered yet.

    *method* is "sk_lookup", "tproxy", or anything else for the first of them that works.  Raises
    SetupError.
    """
    return first_fit("steer mapped networks", method, _CREATE, workers)[1]


def adopt(state: dict[str, Any]) -> MappedSteering:
    """Adopt the steering that the predecessor process left, from its `state`."""
    with ExitStack() as undo:
        (group,) = adopt_groups(undo, state["listeners"])
        return _ADOPT[state["way"]](undo, group, state["held"])


def _create_lookup(workers: int) -> MappedSteering:
    with ExitStack() as undo:
        group = listen(undo, _ADDRESS, 0, workers)
        return _by_lookup(undo, group, Lookup.create(group[0], ALL_PORTS, ()))


def _adopt_lookup(
    undo: ExitStack, group: Sequence[_socket.socket], held: list[Any]
) -> MappedSteering:
    return _by_lookup(undo, group, Lookup.adopt(held, group[0]))


def _by_lookup(undo: ExitStack, group: Sequence[_socket.socket], lookup: Lookup) -> MappedSteering:
    undo.callback(lookup.close)
    held = lookup.networks, lookup.link
    done = undo.pop_all()
    return MappedSteering("sk_lookup", group, done, held, lookup.replace, lookup.set_ports)


class _Table(OwnedTable):
    """A table ``ip faith-<pid>`` that hands connections to listeners."""

    def steer(self, networks: Collection[Network], holes: Collection[Network]) -> None:
        """Hand over connections to *networks* except *holes*.  Raises SetupError."""
        self.refill(_NETWORKS.of(without(ranges(networks, 32), ranges(holes, 32))))


def _table(port: int) -> _Table:
    """Make a table that hands connections to the listeners on *port*.  Raises SetupError."""
    rule = Rule(
        f"{_STEERED} tproxy to {_ADDRESS}:{port} accept",
        _STEERED_EXPRESSIONS + to(IPv4Address(_ADDRESS).packed, port) + accept(),
    )
    chain = Chain("steer", (_PINHOLES, rule), Hook("filter", "prerouting", MANGLE))
    return _Table.create("steer by tproxy", [chain], sets=[_NETWORKS], family=IP)


def _create_tproxy(workers: int) -> MappedSteering:
    with ExitStack() as undo:
        group = listen(undo, _ADDRESS, 0, workers)
        return _by_tproxy(undo, group, _table(group[0].getsockname()[1]))


def _adopt_tproxy(
    undo: ExitStack, group: Sequence[_socket.socket], held: list[Any]
) -> MappedSteering:
    return _by_tproxy(undo, group, _Table.adopt(held[0]))


def _by_tproxy(undo: ExitStack, group: Sequence[_socket.socket], table: _Table) -> MappedSteering:
    undo.callback(table.close)
    return MappedSteering("tproxy", group, undo.pop_all(), [table], table.steer)


_CREATE = {"sk_lookup": _create_lookup, "tproxy": _create_tproxy}
_ADOPT = {"sk_lookup": _adopt_lookup, "tproxy": _adopt_tproxy}
