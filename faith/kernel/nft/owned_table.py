"""nftables tables owned by one faithd, which the kernel deletes when the process is gone."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from faith.kernel.descriptor import Descriptor
from faith.kernel.netlink.netlink import Netlink, setup_error
from faith.kernel.nft.nftables import Nftables
from faith.kernel.nft.ruleset import IP6, Set, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any, Self

    from faith.kernel.nft.ruleset import Chain, Map

CAPABILITIES = ("CAP_NET_ADMIN",)

_HINTS = {
    errno.ENOENT: "the kernel must have nf_tables with all that this steering method needs",
    errno.EOPNOTSUPP: "Linux 5.12 or later is needed, with nf_tables",
    errno.EPROTONOSUPPORT: "the kernel must have nf_tables",
}


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
        return cls.named(name, step, chains, sets=sets, maps=maps, family=family)

    @classmethod
    def named(
        cls,
        name: str,
        step: str,
        chains: Iterable[Chain],
        *,
        sets: Iterable[Set] = (),
        maps: Iterable[Map] = (),
        family: str = IP6,
        taken: str = "processes with the same number share this network namespace",
    ) -> Self:
        """Make a table called *name*.  Raises SetupError; it says *taken* when there is one."""
        table = Table(name, tuple(sets), tuple(chains), tuple(maps), family)
        with ExitStack() as undo, _explained(step, taken):
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
def _explained(step: str, taken: str = "") -> Iterator[None]:
    """Translate an OSError of the kernel into the SetupError of *step*.

    The hint *taken* is for a table that exists already.
    """
    try:
        yield
    except OSError as error:
        hint = taken if error.errno == errno.EEXIST else _HINTS.get(error.errno or 0, "")
        raise setup_error(step, error, hint) from error
