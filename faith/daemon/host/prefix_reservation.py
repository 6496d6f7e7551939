"""The reservation of a prefix for as long as a daemon runs (``-P``)."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from faith.daemon.host import discovery
from faith.kernel.netlink import routes
from faith.kernel.nft.reservation import check, keep_guarded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.translation.prefix import Prefix

log = logging.getLogger("faith.supervisor")


@contextmanager
def reservation(prefix: Prefix, *, ours: bool = False) -> Iterator[bool]:
    """Reserve and guard *prefix* within the block; the value is False if it was reserved already.

    It is *ours* if the predecessor process left it so.

    A prefix that ``faith -e`` has reserved stays afterwards, and so does one that another faithd
    still holds: the last one releases it.  Raises SetupError.
    """
    if prefix in routes.reserved() and not ours and not _held(prefix):
        yield False
        return
    check(prefix, routes.reserved())
    with ExitStack() as undo:
        undo.callback(release, prefix)
        _reserve(prefix)
        yield True


def _held(prefix: Prefix) -> bool:
    """Return whether another faithd holds *prefix*."""
    return any(str(prefix) in other.sets_up for other in discovery.running())


def _reserve(prefix: Prefix) -> None:
    if not keep_guarded([prefix]):
        log.warning("no nftables here: this host's other servers answer under %s too", prefix)
    routes.reserve(prefix)
    keep_guarded()


def release(prefix: Prefix) -> None:
    """Release *prefix*, unless another faithd holds it."""
    if not _held(prefix) and routes.release(prefix):
        keep_guarded()
