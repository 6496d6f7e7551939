"""Steering to new prefixes once the workers know them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.daemon.process.loop import Loop
    from faith.daemon.process.worker_pool import WorkerPool
    from faith.translation.prefix import Prefix

PATIENCE = 2.0
"""Seconds to wait for workers that do not apply the policy."""
_LOOK = 0.01


class PrefixSteering:
    """Calls *steer* with the newest prefixes when all workers of *pool* have applied the policy.

    A worker that does not know a prefix takes a mapped address for one of the gateway's own, and
    resets the connection.
    """

    def __init__(
        self, loop: Loop, pool: WorkerPool, steer: Callable[[tuple[Prefix, ...]], None]
    ) -> None:
        self._loop = loop
        self._pool = pool
        self._steer = steer
        self._wanted: tuple[Prefix, ...] | None = None

    def follow(self, prefixes: tuple[Prefix, ...]) -> None:
        """Steer to *prefixes*, which workers have been sent, and to no others."""
        waits = self._wanted is not None
        self._wanted = prefixes
        if not waits:
            self._look(PATIENCE)

    def _look(self, patience: float) -> None:
        if self._pool.behind and patience > 0:
            self._loop.later(_LOOK, partial(self._look, patience - _LOOK))
            return
        prefixes, self._wanted = self._wanted, None
        assert prefixes is not None
        self._steer(prefixes)
