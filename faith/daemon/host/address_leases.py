"""The address pool of a daemon: the file of its leases, and the memory that all processes share."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from faith.daemon.upgrade.inherited_state import demand
from faith.errors import ConfigError, FaithError
from faith.kernel.netlink import routes
from faith.kernel.shared.leases import GRACE, Leases
from faith.translation.address import text4
from faith.translation.map import overlap

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from faith.dns.lease_file import LeaseFile
    from faith.dns.service import Settings as DnsSettings

    Network = tuple[int, int]
    """An IPv4 address and a prefix length."""

log = logging.getLogger("faith.supervisor")


class AddressLeases:
    """The leases of the pool, if there is one."""

    def __init__(self) -> None:
        self.lease_file: LeaseFile | None = None
        """The lease file, for the name server, which makes the leases."""
        self._leases: Leases | None = None
        self._same: dict[str, str] = {}
        self._stale = 0

    def set_up(self, settings: DnsSettings | None, left: Any) -> None:
        """Open the pool of the settings, or adopt that of the *left* `state` of the predecessor
        process.

        A file that cannot be used is a reason to lend nothing, which the log tells, and not to
        relay nothing.  Raises ConfigError; it cannot be another pool than that.
        """
        pool = settings.pool if settings else ()
        file = settings.pool_file if settings and pool else None
        self._same = {"pool": str(pool), "pool_file": str(file)}
        self._stale = settings.stale if settings else 0
        if left:
            demand(left["same"], self._same)
        if file is None:
            return
        from faith.dns.lease_file import LeaseFile  # most do without

        if not left:
            _check(pool)
        if left and left["descriptors"]:
            memory, lease_file = left["descriptors"]
            self._leases = Leases.adopt(memory, pool)
            self.lease_file = LeaseFile.adopt(lease_file, file, pool, self._leases)
            return
        leases = Leases.create(pool)
        try:
            self.lease_file = LeaseFile.create(file, pool, leases)
        except FaithError as error:
            leases.close()
            log.error("no address is lent until faithd is started anew: %s", error)
        else:
            self._leases = leases

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks of the pool."""
        return self._leases.networks if self._leases else ()

    def use(self, v4: int) -> int | None:
        """Return the IPv6 host that *v4* is leased to, and extend the lease; None
        without a lease."""
        return self._leases.use(v4) if self._leases else None

    def look(self, v4: int) -> int | None:
        """Return the same as `use`, and leave the lease as it is."""
        return self._leases.host(v4) if self._leases else None

    def withhold(self, addresses: Collection[int]) -> None:
        """Lend none of *addresses*, as far as they are of the pool, and lead nobody there, at the
        next start: another gateway may have lent them meanwhile.
        """
        if self.lease_file:
            from faith.dns.lending import told_for

            try:
                self.lease_file.withhold(addresses, told_for(self._stale) + GRACE)
            except OSError as error:
                log.error("not withheld from the pool at the next start: %s", error.strerror)

    def state(self) -> Any:
        """Return the state that an upgrade passes to the successor process, fit for JSON."""
        held = []
        if self._leases and self.lease_file:
            held = [self._leases.state(), self.lease_file.state()]
        return {"same": self._same, "descriptors": held}

    def close(self) -> None:
        """Close the lease file, so that another process may lock it."""
        if self._leases and self.lease_file:
            self._leases.close()
            self.lease_file.close()


def _check(pool: Iterable[Network]) -> None:
    """Raise ConfigError if a network of the pool contains an address of the gateway."""
    for network in pool:
        for own in routes.own_ipv4():
            if overlap(network, own, 32):
                raise ConfigError(f"the pool {text4(*network)} has the gateway's own {text4(*own)}")
