"""The reservation of prefixes for as long as a daemon runs (``-P``), many at a time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from faith.daemon.host import discovery
from faith.daemon.observe.log import NOTICE
from faith.kernel.netlink import routes
from faith.kernel.netlink.routes import OF_DAEMONS
from faith.kernel.nft.reservation import check, keep_guarded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from faith.translation.prefix import Prefix

log = logging.getLogger("faith.supervisor")


def reserve(
    prefixes: Iterable[Prefix],
    users: Iterable[int] = (),
    *,
    ours: Collection[Prefix] = (),
    given_up: Collection[Prefix] = (),
) -> list[Prefix]:
    """Reserve and guard *prefixes*, and return those that this daemon owns now.

    A prefix that ``faith -e`` has reserved stays its own, and is not returned.  One that another
    daemon has reserved, running or killed, is owned by this daemon as well, and so are those in
    *ours*, which the predecessor process held.  *given_up* are prefixes that this daemon releases
    next.  *users* may send from the prefixes.  Raises SetupError, and then nothing has changed.
    """
    there = routes.owners()
    claimed = [one for one in prefixes if there.get(one, OF_DAEMONS) == OF_DAEMONS or one in ours]
    new = [prefix for prefix in claimed if prefix not in there]
    check(new, (other for other in there if other not in given_up))
    if not claimed:
        return []
    if not keep_guarded(new, users=users):
        log.warning(
            "this kernel has no nftables: other servers of this host answer under %s too",
            ", ".join(map(str, claimed)),
        )
    try:
        routes.reserve(*claimed, owner=OF_DAEMONS)
        keep_guarded()
    except BaseException:
        if new:
            routes.release(*new, owner=OF_DAEMONS)
        keep_guarded()
        raise
    return claimed


def release(prefixes: Collection[Prefix]) -> None:
    """Release those of *prefixes* that no other faithd has, and ``faith -e`` has not reserved
    since."""
    if prefixes and (left := _not_held(prefixes)) and routes.release(*left, owner=OF_DAEMONS):
        keep_guarded()


def release_abandoned(wanted: Collection[Prefix]) -> None:
    """Release the prefixes, except *wanted*, that killed daemons have left reserved."""
    left = [one for one, owner in routes.owners().items() if owner == OF_DAEMONS]
    if dead := _not_held([prefix for prefix in left if prefix not in wanted]):
        routes.release(*dead, owner=OF_DAEMONS)
        keep_guarded()
        names = ", ".join(map(str, dead))
        log.log(NOTICE, "released the prefixes of a faithd that was killed: %s", names)


def _not_held(prefixes: Collection[Prefix]) -> list[Prefix]:
    """Return those of *prefixes* that no other running faithd has reserved."""
    if not prefixes:
        return []
    held = {text for other in discovery.running() for text in other.sets_up}
    return [prefix for prefix in prefixes if str(prefix) not in held]
