"""The workers of a supervisor: forked, kept in their desired state, and replaced when they die.

Each is sent the desired state of every topic, and answers with the generations that it has
applied.  Who lags is sent it again, and who is silent is killed: `faith.daemon.process.heartbeat`.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import time
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from faith.daemon.process.channel import InvalidMessage, close_all
from faith.daemon.process.heartbeat import Heartbeats
from faith.daemon.process.messages import Alive, Failed, Ready, pair
from faith.daemon.process.peer import Desired, Member
from faith.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from faith.daemon.process.channel import Received
    from faith.daemon.process.loop import Loop
    from faith.daemon.process.messages import Order, ProcessChannel, Report

    Hearing = Callable[[Member, Any, list[int]], None]
    """Called with a message and its descriptors, which are closed afterwards.

    There are none if they were lost for want of room.  Raises InvalidMessage for what no sound
    process sends.
    """

log = logging.getLogger("faith.supervisor")

BATCH = 64
"""Messages of a process that are handled before the others have their turn."""

SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 10.0
"""Seconds before a worker is replaced: doubled every time, until one has lived for the longest.

Connections of its listeners wait no longer than that, even where no other worker serves them.
"""

_STEP = "start a worker"
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that a terminal or systemd sends to all of us: they are for the supervisor to act on."""


