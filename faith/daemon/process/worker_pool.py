"""The workers of a supervisor: forked, listened to, and replaced when they die."""

from __future__ import annotations

import gc
import logging
import os
import signal
import time
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

from faith.daemon.process.channel import Channel
from faith.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from faith.daemon.process.channel import Message
    from faith.daemon.process.loop import Loop

    Hearing = Callable[["Member", Message, list[int]], None]

log = logging.getLogger("faith.supervisor")

SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a worker is replaced: doubled every time, until one has lived for the longest."""

_STEP = "start a worker"
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that a terminal or systemd sends to all of us: they are for the supervisor to act on."""


@dataclass(eq=False)
class Member:
    """A living worker; *number* is its place, which a replacement takes over."""

    number: int
    pid: int
    channel: Channel
    born: float
    ready: bool = False

    def tell(self, kind: str, descriptors: Sequence[int] = (), **words: object) -> None:
        """Say something to it; it is killed when it takes no orders any more."""
        try:
            self.channel.send({"kind": kind, **words}, descriptors)
        except BlockingIOError:
            # It would go on by rules that are no longer true.
            log.error("process %d takes no orders", self.pid)
            os.kill(self.pid, signal.SIGKILL)
        except BrokenPipeError:
            return  # it has ended, and will be reaped


