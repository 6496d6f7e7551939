"""Datagrams, from the supervisor's side: a companion of one process, and what is held for it."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from faith.daemon.config import carried
from faith.daemon.process.messages import Serve, Stop
from faith.daemon.process.worker_pool import Crew
from faith.daemon.services.datagram_process import POLICY, SETTINGS, Task, work
from faith.daemon.upgrade.draining import DrainingWorkers, as_left
from faith.errors import FaithError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterator

    from faith.daemon.config.policy import PolicyInputs
    from faith.daemon.config.settings import Settings
    from faith.daemon.host.address_leases import AddressLeases
    from faith.daemon.process.loop import Loop
    from faith.daemon.process.messages import ProcessChannel
    from faith.daemon.services.datagram_process import Server
    from faith.daemon.services.interface import Leave, Refuse, Then
    from faith.translation.destination import Policy

log = logging.getLogger("faith.supervisor")


class Gear(Protocol):
    """The gear of such a process, held by the supervisor: sockets, and the steering to them."""

    def state(self) -> Any:
        """Return the state from which the next program resumes the gear, fit for JSON."""

    def sockets(self) -> Any:
        """Return the sockets, in a tuple, for a process that serves."""

    def decide_by(self, parts: PolicyInputs) -> None:
        """Steer datagrams to these prefixes and mapped networks here.  Raises SetupError."""

    def close(self) -> None:
        """Close all descriptors; the steering ends with the last process that holds them."""


class Kind(Protocol):
    """The kind of such a companion: pings, or UDP."""

    name: str
    """The name of its process in the log."""
    settings: type[Any]
    """The dataclass of its settings."""

    def enter(self) -> None:
        """In the process, before all else: write its numbers, and no others."""

    def wanted(self, settings: Settings) -> Any:
        """Its settings among those of the daemon, or None when nobody wants it."""

    def gear(self, settings: Settings) -> Gear:
        """New gear for a daemon that goes by *settings*.

        Raises SetupError; nothing stays behind then.
        """

    def adopt(self, state: Any) -> Gear:
        """Adopt the gear whose `Gear.state` the predecessor process left."""

    def server(self, loop: AbstractEventLoop, policy: Policy, sockets: Any, wanted: Any) -> Server:
        """Return the server for the settings *wanted*, in its process."""


class Post:
    """A process that goes by *settings*, and its *gear*."""

    def __init__(
        self,
        loop: Loop,
        name: str,
        gear: Gear,
        settings: Any,
        be: Callable[[int, ProcessChannel], None],
    ) -> None:
        self.gear = gear
        self.settings = settings
        self.crew = Crew(loop, be, {}, name)

    def dismiss(self) -> None:
        """End it; nothing is led to it from now on."""
        self.gear.close()
        self.crew.tell(Stop())
        self.crew.retire()


class Datagrams:
    """The companion that serves *kind* by one process, or by none when nobody wants it.

    *leave* is called in that process, with what it keeps of this one's; *lent* is the pool.
    """

    def __init__(self, loop: Loop, kind: Kind, lent: AddressLeases, leave: Leave) -> None:
        self._loop = loop
        self._kind = kind
        self._lent = lent
        self._leave = leave
        self._user = ""
        self._parts: PolicyInputs | None = None
        self._now: Post | None = None
        self._wanted: Any = None
        self._prepared: tuple[Any, Post | None] | None = None
        self._leaving: list[Post] = []
        self._predecessors = DrainingWorkers(loop, {})
        self._serves = True
        self._on_trial = False

    # -- from its start to its end -----------------------------------------------------------

    def set_up(self, settings: Settings, left: Any, *, on_trial: bool) -> None:
        """Make the gear, or adopt that which the predecessor process *left*.  Raises SetupError."""
        self._user = settings.user
        self._wanted = wanted = self._kind.wanted(settings)
        self._on_trial = on_trial
        if left and not on_trial:
            self._predecessors.adopt(left["workers"])
        if left and left["gear"]:
            gear = self._kind.adopt(left["gear"])
            if wanted is None:
                gear.close()
                return
            self._serves = False
        elif wanted is None:
            return
        else:
            gear = self._kind.gear(settings)
        self._now = self._post(gear, wanted)

    def start(self, on_ready: Then) -> None:
        """Start the process, unless that of the predecessor process is to go on."""
        if self._now is None or self._on_trial:
            on_ready()
        else:
            self._now.crew.start(1, on_ready)

    def serve(self) -> None:
        """Serve in place of the process that the predecessor left, which hands over or ends."""
        now = self._now
        if now:
            self._predecessors.hand_over(now.crew.able_in)
        else:
            self._predecessors.crew.tell(Stop())
        if not self._serves:
            self._serves = True
            if now:
                now.crew.tell(Serve())

    def decide_by(self, parts: PolicyInputs) -> None:
        """Go by other prefixes, rules and maps."""
        before, self._parts = self._parts, parts
        if self._on_trial:
            return
        if self._now:
            self._lead(self._now.gear, parts)
        known = before.maps if before else None
        change = None if known is None else cache(lambda: parts.dumps(known))
        for post in self._posts():
            post.crew.desire(POLICY, cache(parts.dumps), change)

    def stop(self) -> None:
        """Answer no more."""
        self.drop()
        self._dismiss()

    def close(self) -> None:
        """End the processes at once, and let go of everything."""
        for post in self._posts():
            post.crew.kill()
            post.gear.close()
        self._predecessors.crew.kill()

    # -- other settings ----------------------------------------------------------------------

    def prepare(self, settings: Settings, on_ready: Then, on_failure: Refuse) -> None:
        """Start a process if there has to be one and is none.  Raises SetupError."""
        wanted = self._kind.wanted(settings)
        self._prepared = wanted, None
        if wanted is None or self._now:
            on_ready()
            return
        gear = self._kind.gear(settings)
        post = self._post(gear, wanted)
        self._prepared = wanted, post
        post.crew.on_failure = on_failure
        post.crew.start(1, on_ready)

    def take(self) -> None:
        """Go by the settings that were prepared."""
        if self._prepared is None:
            return
        self._wanted, post = self._prepared
        self._prepared = None
        if self._wanted is None:
            self._dismiss()
        elif post:
            self._now = post
            if self._parts:
                self._lead(post.gear, self._parts)
        elif self._now:
            self._now.settings = self._wanted
            wanted = self._wanted
            self._now.crew.desire(SETTINGS, cache(lambda: carried.dumps(wanted)))

    def drop(self) -> None:
        """Go by those of before."""
        if self._prepared:
            post = self._prepared[1]
            self._prepared = None
            if post:
                post.dismiss()
                self._leaving.append(post)

    # -- the processes -----------------------------------------------------------------------

    def crews(self) -> Iterator[Crew]:
        """Yield all crews that may still have processes."""
        yield self._predecessors.crew
        for post in self._posts():
            yield post.crew

    def state(self) -> Any:
        """Return the state from which the next program continues, fit for JSON."""
        members = self._predecessors.crew.members
        if self._now:
            members = members + self._now.crew.members
        return {"gear": self._now and self._now.gear.state(), "workers": as_left(members)}

    def _posts(self) -> Iterator[Post]:
        self._leaving = [post for post in self._leaving if post.crew.pids]
        if self._now:
            yield self._now
        if self._prepared and self._prepared[1]:
            yield self._prepared[1]
        yield from self._leaving

    def _post(self, gear: Gear, settings: Any) -> Post:
        kind = self._kind
        carried.decoder(kind.settings)

        def be(number: int, channel: ProcessChannel) -> None:
            assert self._parts
            sockets = gear.sockets()
            kind.enter()
            self._leave([channel, *sockets])

            def make(loop: AbstractEventLoop, policy: Policy) -> Server:
                return kind.server(loop, policy, sockets, post.settings)

            known = self._parts, self._lent.use
            work(Task(make, kind.settings, *known, self._user, self._serves), channel)

        post = Post(self._loop, kind.name, gear, settings, be)
        return post

    def _lead(self, gear: Gear, parts: PolicyInputs) -> None:
        """Lead to *gear* what *parts* say; what the kernel refuses is told the operator."""
        try:
            gear.decide_by(parts)
        except FaithError as error:
            log.error("the %s does not follow a change: %s", self._kind.name, error)

    def _dismiss(self) -> None:
        if self._now:
            self._now.dismiss()
            self._leaving.append(self._now)
            self._now = None
