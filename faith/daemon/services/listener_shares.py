"""Shares in the listeners of dead and late workers, which able workers serve meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from faith.daemon.process.messages import MOST_DESCRIPTORS
from faith.daemon.services.worker import LISTENERS, PROXY_LISTENERS

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from faith.daemon.process.worker_pool import WorkerPool


class WorkerListeners(NamedTuple):
    """The listeners of a worker's own: of services, of mapped networks and of proxies."""

    services: list[_socket.socket]
    mapped: list[_socket.socket]
    proxies: list[_socket.socket]


class ListenerShares:
    """Gives each of *workers* in *pool* what it serves beside what it was forked with.

    *listeners* returns those of a number.  Those of mapped networks and proxies may be newer than a
    worker, which is given its own, too.
    """

    def __init__(
        self,
        pool: WorkerPool,
        workers: int,
        listeners: Callable[[int], WorkerListeners],
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
        self._pool.desire(PROXY_LISTENERS, descriptors=self._of_proxies, binding=False)

    def _descriptors(self, number: int) -> list[int]:
        if not self._runs:
            return []
        found = [*self._listeners(number).mapped]
        for absent in self._borrowed.get(number, ()):
            services, mapped, _ = self._listeners(absent)
            found += services + mapped
        return _numbers(found)

    def _of_proxies(self, number: int) -> list[int]:
        if not self._runs:
            return []
        served = (number, *self._borrowed.get(number, ()))
        return _numbers([one for of in served for one in self._listeners(of).proxies])


def _numbers(listeners: list[_socket.socket]) -> list[int]:
    """Return their descriptors, each once, as many as go into a message."""
    found = dict.fromkeys(listener.fileno() for listener in listeners)
    return [*found][: MOST_DESCRIPTORS - 1]
