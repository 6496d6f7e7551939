"""The nftables tables of steering methods: owned by one faithd, with its prefixes and ports."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from faith.kernel.nft.expressions import daddr_in, dport_in, leave, socket_of_its_own
from faith.kernel.nft.owned_table import OwnedTable
from faith.kernel.nft.ruleset import Rule, Set
from faith.kernel.steering.base import Steering, adopt_groups

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterable, Sequence
    from typing import Any

    from faith.kernel.nft.ruleset import Chain
    from faith.translation.ports import Ports
    from faith.translation.prefix import Prefix

MANGLE = -150
"""The priority of chains that steer: before the host's own address translation rules."""
STEERED = "ip6 daddr @prefixes tcp dport @ports"
"""The match of a `SteeringTable`, as text and as expressions."""
STEERED_EXPRESSIONS = daddr_in("prefixes") + dport_in("ports")

PINHOLES = Rule(
    f"{STEERED} socket transparent 1 socket wildcard 0 return",
    STEERED_EXPRESSIONS + socket_of_its_own() + leave(),
)
"""Leaves alone the connections to a transparent socket bound to their very address: FTP data."""


class SteeringTable(OwnedTable):
    """The table of a steering method, with the sets ``prefixes`` and ``ports`` for its chains."""

    def set_prefixes(self, prefixes: Iterable[Prefix]) -> None:
        """Steer exactly *prefixes*: `refill`."""
        self.refill(Set.of_prefixes("prefixes", prefixes))

    def set_ports(self, ports: Ports) -> None:
        """Steer exactly *ports*: `refill`."""
        self.refill(Set.of_ports("ports", ports))


def steering_table(
    method: str, ports: Ports, prefixes: Iterable[Prefix], chains: Iterable[Chain]
) -> SteeringTable:
    """Make the table of *method*; `PINHOLES` comes first in a chain.  Raises SetupError."""
    sets = Set.of_prefixes("prefixes", prefixes), Set.of_ports("ports", ports)
    return SteeringTable.create(f"steer by {method}", chains, sets=sets)


def steered(
    method: str,
    undo: ExitStack,
    groups: Sequence[Sequence[_socket.socket]],
    table: SteeringTable,
    *,
    redirected: bool = False,
) -> Steering:
    """Return the steering by *table* to *groups* of listeners; it takes over *undo*."""
    undo.callback(table.close)
    return Steering(
        method,
        groups,
        undo.pop_all(),
        held=[table],
        set_prefixes=table.set_prefixes,
        set_ports=table.set_ports,
        redirected=redirected,
    )


def adopt_steering(
    method: str, listeners: list[list[int]], held: list[Any], *, redirected: bool = False
) -> Steering:
    """Adopt what `steered` made in the predecessor process, from its `Steering.state`."""
    with ExitStack() as undo:
        groups = adopt_groups(undo, listeners)
        table = SteeringTable.adopt(held[0])
        return steered(method, undo, groups, table, redirected=redirected)