class Crew:
    """Workers, as many as asked for.

    *work* is called with a place and a channel in a new process, which ends when it returns;
    *hearings* are called, by the message's kind, with what a worker says.  *what* they are is said
    in messages.
    """

    def __init__(
        self,
        loop: Loop,
        work: Callable[[int, Channel], None],
        hearings: Mapping[str, Hearing],
        what: str = "worker",
    ) -> None:
        self.restarts = 0
        """Members that have taken the place of a dead one."""
        self.on_serve: Callable[[], None] = lambda: None
        """Called whenever a worker has begun to serve."""
        self.on_gone: Callable[[], None] = lambda: None
        """Called when the last worker has ended after :meth:`retire`."""
        self.on_failure: Callable[[SetupError], None] = _give_up
        """Called when one fails before all serve, instead of raising that from the loop."""
        self.on_end: Callable[[Member], None] = lambda member: None
        """Called with every worker that has ended, before it is replaced."""
        self._loop = loop
        self._work = work
        self._what = what
        self._hearings = {"ready": self._ready, "failed": self._failed, **hearings}
        self._members: dict[int, Member] = {}
        self._pauses: list[float] = []
        self._on_ready: Callable[[], None] = lambda: None
        self._starting = True
        self._retired = False

    def start(self, count: int, on_ready: Callable[[], None]) -> None:
        """Fork *count* workers; *on_ready* is called when all of them serve.

        Raises SetupError, from here or, when one of them fails before that, from the loop.
        """
        self._pauses = [0.0] * count
        self._on_ready = on_ready
        for number in range(count):
            try:
                self._spawn(number)
            except OSError as error:
                raise SetupError(_STEP, str(error.strerror)) from error

    def adopt(self, members: Iterable[Member]) -> None:
        """Have *members* that were forked by the program before this one; none is replaced."""
        self._starting = False
        self._retired = True
        for member in members:
            self._members[member.pid] = member
            self._loop.watch(member.channel, partial(self._hear, member))

    @property
    def members(self) -> list[Member]:
        """Those that live, by their numbers."""
        return sorted(self._members.values(), key=attrgetter("number"))

    @property
    def pids(self) -> list[int]:
        """The processes."""
        return list(self._members)

    @property
    def descriptors(self) -> list[int]:
        """The channels to them."""
        return [member.channel.fileno() for member in self.members]

    @property
    def serving(self) -> int:
        """How many of them serve."""
        return sum(member.ready for member in self._members.values())

    def hear(self, hearings: Mapping[str, Hearing]) -> None:
        """Have *hearings* called as well."""
        self._hearings.update(hearings)

    def tell(self, kind: str, descriptors: Sequence[int] = ()) -> None:
        """Say something to every worker; one that takes no orders any more is killed."""
        for member in self._members.values():
            member.tell(kind, descriptors)

    def retire(self) -> None:
        """Replace no worker from now on."""
        self._retired = True
        if not self._members:
            self.on_gone()

    def kill(self) -> None:
        """End the workers at once; they are reaped when this returns."""
        while self._members:
            pid, member = self._members.popitem()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._let_go(member)

    def forsake(self) -> None:
        """Let go of the workers in a process that was forked for something else."""
        for member in self._members.values():
            member.channel.close()

    def reaped(self, pid: int, status: int) -> bool:
        """Take note of a process that ended, as waitpid(2) told; False when it is no worker."""
        member = self._members.pop(pid, None)
        if member is None:
            return False
        try:
            while self._hear(member):
                pass  # its last words come before the news of its death
        finally:
            self._let_go(member)
        self.on_end(member)
        if self._retired:
            self.retire()
        elif self._starting:
            self.on_failure(SetupError(_STEP, how_it_ended(status)))
        else:
            self._mourn(member, how_it_ended(status))
        return True

    # -- a worker's life ---------------------------------------------------------------------

    def _spawn(self, number: int) -> None:
        ours, theirs = Channel.pair()
        try:
            pid = _fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if not pid:
            ours.close()
            self._be(number, theirs)
        theirs.close()
        member = self._members[pid] = Member(number, pid, ours, time.monotonic())
        self._loop.watch(ours, partial(self._hear, member))

    def _be(self, number: int, channel: Channel) -> None:
        """Be a worker, and nothing after that."""
        status = 1
        try:
            self.forsake()
            self._work(number, channel)
            status = 0
        except Exception:
            log.exception("this %s failed", self._what)
        finally:
            os._exit(status)

    def _mourn(self, member: Member, how: str) -> None:
        lived = time.monotonic() - member.born
        pause = self._pauses[member.number] = next_pause(self._pauses[member.number], lived)
        text = "%s %d %s; another takes its place in %g s"
        log.error(text, self._what, member.pid, how, pause)
        self._loop.later(pause, partial(self._replace, member.number))

    def _replace(self, number: int) -> None:
        if self._retired:
            return
        try:
            self._spawn(number)
            self.restarts += 1
        except OSError as error:
            log.error("no %s can be started: %s", self._what, error.strerror)
            self._loop.later(LONGEST_PAUSE, partial(self._replace, number))

    def _let_go(self, member: Member) -> None:
        self._loop.forget(member.channel)
        member.channel.close()

    # -- what workers say --------------------------------------------------------------------

    def _hear(self, member: Member) -> bool:
        """Take one message; False when there is none."""
        descriptors: list[int] = []
        try:
            received = member.channel.receive()
            if received is None:
                self._loop.forget(member.channel)  # it is about to end
                return False
            message, descriptors = received
            self._hearings[message["kind"]](member, message, descriptors)
        except BlockingIOError:
            return False
        except (LookupError, TypeError, ValueError):  # it is not itself any more
            log.exception("%s %d talks nonsense", self._what, member.pid)
            if member.pid in self._members:
                os.kill(member.pid, signal.SIGKILL)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _ready(self, member: Member, message: Message, descriptors: list[int]) -> None:
        member.ready = True
        self.on_serve()
        if self._starting and all(member.ready for member in self._members.values()):
            self._starting = False
            self._on_ready()

    def _failed(self, member: Member, message: Message, descriptors: list[int]) -> None:
        if self._starting:
            self.on_failure(SetupError(_STEP, message["why"]))
            return
        log.error("%s %d: %s", self._what, member.pid, message["why"])


def _give_up(error: SetupError) -> None:
    raise error


def next_pause(before: float, lived: float) -> float:
    """Seconds until one that *lived* so long is replaced; the pause *before* its life was this."""
    if lived >= LONGEST_PAUSE:
        return SHORTEST_PAUSE
    return min(2 * before, LONGEST_PAUSE) or SHORTEST_PAUSE


def how_it_ended(status: int) -> str:
    """What a status of waitpid(2) means, as a verb."""
    code = os.waitstatus_to_exitcode(status)
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"


def _fork() -> int:
    """fork(2), with no signal of the parent's ever heard in the child."""
    gc.freeze()  # what is there now is shared: a collection would write to, and so copy, all of it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in _IGNORED:
                signal.signal(number, signal.SIG_IGN)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
