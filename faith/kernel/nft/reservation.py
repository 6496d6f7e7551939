"""Reservation of prefixes: the AnyIP route and the guard together, in an order that
leaves no gap."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from faith.errors import SetupError
from faith.kernel.netlink import routes
from faith.kernel.nft import guard

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.translation.ports import Ports
    from faith.translation.prefix import Prefix

_ATTEMPTS = 20
_APART = 0.005  # seconds


def check(coming: Iterable[Prefix], reserved: Iterable[Prefix]) -> None:
    """Raise SetupError for the first of *coming* that cannot be reserved on this host.

    That is beside the *reserved* ones, and beside the others that are coming.
    """
    coming = tuple(coming)
    _check_layouts(coming, reserved := tuple(reserved))
    _check_overlaps(coming, reserved)
    for prefix, reason in routes.conflicts_of(coming):
        raise SetupError(f"reserve {prefix}", reason)


def _check_layouts(coming: Iterable[Prefix], reserved: Iterable[Prefix]) -> None:
    there = {(other.address, other.length): other for other in reserved}
    for prefix in coming:
        other = there.setdefault((prefix.address, prefix.length), prefix)
        if other.layout != prefix.layout:
            way_out = f"release it first: faith -d -p {prefix}"
            reason = f"it has layout {other.layout} already"
            raise SetupError(f"reserve {prefix}", reason, way_out)


def _check_overlaps(coming: tuple[Prefix, ...], reserved: tuple[Prefix, ...]) -> None:
    every = {(prefix.address, prefix.length): prefix for prefix in (*reserved, *coming)}
    lengths = sorted({length for _, length in every})
    new = set(coming)
    for prefix in every.values():
        for length in lengths[: lengths.index(prefix.length)]:
            outer = every.get((prefix.address >> 128 - length << 128 - length, length))
            if outer and (prefix in new or outer in new):
                one, other = (prefix, outer) if prefix in new else (outer, prefix)
                raise SetupError(f"reserve {one}", f"it overlaps {other}, which is reserved too")


def keep_guarded(
    coming: Iterable[Prefix] = (),
    open_ports: Ports | None = None,
    users: Iterable[int] = (),
) -> bool:
    """Guard the reserved prefixes and those *coming*; return False where the kernel has no
    nftables.

    It is called before a prefix is reserved, so that none is ever local without a guard, and again
    after any change, because other processes (a faithd, another ``faith``) may have changed
    something meanwhile.  *open_ports* None keeps the ports that are open; *users* may send from
    these prefixes besides those that may already.  Raises SetupError.
    """
    coming, users = tuple(coming), frozenset(users)
    try:
        for attempt in range(_ATTEMPTS):
            time.sleep(attempt * random.uniform(0, _APART))  # others who try get their turn
            wanted = (*routes.reserved(), *coming)
            if wanted:
                state = guard.inspect()
                ports = state.open_ports if open_ports is None else open_ports
                guard.install(wanted, ports, state.users | users)
            else:
                guard.remove()
            if all(map(guard.inspect().covers, (*routes.reserved(), *coming))):
                return True
    except guard.NoNftables:
        return False
    raise SetupError("guard", "other programs keep changing it")
