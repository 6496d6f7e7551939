"""Mapped IPv4 networks of a daemon: made local, guarded, and steered to its workers."""

from __future__ import annotations

import logging
import os
from bisect import bisect
from typing import TYPE_CHECKING, Any

from faith.daemon.host import discovery
from faith.daemon.host.address_conflicts import Question
from faith.daemon.observe.log import NOTICE
from faith.errors import SetupError
from faith.kernel.netlink import mapped_routes
from faith.kernel.nft.guard import NETWORKS, NoNftables
from faith.kernel.steering import mapped_steering
from faith.translation.networks import Networks, contains
from faith.translation.ports import ALL_PORTS
from faith.translation.ranges import ranges, together, without

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterable

    from faith.daemon.host.address_conflicts import AddressConflicts
    from faith.kernel.steering.mapped_steering import MappedSteering

    Network = tuple[int, int]
    """An IPv4 address and a prefix length."""

log = logging.getLogger("faith.supervisor")


class MappedNetworks:
    """The steering of connections to mapped networks to the workers, while there are such networks.

    *method* is a method of kernel.steering.  *users* may send from these networks, and *conflicts*
    notices who else answers for them.  The daemon finds its state in the kernel by marks: routes of
    this process, which an upgrade keeps, and a guard shared by all daemons.  *arrived* is called
    when running workers get `listeners` to serve: one for each.
    """

    def __init__(
        self,
        method: str,
        workers: int,
        arrived: Callable[[], None],
        users: Iterable[int] = (),
        conflicts: AddressConflicts | None = None,
    ) -> None:
        self._method = method
        self._workers = workers
        self._arrived = arrived
        self._users = frozenset(users)
        self._conflicts = conflicts
        self._steering: MappedSteering | None = None
        self._networks: tuple[Network, ...] = ()
        self._own: tuple[Network, ...] = ()
        self._held: set[Network] = set()
        self._generation = -1  # of nftables, when the guard was last seen intact
        self._ranges: list[tuple[int, int]] = []  # the ranges under guard at that time
        self._settled: tuple[Network, ...] | None = None  # own networks of the last whole change
        self._unguarded = False
        self._is_paused = False

    def adopt(self, left: dict[str, Any] | None) -> None:
        """Adopt the steering whose `state` the predecessor process has *left*."""
        if left:
            self._steering = mapped_steering.adopt(left)
            self._steering.deal(self._workers)

    # -- changes of the maps -----------------------------------------------------------------

    def start(self) -> None:
        """Start with the routes that this process holds, and remove those of dead processes.

        Raises SetupError.
        """
        ours = os.getpid()
        there = mapped_routes.held()
        self._held = there.pop(ours, set())
        running = {other.pid for other in discovery.running()} if there else set()
        for process in there.keys() - running:
            mapped_routes.release(there[process], process)
            self._guard(())
            log.log(NOTICE, "released the mapped networks of process %d, which has ended", process)

    def question(
        self,
        networks: Iterable[Network],
        own: Iterable[Network],
        routed: Iterable[Network] = (),
        router: int | None = None,
    ) -> Question:
        """Return the question who else has what is new of *networks* and *routed*.

        The gateway's *own* networks are no question.  *router* is as in `Question`.
        """
        held, mine = self._held, Networks(32, own)
        if not held:  # those of the predecessor process, where this one is on trial
            held = {network for some in mapped_routes.held().values() for network in some}
        lengths = {length for _, length in held}

        def has(address: int) -> bool:
            return address in mine or any(
                (address >> 32 - length << 32 - length, length) in held for length in lengths
            )

        return Question(set(networks) - held, has, set(routed) - held, router)

    def follow(self, networks: Iterable[Network], own: Iterable[Network]) -> None:
        """Answer for exactly *networks*; addresses of the gateway's *own* keep their meaning.

        Raises SetupError, and then some of the new networks may be in place.
        """
        before, self._networks = self._networks, tuple(networks)
        self._own = tuple(own)
        wanted = set(self._networks)
        if not wanted and not self._held:
            return
        new, gone = wanted - self._held, self._held - wanted
        only, self._settled = self._settled == self._own, None
        self._guard(new, only=only)
        mapped_routes.hold(new, os.getpid())
        self._held |= new
        self._steer()
        mapped_routes.release(gone, os.getpid())
        self._held -= gone
        if not all(self._answers(one) for one in gone):  # else they were joined to others
            self._guard(())
        self._settled = self._own
        if self._conflicts:
            self._conflicts.watch(self._networks, self._own)
        if before != self._networks:
            log.log(NOTICE, "mapped networks: %d", len(self._networks))
            for obstacle in mapped_routes.unanswered(new):
                log.warning("%s", obstacle)

    def _answers(self, network: Network) -> bool:
        """Return whether *network* is in one of the networks to answer for."""
        at = bisect(self._networks, network)
        return at > 0 and contains(self._networks[at - 1], network)

    def _steer(self) -> None:
        if self._steering is None:
            self._steering = mapped_steering.create(self._method, self._workers)
            if self._is_paused:
                self._steering.pause()
            self._arrived()
            log.info("mapped networks are steered by %s", self._steering.method)
        holes = Networks(32, self._networks).holding(self._own)
        self._steering.steer(self._networks, holes)

    def _guard(self, coming: Iterable[Network], *, only: bool = False) -> None:
        """Guard the networks that any process holds, and those *coming*; *only* these are new."""
        try:
            untouched = NETWORKS.generation() == self._generation
            if untouched and only:  # what all processes hold is not read, which takes its time
                new = without(ranges(coming, 32), ranges(self._own, 32))
                wanted = together(self._ranges, new)
            else:
                wanted = self._guarded(coming)
            if untouched and wanted == self._ranges:
                return
            NETWORKS.change(wanted, self._ranges if untouched else None, self._users)
            self._generation, self._ranges = NETWORKS.generation(), wanted
        except NoNftables:
            if not self._unguarded:
                log.warning(
                    "this kernel has no nftables: servers of this host answer at mapped addresses"
                )
            self._unguarded = True

    def _guarded(self, coming: Iterable[Network] = ()) -> list[tuple[int, int]]:
        networks = {network for some in mapped_routes.held().values() for network in some} | {
            *coming
        }
        return without(ranges(networks, 32), ranges(self._own, 32))

    # -- repair ------------------------------------------------------------------------------

    def look(self) -> bool:
        """Restore the guard if another program changed it; return whether it did.  Raises
        SetupError."""
        if not self._held or self._unguarded:
            return False
        generation = NETWORKS.generation()
        if generation == self._generation:
            return False
        wanted = self._guarded()
        if NETWORKS.is_intact(wanted, self._users):
            self._generation, self._ranges = generation, wanted
            return False
        fits = NETWORKS.fits()
        self._guard(())
        if not fits:
            log.log(NOTICE, "other programs translate addresses: the guard keeps maps from that")
            return False
        log.warning("the guard of the mapped networks was changed by another program; restored it")
        return True

    def knows(self, kind: int, body: bytes) -> bool:
        """Return whether a notification is of a route that is as this process has made it."""
        change = mapped_routes.change(kind, body)
        if change is None:
            return False
        network, process, came = change
        return process == os.getpid() and came == (network in self._held)

    def look_at_routes(self) -> bool:
        """Restore deleted routes; return whether there were any.  Raises SetupError."""
        gone = self._held - mapped_routes.held().get(os.getpid(), set()) if self._held else ()
        if gone:
            mapped_routes.hold(gone, os.getpid())
            log.warning(
                "%d routes of mapped networks were deleted by another program; restored them",
                len(gone),
            )
        return bool(gone)

    # -- upgrades ----------------------------------------------------------------------------

    def state(self) -> dict[str, Any] | None:
        """Return the state that an upgrade passes to the successor process, fit for JSON."""
        return self._steering.state() if self._steering else None

    def listeners(self, worker: int) -> list[_socket.socket]:
        """Return those of a *worker*, of which there are none before there is a map."""
        return self._steering.listeners[worker] if self._steering else []

    def pause(self) -> None:
        """Have the kernel refuse new connections; what is steered stays so."""
        self._is_paused = True
        if self._steering:
            self._steering.pause()

    def resume(self) -> None:
        """Accept connections again, after `pause`.  Raises SetupError."""
        if self._steering:
            self._steering.resume(ALL_PORTS)
        self._is_paused = False

    def close(self) -> None:
        """Undo everything."""
        if self._steering:
            self._steering.close()
        try:
            mapped_routes.release(self._held, os.getpid())
            if self._held:
                self._guard(())
        except (SetupError, OSError) as error:
            log.error("cannot release the mapped networks: %s", error)
