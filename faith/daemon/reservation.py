"""Prefixes that are reserved for as long as a daemon runs (``-P``)."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from faith.daemon import presence
from faith.errors import PermissionNeeded, SetupError
from faith.kernel import guard, routes
from faith.translation.prefix import Prefixes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.translation.prefix import Prefix

log = logging.getLogger("faith.supervisor")

_ATTEMPTS = 10


@contextmanager
def reservation(prefix: Prefix) -> Iterator[bool]:
    """Within the block *prefix* is reserved and guarded; true when that was not so anyway.

    What ``faith -e`` has reserved stays afterwards, and so does what another faithd still holds:
    the last one takes it away.  Raises SetupError.
    """
    if prefix in routes.reserved() and not _held(prefix):
        yield False
        return
    _check(prefix)
    with ExitStack() as undo:
        undo.callback(_release, prefix)
        _reserve(prefix)
        yield True


def _held(prefix: Prefix) -> bool:
    """Whether another faithd is in a block for *prefix*."""
    return any(str(prefix) in other.sets_up for other in presence.running())


def _check(prefix: Prefix) -> None:
    for other in routes.reserved():
        if other != prefix and other.overlaps(prefix):
            taken = f"{other}, layout {other.layout}, is reserved already"
            raise SetupError(f"reserve {prefix}", taken)
    if conflict := routes.conflicts(prefix):
        raise SetupError(f"reserve {prefix}", conflict)


def _reserve(prefix: Prefix) -> None:
    try:
        _guard(prefix)
    except PermissionNeeded:
        raise
    except SetupError as error:
        log.warning("%s: this host's other servers answer under %s too", error, prefix)
        routes.reserve(prefix)
    else:
        routes.reserve(prefix)
        _guard()


def _release(prefix: Prefix) -> None:
    if not _held(prefix) and routes.release(prefix) and guard.inspect().present:
        _guard()


def _guard(*coming: Prefix) -> None:
    """Guard what is reserved, and *coming*; again if others did so meanwhile with less."""
    for _ in range(_ATTEMPTS):
        if wanted := Prefixes([*routes.reserved(), *coming]):
            guard.install(wanted, guard.inspect().open_ports)
        else:
            guard.remove()
        if all(map(guard.inspect().covers, (*routes.reserved(), *coming))):
            return
    raise SetupError("guard", "others keep changing it")
