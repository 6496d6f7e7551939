"""Ping, from the supervisor's side: what takes the requests, and the process they come to."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from faith.daemon.channel import in_memory
from faith.daemon.crew import Crew
from faith.daemon.ping_process import Task, work
from faith.daemon.predecessors import Predecessors, as_left
from faith.datagram import icmp
from faith.datagram.ping import Sockets
from faith.errors import FaithError
from faith.kernel.echo_capture import EchoCapture
from faith.kernel.icmp_sockets import copied, icmp_socket, icmpv6_socket, resumed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.daemon.channel import Channel
    from faith.daemon.companions import Refuse, Then
    from faith.daemon.lent import Lent
    from faith.daemon.loop import Loop
    from faith.daemon.places import Places
    from faith.daemon.policy import Parts
    from faith.daemon.settings import Settings
    from faith.datagram.ping import Settings as PingSettings

log = logging.getLogger("faith.supervisor")


class Gear:
    """What a supervisor holds for ping.  Raises SetupError; nothing stays behind then."""

    def __init__(self) -> None:
        with ExitStack() as undo:
            self.capture = EchoCapture()
            undo.callback(self.capture.close)
            self._v4 = icmp_socket((icmp.ECHO_REPLY_V4, *icmp.ERRORS_V4))
            undo.callback(self._v4.close)
            self._v6 = icmpv6_socket((icmp.ECHO_REPLY_V6, *icmp.ERRORS_V6))
            undo.pop_all()

    @classmethod
    def resume(cls, state: Any) -> Gear:
        """That of the program before this one, by its `state`."""
        capture, v4, v6 = state
        made = cls.__new__(cls)
        made.capture = EchoCapture.resume(capture)
        made._v4, made._v6 = resumed(v4), resumed(v6)
        return made

    def state(self) -> Any:
        """What the next program needs of it, fit for JSON."""
        return [self.capture.state(), self._v4.fileno(), self._v6.fileno()]

    def descriptors(self) -> Iterator[int]:
        """Those that are in the state."""
        yield from self.capture.descriptors()
        yield from (self._v4.fileno(), self._v6.fileno())

    def sockets(self) -> Sockets:
        """Copies of the sockets, for a process that serves."""
        return Sockets(self.capture.packets.copy(), *map(copied, (self._v4, self._v6)))

    def decide_by(self, parts: Parts) -> None:
        """Take the requests to all prefixes and mapped networks.  Raises SetupError."""
        self.capture.set_prefixes(parts.prefixes)
        self.capture.set_networks(parts.networks)

    def close(self) -> None:
        """Let go of all; the guard refuses pings again with the last copy."""
        self.capture.close()
        self._v4.close()
        self._v6.close()


class Post:
    """The process that pings, and its *gear*."""

    def __init__(
        self, loop: Loop, gear: Gear, settings: PingSettings, work: Callable[[int, Channel], None]
    ) -> None:
        self.gear = gear
        self.settings = settings
        self.crew = Crew(loop, work, {}, "ping server")

    def dismiss(self) -> None:
        """End it; requests are not taken from now on."""
        self.gear.close()
        self.crew.tell("stop")
        self.crew.retire()


class Pinging:
    """The companion that answers pings, by one process, or by none when nobody wants it.

    *leave* is called in that process, to let go of what is the supervisor's; *lent* is the pool.
    """

    def __init__(self, loop: Loop, places: Places, lent: Lent, leave: Callable[[], object]) -> None:
        self._loop = loop
        self._places = places
        self._lent = lent
        self._leave = leave
        self._user = ""
        self._parts: Parts | None = None
        self._now: Post | None = None
        self._wanted: PingSettings | None = None
        self._prepared: tuple[PingSettings | None, Post | None] | None = None
        self._leaving: list[Post] = []
        self._predecessors = Predecessors(loop, {})
        self._serves = True
        self._on_trial = False

    # -- from its start to its end -----------------------------------------------------------

    def set_up(self, settings: Settings, left: Any, *, on_trial: bool) -> None:
        """Get the gear, or that which the program before has *left*.  Raises SetupError."""
        self._user = settings.user
        self._wanted = settings.ping
        self._on_trial = on_trial
        if left and not on_trial:
            self._predecessors.adopt(left["workers"])
        if left and left["gear"]:
            gear = Gear.resume(left["gear"])
            if settings.ping is None:
                gear.close()
                return
            self._serves = False
        elif settings.ping is None:
            return
        else:
            gear = Gear()
        self._now = self._post(gear, settings.ping)

    def start(self, on_ready: Then) -> None:
        """Start the process, unless that of the program before this one is to go on."""
        if self._now is None or self._on_trial:
            on_ready()
        else:
            self._now.crew.start(1, on_ready)

    def serve(self) -> None:
        """Where a process of the program before serves: serve instead, with what it has lent."""
        heirs = self._now.crew.members if self._now else []
        if heirs:
            for _ in self._predecessors.hand_over(heirs):
                pass
        else:
            self._predecessors.crew.tell("stop")
        if not self._serves:
            self._serves = True
            self._tell("serve")

    def decide_by(self, parts: Parts) -> None:
        """Go by other prefixes, rules and maps."""
        before, self._parts = self._parts, parts
        if self._now is None or self._on_trial:
            return
        try:
            self._now.gear.decide_by(parts)
        except FaithError as error:
            log.error("pings do not follow a change: %s", error)
        if before:
            with in_memory(parts.dumps(before.maps)) as descriptor:
                self._now.crew.tell("policy", [descriptor])

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
        wanted = settings.ping
        self._prepared = wanted, None
        if wanted is None or self._now:
            on_ready()
            return
        gear = Gear()
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
                post.gear.decide_by(self._parts)
        elif self._now:
            self._now.settings = self._wanted
            self._tell("settings", **vars(self._wanted))

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
        """All that may still have processes."""
        yield self._predecessors.crew
        for post in self._posts():
            yield post.crew

    def state(self) -> Any:
        """What the next program goes on from, fit for JSON."""
        members = self._predecessors.crew.members
        if self._now:
            members = members + self._now.crew.members
        return {"gear": self._now and self._now.gear.state(), "workers": as_left(members)}

    def descriptors(self) -> Iterator[int]:
        """Those that are in the state."""
        if self._now:
            yield from self._now.gear.descriptors()
            yield from self._now.crew.descriptors
        yield from self._predecessors.crew.descriptors

    def forsake(self) -> None:
        """Let go of everything, in a process that was forked for something else."""
        for crew in self.crews():
            crew.forsake()
        for post in self._posts():
            post.gear.close()

    def _posts(self) -> Iterator[Post]:
        self._leaving = [post for post in self._leaving if post.crew.pids]
        if self._now:
            yield self._now
        if self._prepared and self._prepared[1]:
            yield self._prepared[1]
        yield from self._leaving

    def _post(self, gear: Gear, settings: PingSettings) -> Post:
        def be(number: int, channel: Channel) -> None:
            assert self._parts
            sockets = gear.sockets()
            self._leave()
            counters = self._places.ping()
            known = self._parts, self._lent.use
            task = Task(sockets, *known, self._user, post.settings, counters, self._serves)
            work(task, channel)

        post = Post(self._loop, gear, settings, be)
        return post

    def _tell(self, kind: str, **words: object) -> None:
        for member in self._now.crew.members if self._now else ():
            member.tell(kind, (), **words)

    def _dismiss(self) -> None:
        if self._now:
            self._now.dismiss()
            self._leaving.append(self._now)
            self._now = None
