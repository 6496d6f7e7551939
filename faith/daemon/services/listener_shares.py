"""Shares in the listeners of dead and late workers, which able workers serve meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.daemon.process.messages import MOST_DESCRIPTORS
from faith.daemon.services.worker import LISTENERS

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from faith.daemon.process.worker_pool import WorkerPool


class ListenerShares:
    """Gives each of *workers* in *pool* what it serves beside what it was forked with.

    *listeners* returns those of a number: of the services, and of the mapped networks.  The latter
    may be newer than a worker, which is given its own, too.
    """

    def __init__(
        self,
        pool: WorkerPool,
        workers: int,
        listeners: Callable[[int], tuple[list[_socket.socket], list[_socket.socket]]],
    ) -> None:
        self._pool = pool
        self._workers = workers
        self._listeners = listeners
        self._borrowed: dict[int, list[int]] = {}
        self._runs = False

    def start(self) -> None:
        """Begin: all workers are there."""
        self._runs = True
        self.share()

    def stop(self) -> None:
        """Share nothing any more: the listeners are closed."""
        self._runs = False

    def share(self) -> None:
        """Deal the listeners of workers that are absent among those that are able."""
        if not self._runs:
            return
        able = self._pool.able
        absent = set(range(self._workers)).difference(one.number for one in able)
        self._borrowed = {worker.number: [] for worker in able}
        for turn, number in enumerate(sorted(absent) if able else ()):
            self._borrowed[able[turn % len(able)].number].append(number)
        self._pool.desire(LISTENERS, descriptors=self._descriptors, binding=False)

    def _descriptors(self, number: int) -> list[int]:
        if not self._runs:
            return []
        _, mapped = self._listeners(number)
        found = [*mapped]
        for absent in self._borrowed.get(number, ()):
            for some in self._listeners(absent):
                found += some
        return [listener.fileno() for listener in found][: MOST_DESCRIPTORS - 1]
