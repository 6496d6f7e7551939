"""Reservation of prefixes: the AnyIP route and the guard together, in an order that
leaves no gap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.errors import SetupError
from faith.kernel.netlink import routes
from faith.kernel.nft import guard

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.translation.ports import Ports
    from faith.translation.prefix import Prefix

_ATTEMPTS = 10


def check(prefix: Prefix, others: Iterable[Prefix]) -> None:
    """Raise SetupError when *prefix* cannot be reserved beside *others* on this host."""
    step = f"reserve {prefix}"
    for other in others:
        if (other.address, other.length) == (prefix.address, prefix.length):
            if other.layout != prefix.layout:
                way_out = f"release it first: faith -d -p {prefix}"
                raise SetupError(step, f"it has layout {other.layout} already", way_out)
        elif other.overlaps(prefix):
            raise SetupError(step, f"it overlaps {other}, which is reserved too")
    if reason := routes.conflicts(prefix):
        raise SetupError(step, reason)


def keep_guarded(coming: Iterable[Prefix] = (), open_ports: Ports | None = None) -> bool:
    """Guard the reserved prefixes and those *coming*; return False where the kernel has no
    nftables.

    It is called before a prefix is reserved, so that none is ever local without a guard, and again
    after any change, because other processes (a faithd, another ``faith``) may have changed
    something meanwhile.  *open_ports* None keeps the ports that are open.  Raises SetupError.
    """
    coming = tuple(coming)
    try:
        for _ in range(_ATTEMPTS):
            wanted = (*routes.reserved(), *coming)
            if wanted:
                ports = guard.inspect().open_ports if open_ports is None else open_ports
                guard.install(wanted, ports)
            else:
                guard.remove()
            if all(map(guard.inspect().covers, (*routes.reserved(), *coming))):
                return True
    except guard.NoNftables:
        return False
    raise SetupError("guard", "others keep changing it")
