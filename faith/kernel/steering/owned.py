"""nftables tables owned by one faithd, which the kernel deletes when the process is gone."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from faith.kernel.descriptor import Descriptor
from faith.kernel.netlink.netlink import Netlink, setup_error
from faith.kernel.nft.expressions import daddr_in, dport_in, leave, socket_of_its_own
from faith.kernel.nft.nftables import Nftables
from faith.kernel.nft.ruleset import IP6, Rule, Set, Table
from faith.kernel.steering.base import Steering, adopt_groups

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import Any, Self

    from faith.kernel.nft.ruleset import Chain, Map
    from faith.translation.ports import Ports
    from faith.translation.prefix import Prefix

CAPABILITIES = ("CAP_NET_ADMIN",)

_HINTS = {
    errno.EEXIST: "processes with the same number share this network namespace",
    errno.ENOENT: "the kernel must have nf_tables with all that this steering method needs",
    errno.EOPNOTSUPP: "Linux 5.12 or later is needed, with nf_tables",
    errno.EPROTONOSUPPORT: "the kernel must have nf_tables",
}

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


class OwnedTable:
    """A *table* that belongs to the socket of *nft*, made for *step*.

    It lasts until `close`, or until the last process that inherited the descriptor is gone: a
    forked worker closes its copy.  ``nft flush ruleset`` leaves it alone, and nobody else can
    change it.
    """

    def __init__(self, step: str, table: Table, nft: Nftables) -> None:
        self._step = step
        self._table = table
        self._nft = nft

    @classmethod
    def create(
        cls,
        step: str,
        chains: Iterable[Chain],
        *,
        sets: Iterable[Set] = (),
        maps: Iterable[Map] = (),
        suffix: str = "",
        family: str = IP6,
    ) -> Self:
        """Make a table ``faith-<pid>`` of *family*, with a *suffix*.  Raises SetupError."""
        name = f"faith-{os.getpid()}{suffix}"
        table = Table(name, tuple(sets), tuple(chains), tuple(maps), family)
        with ExitStack() as undo, _explained(step):
            nft = Nftables(family=family)
            undo.callback(nft.close)
            _create(nft, table)
            undo.pop_all()
        return cls(step, table, nft)

    @classmethod
    def adopt(cls, state: Any) -> Self:
        """Adopt the table whose `state` the predecessor process left."""
        fd, name, step, family = state
        table = Table(name, (), (), (), family)
        return cls(step, table, Nftables(Netlink.adopt(fd), family))

    def fileno(self) -> int:
        """Return the descriptor that keeps the table alive."""
        return self._nft.fileno()

    def state(self) -> Any:
        """Return the state that an upgrade passes on: the table belongs to the socket, not the
        process."""
        return [Descriptor.of(self), self._table.name, self._step, self._table.family]

    def refill(self, elements: Set) -> None:
        """Replace the elements of a set, in one step.

        Needs CAP_NET_ADMIN still; raises SetupError, and then the old ones stay.
        """
        with self._explained():
            self._nft.refill(self._table.name, elements)

    def close(self) -> None:
        """Close the descriptor; the kernel deletes the table with the last copy."""
        self._nft.close()

    def _explained(self) -> AbstractContextManager[None]:
        return _explained(self._step)


def _create(nft: Nftables, table: Table) -> None:
    try:
        nft.create(table)
    except PermissionError:
        if not nft.exists(table.name):
            raise
        raise FileExistsError(
            errno.EEXIST, f"the table {table.family} {table.name} belongs to another process"
        ) from None


@contextmanager
def _explained(step: str) -> Iterator[None]:
    """Translate an OSError of the kernel into the SetupError of *step*."""
    try:
        yield
    except OSError as error:
        raise setup_error(step, error, _HINTS.get(error.errno or 0, "")) from error


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