class Crew:
    """Workers, as many as asked for.

    *work* is called with a place and a channel in a new process, which ends when it returns; it
    has everything that this process has open, and is to keep what it needs (`close_others`).
    *hearings* are called, by the message's type, with what a worker sends.  *what* they are is said
    in messages.
    """

    def __init__(
        self,
        loop: Loop,
        work: Callable[[int, ProcessChannel], None],
        hearings: Mapping[type[Report], Hearing],
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
        self._hearings: dict[type[Report], Hearing] = {
            Ready: self._ready,
            Failed: self._failed,
            Alive: self._alive,
            **hearings,
        }
        self._members: dict[int, Member] = {}
        self._pauses: list[float] = []
        self._on_ready: Callable[[], None] = lambda: None
        self._starting = True
        self._retired = False
        self._desired: dict[str, Desired] = {}
        self._heartbeats = Heartbeats(loop, self._members, self._desired, self._hear_some)

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
        """Adopt *members* that the predecessor process forked; none is replaced when it ends."""
        self._starting = False
        self._retired = True
        for member in members:
            self._add(member)

    @property
    def members(self) -> list[Member]:
        """The living workers, ordered by number."""
        return sorted(self._members.values(), key=attrgetter("number"))

    @property
    def pids(self) -> list[int]:
        """The processes."""
        return list(self._members)

    @property
    def serving(self) -> int:
        """How many of them serve."""
        return sum(member.ready for member in self._members.values())

    def on_late(self, action: Callable[[], None]) -> None:
        """Have *action* called when other workers than before are late."""
        self._heartbeats.on_late = action

    @property
    def late(self) -> list[Member]:
        """The workers silent, or behind the desired state, for longer than `heartbeat.LATE`."""
        return [member for member in self.members if member.pid in self._heartbeats.late]

    @property
    def behind(self) -> list[Member]:
        """The workers that have not applied the newest state that binds them."""
        return [member for member in self.members if member.behind is not None]

    @property
    def able(self) -> list[Member]:
        """The workers that serve and are not late."""
        return [one for one in self.members if one.ready and one.pid not in self._heartbeats.late]

    def able_in(self, number: int) -> Member | None:
        """Return the worker in place *number* if it serves and is not late, or None."""
        return next((one for one in self.able if one.number == number), None)

    def hear(self, hearings: Mapping[type[Report], Hearing]) -> None:
        """Have *hearings* called as well."""
        self._hearings.update(hearings)

    def tell(self, order: Order, descriptors: Sequence[int] = ()) -> None:
        """Send *order* to every worker."""
        for member in self._members.values():
            member.send(order, descriptors)

    def desire(
        self,
        topic: str,
        whole: Callable[[], str] = str,
        change: Callable[[], str] | None = None,
        descriptors: Callable[[int], Iterable[int]] = lambda number: (),
        *,
        binding: bool = True,
    ) -> None:
        """Have every worker apply another state of *topic*: see `Desired`.

        A worker that is forked from now on begins with it.
        """
        before = self._desired.get(topic)
        generation = before.generation + 1 if before else 1
        desired = Desired(generation, whole, change, descriptors, binding)
        self._desired[topic] = desired
        now = time.monotonic()
        for member in self._members.values():
            member.bring(topic, desired, now)

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

    def reaped(self, pid: int, status: int) -> bool:
        """Take note of a process that ended, as waitpid(2) told; False when it is no worker."""
        member = self._members.pop(pid, None)
        if member is None:
            return False
        member.killed = True  # never by its number from now on: that may be another's
        try:
            while self._hear(member):
                pass  # its last words come before the news of its death
        finally:
            self._let_go(member)
        self._heartbeats.note_late()
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
        applied = {topic: desired.generation for topic, desired in self._desired.items()}
        ours, theirs = pair(applied)
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
        now = time.monotonic()
        self._add(
            Member(
                number, pid, ours, now, what=self._what, sent=dict(applied), applied=dict(applied)
            )
        )

    def _add(self, member: Member) -> None:
        self._members[member.pid] = member
        self._loop.watch(member.channel, partial(self._hear_some, member))
        self._heartbeats.start()

    def _be(self, number: int, channel: ProcessChannel) -> None:
        """Be a worker, and nothing after that."""
        status = 1
        try:
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
        member.close()

    # -- what workers say --------------------------------------------------------------------

    def _hear_some(self, member: Member) -> None:
        """Handle what *member* has sent, but let others have their turn."""
        for _ in range(BATCH):
            if not self._hear(member):
                return

    def _hear(self, member: Member) -> bool:
        """Handle one message; False when there is none."""
        if member.channel.fileno() < 0:
            return False  # it was reaped meanwhile
        try:
            received = member.channel.receive()
        except InvalidMessage as error:
            self._is_invalid(member, error)
            return not member.killed
        except OSError:
            return False
        if received is None:
            self._loop.forget(member.channel)  # it is about to end
            return False
        try:
            self._handle(member, received)
        finally:
            close_all(received.descriptors)
        return True

    def _handle(self, member: Member, received: Received[Report]) -> None:
        """Call the handler of a message: an error of its own is ours, and costs no worker."""
        message, descriptors, cut = received
        kind = type(message).__name__
        if cut:
            log.error("%s %d: descriptors of %s were lost", self._what, member.number + 1, kind)
        handler = self._hearings.get(type(message))
        if handler is None:
            self._is_invalid(member, f"{kind} is not for it to send")
            return
        try:
            handler(member, message, descriptors)
        except InvalidMessage as error:
            self._is_invalid(member, error)
        except Exception as error:
            if self._starting and isinstance(error, SetupError):
                raise
            text = "%s %d: handling its %s failed, which is a defect of this program"
            log.exception(text, self._what, member.number + 1, kind)

    def _is_invalid(self, member: Member, why: object) -> None:
        member.kill(f"sent an invalid message ({printable(str(why)[:200])})")

    def _ready(self, member: Member, message: Ready, descriptors: list[int]) -> None:
        member.ready = True
        self.on_serve()
        if self._starting and all(member.ready for member in self._members.values()):
            self._starting = False
            self._loop.later(0, self._on_ready)  # what fails there is no message's fault

    def _failed(self, member: Member, message: Failed, descriptors: list[int]) -> None:
        why = printable(message.why)
        if self._starting:
            self.on_failure(SetupError(_STEP, why))
            return
        log.error("%s %d: %s", self._what, member.pid, why)

    def _alive(self, member: Member, message: Alive, descriptors: list[int]) -> None:
        member.answered(message, time.monotonic())
        member.send_waiting()
        if all(
            member.applied.get(topic, 0) == desired.generation
            for topic, desired in self._desired.items()
            if desired.binding
        ):
            member.behind = None


def printable(text: str) -> str:
    """Return *text* of a process without what a terminal or a log would take for a command."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _give_up(error: SetupError) -> None:
    raise error


def next_pause(before: float, lived: float) -> float:
    """Seconds until one that *lived* so long is replaced; the pause *before* its life was this."""
    if lived >= LONGEST_PAUSE:
        return SHORTEST_PAUSE
    return min(2 * before, LONGEST_PAUSE) or SHORTEST_PAUSE


def how_it_ended(status: int) -> str:
    """Return a wait status of waitpid(2) in words: the exit code, or the signal that killed it."""
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
