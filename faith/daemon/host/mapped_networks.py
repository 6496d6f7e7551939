"""The IPv4 side, from the supervisor's: mapped networks are local, guarded, and steered to us."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from faith.daemon.host import discovery
from faith.daemon.observe.log import NOTICE
from faith.errors import SetupError
from faith.kernel.netlink import mapped_routes
from faith.kernel.nft import mapped_guard
from faith.kernel.nft.guard import NoNftables
from faith.kernel.steering import mapped_steering
from faith.translation.networks import Networks
from faith.translation.ranges import ranges, without

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterable

    from faith.kernel.steering.mapped_steering import InwardSteering

    Network = tuple[int, int]
    """An IPv4 address and a length."""

log = logging.getLogger("faith.supervisor")


class Inward:
    """Has connections to mapped networks come to the workers, for as long as there are any.

    *way* is as in kernel.steering.  What is there in the kernel is found by its marks: routes of
    this process, which the next program of it goes on with, and a guard of all.  *arrived* is
    called when workers that are there already have `listeners` to serve: one for each.
    """

    def __init__(self, way: str, workers: int, arrived: Callable[[], None]) -> None:
        self._way = way
        self._workers = workers
        self._arrived = arrived
        self._steering: InwardSteering | None = None
        self._networks: tuple[Network, ...] = ()
        self._own: tuple[Network, ...] = ()
        self._held: set[Network] = set()
        self._generation = -1  # of nftables, when the guard was last seen as it should be
        self._ranges: list[tuple[int, int]] = []  # that were under guard then
        self._unguarded = False

    def take_over(self, left: dict[str, Any] | None) -> None:
        """Go on with the steering whose `state` the program before this one has *left*."""
        if left:
            self._steering = mapped_steering.taken_over(left)
            self._steering.deal(self._workers)

    # -- following the maps ------------------------------------------------------------------

    def start(self) -> None:
        """Begin with what this process holds, and take away what dead ones have left.

        Raises SetupError.
        """
        ours = os.getpid()
        there = mapped_routes.held()
        self._held = there.pop(ours, set())
        running = {other.pid for other in discovery.running()} if there else set()
        for process in there.keys() - running:
            log.log(NOTICE, "mapped networks of process %d, which is gone, are released", process)
            mapped_routes.release(there[process], process)
            self._guard(())

    def follow(self, networks: Iterable[Network], own: Iterable[Network]) -> None:
        """Answer for *networks* and no others; what is the gateway's *own* stays its own.

        Raises SetupError, and then what is new may be there in part.
        """
        before, self._networks, self._own = self._networks, tuple(networks), tuple(own)
        wanted = set(self._networks)
        if not wanted and not self._held:
            return
        new, gone = wanted - self._held, self._held - wanted
        self._guard(new)
        mapped_routes.hold(new, os.getpid())
        self._held |= new
        self._steer()
        mapped_routes.release(gone, os.getpid())
        self._held -= gone
        if gone:
            self._guard(())
        if before != self._networks:
            log.log(NOTICE, "mapped networks: %d", len(self._networks))
            for obstacle in mapped_routes.unanswered(new):
                log.warning("%s", obstacle)

    def _steer(self) -> None:
        if self._steering is None:
            self._steering = mapped_steering.bring_in(self._way, self._workers)
            self._arrived()
            log.info("mapped networks are steered by %s", self._steering.way)
        holes = Networks(32, self._networks).holding(self._own)
        self._steering.steer(self._networks, holes)

    def _guard(self, coming: Iterable[Network]) -> None:
        """Guard what any process holds, and what is *coming*."""
        wanted = self._guarded(coming)
        try:
            untouched = mapped_guard.generation() == self._generation
            if untouched and wanted == self._ranges:
                return
            mapped_guard.install(wanted, self._ranges if untouched else None)
            self._generation, self._ranges = mapped_guard.generation(), wanted
        except NoNftables:
            if not self._unguarded:
                log.warning("no nftables here: this host's servers answer at mapped addresses too")
            self._unguarded = True

    def _guarded(self, coming: Iterable[Network] = ()) -> list[tuple[int, int]]:
        networks = {network for some in mapped_routes.held().values() for network in some} | {
            *coming
        }
        return without(ranges(networks, 32), ranges(self._own, 32))

    # -- what others do ----------------------------------------------------------------------

    def look(self) -> bool:
        """Put the guard back if somebody altered it, and say so.  Raises SetupError."""
        if not self._held or self._unguarded:
            return False
        generation = mapped_guard.generation()
        if generation == self._generation:
            return False
        wanted = self._guarded()
        if mapped_guard.is_intact(wanted):
            self._generation, self._ranges = generation, wanted
            return False
        self._guard(())
        log.warning("somebody altered the guard of the mapped networks; it is as it was again")
        return True

    def look_at_routes(self) -> bool:
        """Put routes back that somebody deleted, and say so.  Raises SetupError."""
        gone = self._held - mapped_routes.held().get(os.getpid(), set()) if self._held else ()
        if gone:
            mapped_routes.hold(gone, os.getpid())
            log.warning("somebody deleted %d routes of mapped networks; they are back", len(gone))
        return bool(gone)

    # -- from one process to another ---------------------------------------------------------

    def state(self) -> dict[str, Any] | None:
        """What the next program of this process goes on from, fit for JSON."""
        return self._steering.state() if self._steering else None

    def descriptors(self) -> list[int]:
        """Those that are in the state."""
        return self._steering.descriptors if self._steering else []

    def forsake(self, worker: int | None) -> list[_socket.socket]:
        """In another process, let go of everything but a *worker*'s listeners."""
        self._held = set()
        return self._steering.after_fork(worker) if self._steering else []

    def listeners(self, worker: int) -> list[_socket.socket]:
        """Return those of a *worker*, of which there are none before there is a map."""
        return self._steering.listeners[worker] if self._steering else []

    def stop_listening(self) -> None:
        """Let the kernel queue no more connections; what feeds the listeners stays."""
        for listeners in self._steering.listeners if self._steering else ():
            for listener in listeners:
                listener.close()

    def close(self) -> None:
        """Take everything back."""
        if self._steering:
            self._steering.close()
        try:
            mapped_routes.release(self._held, os.getpid())
            if self._held:
                self._guard(())
        except (SetupError, OSError) as error:
            log.error("mapped networks are not released: %s", error)
