"""The pool of a daemon: the file of its leases, and the memory in which all processes see them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from faith.daemon.legacy import demand
from faith.errors import ConfigError, FaithError
from faith.kernel import routes
from faith.kernel.leases import Leases
from faith.translation.map import overlap, text4

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from faith.dns.book import Book
    from faith.dns.service import Settings as DnsSettings

    Network = tuple[int, int]
    """An IPv4 address and a length."""

log = logging.getLogger("faith.supervisor")


class Lent:
    """What there is of a pool, and nothing where there is none."""

    def __init__(self) -> None:
        self.book: Book | None = None
        """The file, for who lends."""
        self._leases: Leases | None = None
        self._same: dict[str, str] = {}

    def set_up(self, settings: DnsSettings | None, left: Any) -> None:
        """Open what the settings ask for, or go on with the *left* `state` of the program before.

        A file that cannot be used is a reason to lend nothing, which the log tells, and not to
        relay nothing.  Raises ConfigError; it cannot be another pool than that.
        """
        pool = settings.pool if settings else ()
        file = settings.pool_file if settings and pool else None
        self._same = {"pool": str(pool), "pool_file": str(file)}
        if left:
            demand(left["same"], self._same)
        if file is None:
            return
        from faith.dns.book import Book  # most do without

        if not left:
            _check(pool)
        if left and left["descriptors"]:
            memory, book = left["descriptors"]
            self._leases = Leases(pool, memory)
            self.book = Book.resume(book, file, pool, self._leases)
            return
        leases = Leases(pool)
        try:
            self.book = Book(file, pool, leases)
        except FaithError as error:
            leases.close()
            log.error("no address is lent until faithd is started anew: %s", error)
        else:
            self._leases = leases

    @property
    def networks(self) -> tuple[Network, ...]:
        """What can be lent."""
        return self._leases.networks if self._leases else ()

    def use(self, v4: int) -> int | None:
        """The IPv6 host that *v4* stands for, from now on for a while; None for nobody."""
        return self._leases.use(v4) if self._leases else None

    def state(self) -> Any:
        """What the next program of this process goes on from, fit for JSON."""
        return {"same": self._same, "descriptors": [*self.descriptors()]}

    def descriptors(self) -> Iterator[int]:
        """Those that are in the state."""
        if self._leases and self.book:
            yield from (self._leases.fileno(), self.book.fileno())

    def close(self) -> None:
        """Let others have the file."""
        if self._leases and self.book:
            self._leases.close()
            self.book.close()


def _check(pool: Iterable[Network]) -> None:
    """Raise ConfigError if it has an address of the gateway's in it."""
    for network in pool:
        for own in routes.own_ipv4():
            if overlap(network, own, 32):
                raise ConfigError(f"the pool {text4(*network)} has the gateway's own {text4(*own)}")
