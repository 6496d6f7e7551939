"""Prefixes that are reserved for as long as a daemon runs (``-P``)."""

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
    """Within the block *prefix* is reserved and guarded; true when that was not so anyway.

    It is *ours* already when the program before this one in the process has left it so.

    What ``faith -e`` has reserved stays afterwards, and so does what another faithd still holds:
    the last one takes it away.  Raises SetupError.
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
    """Whether another faithd is in a block for *prefix*."""
    return any(str(prefix) in other.sets_up for other in discovery.running())


def _reserve(prefix: Prefix) -> None:
    if not keep_guarded([prefix]):
        log.warning("no nftables here: this host's other servers answer under %s too", prefix)
    routes.reserve(prefix)
    keep_guarded()


def release(prefix: Prefix) -> None:
    """Take *prefix* away, unless another faithd holds it."""
    if not _held(prefix) and routes.release(prefix):
        keep_guarded()
