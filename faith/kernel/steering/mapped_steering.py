"""How connections to mapped IPv4 networks reach our listeners, on every port.

The routes of `faith.kernel.netlink.mapped_routes` make the networks local.  By "sk_lookup" a BPF
program chooses a listener on 127.0.0.1, by "tproxy" a rule of nftables hands the connections to it.
"""

from __future__ import annotations

from contextlib import ExitStack
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from faith.errors import SetupError
from faith.kernel.nft.expressions import TCP, accept, daddr4_in, l4proto, leave, socket_of_its_own
from faith.kernel.nft.expressions import tproxy as to
from faith.kernel.nft.ruleset import ADDRESS4, IP, Chain, Hook, Rule, Set
from faith.kernel.steering.base import Steering, listen, resume_groups
from faith.kernel.steering.lookup import Lookup
from faith.kernel.steering.owned import MANGLE, Owned
from faith.translation.ports import ALL_PORTS
from faith.translation.ranges import ranges, without

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Collection, Sequence

    from faith.kernel.steering.base import Held

    Network = tuple[int, int]
    """An IPv4 address and a length."""
    Steer = Callable[[Collection[Network], Collection[Network]], None]

_ADDRESS = "127.0.0.1"
_NETWORKS = Set("networks", ADDRESS4)
_STEERED = "ip daddr @networks meta l4proto tcp"
_STEERED_EXPRESSIONS = daddr4_in("networks") + l4proto(TCP)
_DOORS = Rule(
    f"{_STEERED} socket transparent 1 socket wildcard 0 return",
    _STEERED_EXPRESSIONS + socket_of_its_own() + leave(),
)
"""Leaves alone what a transparent socket waits for at its very address and port: FTP data."""


class InwardSteering(Steering):
    """A `Steering` of mapped networks."""

    def __init__(
        self,
        way: str,
        group: Sequence[_socket.socket],
        undo: ExitStack,
        held: Sequence[Held],
        steer: Steer,
    ) -> None:
        super().__init__(way, [group], undo, held=held)
        self._steer = steer

    def steer(self, networks: Collection[Network], holes: Collection[Network]) -> None:
        """Steer *networks* but for *holes*, and nothing else, from now on.

        What stays is steered all the while.  Raises SetupError.
        """
        self._steer(networks, holes)


def bring_in(way: str, workers: int) -> InwardSteering:
    """Listeners for each of *workers*, to which nothing is steered yet.

    *way* is "sk_lookup", "tproxy", or anything else for the first of them that fits.  Raises
    SetupError.
    """
    if way in _STARTS:
        return _STARTS[way](workers)
    refusals = []
    for start in _STARTS.values():
        try:
            return start(workers)
        except SetupError as error:
            refusals.append(str(error))
    raise SetupError("steer mapped networks", "no way is open; " + "; ".join(refusals))


def taken_over(state: dict[str, Any]) -> InwardSteering:
    """What the program before this one in this process brought in, from its `state`."""
    with ExitStack() as undo:
        (group,) = resume_groups(undo, state["listeners"])
        return _RESUMES[state["way"]](undo, group, state["held"])


def _start_lookup(workers: int) -> InwardSteering:
    with ExitStack() as undo:
        group = listen(undo, _ADDRESS, 0, workers)
        return _by_lookup(undo, group, Lookup(group[0], ALL_PORTS, ()))


def _resume_lookup(
    undo: ExitStack, group: Sequence[_socket.socket], held: list[Any]
) -> InwardSteering:
    return _by_lookup(undo, group, Lookup.resume(group[0], held))


def _by_lookup(undo: ExitStack, group: Sequence[_socket.socket], lookup: Lookup) -> InwardSteering:
    undo.callback(lookup.close)
    held = lookup.networks, lookup.link
    return InwardSteering("sk_lookup", group, undo.pop_all(), held, lookup.replace)


class _Table(Owned):
    """A table ``ip faith-<pid>`` that hands connections to the listeners on *port*."""

    def __init__(self, port: int) -> None:
        rule = Rule(
            f"{_STEERED} tproxy to {_ADDRESS}:{port} accept",
            _STEERED_EXPRESSIONS + to(IPv4Address(_ADDRESS).packed, port) + accept(),
        )
        chain = Chain("steer", (_DOORS, rule), Hook("filter", "prerouting", MANGLE))
        super().__init__("steer by tproxy", [chain], sets=[_NETWORKS], family=IP)

    def steer(self, networks: Collection[Network], holes: Collection[Network]) -> None:
        """Hand over what is for *networks* but for *holes*.  Raises SetupError."""
        wanted = without(ranges(networks, 32), ranges(holes, 32))
        with self._explained():
            self._nft.refill(self._table.name, _NETWORKS.of(wanted))


def _start_tproxy(workers: int) -> InwardSteering:
    with ExitStack() as undo:
        group = listen(undo, _ADDRESS, 0, workers)
        return _by_tproxy(undo, group, _Table(group[0].getsockname()[1]))


def _resume_tproxy(
    undo: ExitStack, group: Sequence[_socket.socket], held: list[Any]
) -> InwardSteering:
    return _by_tproxy(undo, group, _Table.resume(held[0]))


def _by_tproxy(undo: ExitStack, group: Sequence[_socket.socket], table: _Table) -> InwardSteering:
    undo.callback(table.close)
    return InwardSteering("tproxy", group, undo.pop_all(), [table], table.steer)


_STARTS = {"sk_lookup": _start_lookup, "tproxy": _start_tproxy}
_RESUMES = {"sk_lookup": _resume_lookup, "tproxy": _resume_tproxy}
