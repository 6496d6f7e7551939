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
from faith.kernel.steering.base import Steering, resume_groups

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterable, Iterator, Sequence
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
    """A table ``faith-<pid>`` of *family*, with a *suffix*, made for *step*.

    It lasts until `close`, or until the last process that inherited the descriptor is gone: a
    forked worker closes its copy.  ``nft flush ruleset`` leaves it alone, and nobody else can
    change it.  Raises SetupError.
    """

    def __init__(
        self,
        step: str,
        chains: Iterable[Chain],
        *,
        sets: Iterable[Set] = (),
        maps: Iterable[Map] = (),
        suffix: str = "",
        family: str = IP6,
    ) -> None:
        self._step = step
        name = f"faith-{os.getpid()}{suffix}"
        self._table = Table(name, tuple(sets), tuple(chains), tuple(maps), family)
        with ExitStack() as undo, self._explained():
            self._nft = Nftables(family=family)
            undo.callback(self._nft.close)
            self._create()
            undo.pop_all()

    @classmethod
    def resume(cls, state: Any) -> Self:
        """Adopt the table whose `state` the predecessor process left."""
        fd, name, step, *family = state
        made = cls.__new__(cls)
        made._step = step
        made._table = Table(name, (), (), (), *family)
        made._nft = Nftables(Netlink.resume(fd), *family)
        return made

    def fileno(self) -> int:
        """Return the descriptor that keeps the table alive."""
        return self._nft.fileno()

    def state(self) -> Any:
        """Return the state that an upgrade passes on: the table belongs to the socket, not the
        process."""
        return [Descriptor.of(self), self._table.name, self._step, self._table.family]

    def _create(self) -> None:
        try:
            self._nft.create(self._table)
        except PermissionError:
            if not self._nft.exists(self._table.name):
                raise
            raise FileExistsError(
                errno.EEXIST,
                f"the table {self._table.family} {self._table.name} belongs to another process",
            ) from None

    def close(self) -> None:
        """Close the descriptor; the kernel deletes the table with the last copy."""
        self._nft.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Translate an OSError of the kernel into a SetupError."""
        try:
            yield
        except OSError as error:
            raise setup_error(self._step, error, _HINTS.get(error.errno or 0, "")) from error


class SteeringTable(OwnedTable):
    """The table of a steering method, with the sets ``prefixes`` and ``ports`` for its chains.

    `PINHOLES` comes first in a chain.
    """

    def __init__(
        self, method: str, ports: Ports, prefixes: Iterable[Prefix], chains: Iterable[Chain]
    ) -> None:
        sets = Set.of_prefixes("prefixes", prefixes), Set.of_ports("ports", ports)
        super().__init__(f"steer by {method}", chains, sets=sets)

    def set_prefixes(self, prefixes: Iterable[Prefix]) -> None:
        """Steer exactly *prefixes*, in one step.

        Needs CAP_NET_ADMIN still; raises SetupError, and then the old ones stay.
        """
        with self._explained():
            self._nft.refill(self._table.name, Set.of_prefixes("prefixes", prefixes))

    def set_ports(self, ports: Ports) -> None:
        """Steer exactly *ports*, in one step; otherwise as `set_prefixes`."""
        with self._explained():
            self._nft.refill(self._table.name, Set.of_ports("ports", ports))


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


def resume_steering(
    method: str, listeners: list[list[int]], held: list[Any], *, redirected: bool = False
) -> Steering:
    """Adopt what `steered` made in the predecessor process, from its `Steering.state`."""
    with ExitStack() as undo:
        groups = resume_groups(undo, listeners)
        table = SteeringTable.resume(held[0])
        return steered(method, undo, groups, table, redirected=redirected)
