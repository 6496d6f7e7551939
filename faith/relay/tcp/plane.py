"""The plane: the engine that moves bytes between the two legs of every session.

One edge-triggered epoll set, its descriptor the only reader the event loop knows; a list indexed
by descriptor; no task, future or transport for a session.  Small data is read and written at once,
by os.read and os.write, which cost less than a socket's methods; a full read turns a direction to
bulk, which is spliced through a pooled pipe until reads get short.

The module is long, and stays one: what is watched and how one direction is pumped could be two, but
then every event of every session would go through one more attribute or call.
"""

from __future__ import annotations

import errno
import logging
import os
import random
import select
from operator import length_hint
from typing import TYPE_CHECKING

from faith.kernel.sockets.tcp_sockets import at_mark, unread
from faith.relay.tcp.pipes import PIPE_SIZE, PipePool
from faith.relay.tcp.record import broken
from faith.relay.tcp.resets import Resets
from faith.relay.tcp.session import Leg
from faith.translation.reasons import CLOSED, DEFECT, OUT_OF_MEMORY

if TYPE_CHECKING:
    import _socket
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterator

    from faith.relay.tcp.session import Session

    Handler = Callable[[int], object]

log = logging.getLogger("faith.relay")

IN, PRI, OUT, ERR = select.EPOLLIN, select.EPOLLPRI, select.EPOLLOUT, select.EPOLLERR
HUP, RDHUP = select.EPOLLHUP, select.EPOLLRDHUP
READING = IN | PRI | RDHUP | select.EPOLLET
READING_AND_WRITING = READING | OUT
ENDING = ERR | HUP | RDHUP
"""With any of these, all that will ever arrive has arrived."""
SPECIAL = PRI | ENDING
"""With any of these a short read does not mean that the socket is drained."""

CHUNK = 65536
"""Bytes asked of one read; a read this long turns the direction to bulk."""
SMALL = 4096
"""A splice shorter than this turns the direction back."""
TURNS = 16
"""Reads a direction may make in one wake-up before the others have their turn."""
ROUNDS = 4
"""Times the kernel is asked in a turn, while it has something: cheaper than a turn of the loop."""
EVENTS = 512
"""Events taken from the kernel at once."""
SAMPLE = 1024
"""Entries of the table among which some sessions are found."""

_SPLICE = 3  # SPLICE_F_MOVE | SPLICE_F_NONBLOCK
_MSG_OOB, _MSG_MORE = 1, 0x8000
_SHUT_WR = 1
_SOL_SOCKET, _SO_ERROR, _SO_LINGER = 1, 4, 13
_AF_UNIX = 1
_RESET = b"\1\0\0\0\0\0\0\0"  # struct linger: on, 0 s: close() sends RST


class Plane:
    """Moves the bytes of all sessions of one worker.

    *dialled* is called with a leg and its events when its connect(2) has ended; *ended* with
    each session whose sockets have just been closed.  Neither may raise.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        dialled: Callable[[Leg, int], None],
        ended: Callable[[Session], None],
    ) -> None:
        self._loop = loop
        self._dialled = dialled
        self._ended = ended
        self._epoll = select.epoll()
        self._table: list[Leg | Handler | None] = []
        self._pipes = PipePool()
        self._deferred: dict[int, int] = {}
        self._drained: list[Leg] = []
        self._dead: list[Session] = []
        self._resets = Resets(loop, self._reset)
        self._again = False  # a turn is scheduled
        self._turning = False  # we are in one
        loop.add_reader(self._epoll.fileno(), self._wake)

    # -- what is watched ---------------------------------------------------------------------

    def watch(self, fd: int, handler: Handler, events: int = IN) -> None:
        """Call *handler*, and no other any more, with the events of *fd*, in the same turn as the
        sessions'.
        """
        self._put(fd, handler, events)

    def rewatch(self, fd: int, events: int) -> None:
        """Wait for other *events* of *fd*."""
        self._epoll.modify(fd, events)

    def retire(self, sock: _socket.socket, *, reset: bool = False) -> None:
        """Stop watching *sock*, and close it once no event at hand can meet its descriptor.

        Its peer gets a RST if *reset*, else a FIN.
        """
        self.unwatch(sock.fileno())
        if reset:
            sock.setsockopt(_SOL_SOCKET, _SO_LINGER, _RESET)
        if self._turning:
            self._loop.call_soon(sock.close)
        else:
            sock.close()

    def unwatch(self, fd: int) -> None:
        """Stop watching *fd*; a no-op when it is not watched."""
        if fd < len(self._table) and self._table[fd] is not None:
            self._table[fd] = None
            self._epoll.unregister(fd)

    def dial(self, leg: Leg) -> None:
        """Watch a leg whose connect(2) is under way; *dialled* hears how it ended."""
        leg.watched = True
        self._put(leg.fd, leg, READING_AND_WRITING)

    def start(
        self, dialled: Leg, events: int = 0, *, early: bytes = b"", late: bytes = b""
    ) -> None:
        """Let the bytes flow; *events* are those that *dialled* had when it connected.

        If it has failed since (`Leg.error`), what it sent before is passed on, and then a reset.
        *early* is sent to *dialled* before anything else, and *late* to its peer: others have read
        it, or made it.
        """
        other = dialled.peer
        dialled.up = other.up = dialled.quick = other.quick = True
        self._put(other.fd, other, READING)
        if dialled.error:
            self.fail(dialled, dialled.error)
        elif events & (IN | SPECIAL):
            self._note(dialled, events)
            self._pump(dialled, readable=True)
        for leg, held in (other, early), (dialled, late):
            if held and dialled.session.end is None:
                leg.held = held
                leg.quick = False
                self._pump(leg)

    def fail(self, leg: Leg, error: int) -> None:
        """Have the session of *leg*, whose socket has failed with that errno, end by a reset.

        First the peer gets what arrived before the failure, and has acknowledged it.  What was for
        *leg* is dropped.
        """
        session, peer = leg.session, leg.peer
        if session.end is not None:
            return
        if peer.error:
            self._reset(session)
            return
        leg.error = leg.error or error
        leg.ending = True
        leg.urgent = True  # perhaps: the event that would tell of a mark may be still to come
        leg.quick = peer.quick = False
        peer.held = None
        self._release(peer)
        self._pump(leg, readable=True)
        if session.end is None:
            self._resets.add(session, leg)

    def end(self, session: Session, how: str, *, reset: bool) -> None:
        """End *session* with RSTs or FINs, after the events at hand have been handled."""
        if session.end is not None:
            return
        self._resets.discard(session)
        session.end = how
        session.reset = reset
        table = self._table
        for leg in (session.client, session.server):
            if leg.fd < len(table) and table[leg.fd] is leg:
                table[leg.fd] = None
                self._deferred.pop(leg.fd, None)  # another socket may be the next to have it
        self._dead.append(session)
        if not self._turning:
            self._soon()

    def hand_over(self, session: Session) -> None:
        """Let go of *session* as it is; with its descriptors, another plane can `adopt` it."""
        self._resets.discard(session)
        for leg in (session.client, session.server):
            self._deferred.pop(leg.fd, None)
            # Closing would not be enough: the set goes by what the other process has open, too.
            self.unwatch(leg.fd)
            if leg.piped and leg.pipe:
                self._pipes.hand_over(leg.pipe)
            else:
                self._release(leg)

    def adopt(self, session: Session) -> None:
        """Go on with *session*, which another plane let go of.

        Whatever was ready there is ready here: the kernel tells it anew of what is registered.
        """
        for leg in (session.client, session.server):
            if leg.pipe is not None:
                self._pipes.adopt(leg.pipe)
            if leg.up or leg.watched:
                self._put(leg.fd, leg, READING_AND_WRITING if leg.watched else READING)
        for leg in (session.client, session.server):
            if leg.up:  # what was read there and has yet to be passed on, the kernel does not know
                self._defer(leg)
                self._soon()
            if leg.error:
                self._resets.add(session, leg)

    def sessions(self) -> list[Session]:
        """The sessions whose bytes may flow."""
        return [
            leg.session
            for leg in self._table
            if isinstance(leg, Leg) and leg.up and leg is leg.session.client
        ]

    def sample(self) -> list[Session]:
        """Return the sessions of some legs, chosen at random."""
        some = random.choices(self._table, k=SAMPLE)
        return [leg.session for leg in some if isinstance(leg, Leg)]

    @property
    def pipes(self) -> PipePool:
        """Return the pool of the pipes that sessions and others may have."""
        return self._pipes

    def rest(self) -> None:
        """Give back what is kept for the next session: there is none now."""
        self._pipes.close()

    def close(self) -> None:
        """Stop.  Sessions are to have been ended before."""
        self._bury()
        self._resets.close()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._pipes.close()

    def _put(self, fd: int, entry: Leg | Handler, events: int) -> None:
        """Have *entry* be told the *events* of *fd*, those at hand included."""
        table = self._table
        if fd >= len(table):
            table.extend([None] * (fd + 1))
        watch = self._epoll.register if table[fd] is None else self._epoll.modify
        table[fd] = entry
        watch(fd, events)

    # -- a turn ------------------------------------------------------------------------------

    def _wake(self) -> None:
        self._again = False
        self._turning = True
        try:
            self._turn()
        except MemoryError:  # were it raised, the event loop would wait for the plane no more
            self._soon()
        self._turning = False
        if self._deferred:
            self._soon()

    def _turn(self) -> None:
        for _ in range(ROUNDS):
            events = list(self._deferred.items())
            self._deferred.clear()
            events += self._epoll.poll(0, EVENTS)
            self._handle(events)
            if self._dead:
                self._bury()
            if not events:
                break

    def _soon(self) -> None:
        if not self._again:
            self._again = True
            self._loop.call_soon(self._wake)

    def _handle(self, events: list[tuple[int, int]]) -> None:
        # A defect met in one session must not cost the others their events: an edge comes once.
        rest = iter(events)
        while True:
            try:
                self._handle_each(rest)
            except MemoryError:  # there may be none to tell it either
                self._cut(events[len(events) - length_hint(rest) - 1][0], OUT_OF_MEMORY)
            except Exception:
                log.exception("a defect in the relay; the session that met it is cut")
                self._cut(events[len(events) - length_hint(rest) - 1][0], DEFECT)
            else:
                break
        if self._drained:
            self._turn_quick()

    def _turn_quick(self) -> None:
        # Only now: an event of this turn may be from before the leg was drained, and a quick read
        # of a socket that was empty passes over the mark of an urgent octet that has just come.
        for leg in self._drained:
            if (
                self._table[leg.fd] is leg
                and leg.held is None
                and not (leg.piped or leg.ending or leg.peer.error)
            ):
                leg.quick = leg.fd not in self._deferred
        self._drained.clear()

    def _cut(self, fd: int, why: str) -> None:
        leg = self._table[fd]
        if isinstance(leg, Leg):
            self.end(leg.session, why, reset=True)

    def _handle_each(self, events: Iterator[tuple[int, int]]) -> None:  # noqa: PLR0915
        table, read, write = self._table, os.read, os.write
        for fd, mask in events:
            leg = table[fd]
            if not isinstance(leg, Leg):
                if leg is not None:
                    leg(mask)
                continue
            if not leg.quick or mask & SPECIAL:
                self._slow(leg, mask)
                continue
            # The path of nearly every byte of nearly every session: kept in one place, unfactored.
            if mask & IN:
                try:
                    data = read(leg.fd, CHUNK)
                except BlockingIOError:
                    continue
                except OSError as error:
                    self.fail(leg, error.errno or errno.EIO)
                    continue
                size = len(data)
                if not size:
                    leg.eof = True
                    self._pump(leg)
                    continue
                peer = leg.peer
                try:
                    sent = write(peer.fd, data)
                except BlockingIOError:
                    sent = 0
                except OSError as error:
                    self.fail(peer, error.errno or errno.EIO)
                    continue
                leg.moved += sent
                if sent < size:
                    leg.held = memoryview(data)[sent:]
                    leg.quick = False
                    self._pump(leg)
                elif size == CHUNK:
                    leg.size = size
                    leg.quick = False
                    self._pump(leg, readable=True)
            if mask & OUT and not leg.peer.quick:
                self._pump(leg.peer)

    def _slow(self, leg: Leg, mask: int) -> None:
        if not leg.up:
            self._dialled(leg, mask)
            return
        self._note(leg, mask)
        if mask & ERR and not leg.error:
            error = leg.sock.getsockopt(_SOL_SOCKET, _SO_ERROR)
            if error:
                self.fail(leg, error)
                return
        if mask & HUP and not leg.peer.done and leg.sock.family == _AF_UNIX:
            # Both directions are closed, and not by us: a UNIX socket has no other reset.
            self.fail(leg, errno.ECONNRESET)
            return
        if mask & (IN | SPECIAL):
            self._pump(leg, readable=True)
        if mask & OUT and not leg.peer.quick:
            self._pump(leg.peer)

    def _note(self, leg: Leg, mask: int) -> None:
        if mask & ENDING:
            leg.ending = True
        if mask & PRI:
            leg.urgent = True

    def _defer(self, leg: Leg) -> None:
        leg.quick = False
        self._deferred[leg.fd] = IN

    # -- one direction -----------------------------------------------------------------------

    def _pump(self, leg: Leg, *, readable: bool = False) -> None:
        """Move what *leg* has to its peer until drained, blocked, ended or out of turns.

        Unless it is *readable*, there is nothing to do but to go on with what was read before.
        """
        peer = leg.peer
        if leg.done or not leg.up or peer.error or leg.session.end is not None:
            return
        if not (readable or leg.eof or leg.piped) and leg.held is None:
            return
        side = leg
        try:
            for _ in range(TURNS):
                side = peer
                if (leg.held is not None or leg.piped) and not self._deliver(leg, peer):
                    self._await_room(leg, peer)
                    return
                if leg.eof:
                    self._pass_on_end(leg, peer)
                    return
                side = leg
                if not self._read(leg):
                    return
            self._defer(leg)
        except OSError as error:
            if side is leg:
                leg.eof = True  # nothing is left to be read before this failure
            self.fail(side, error.errno or errno.EIO)

    def _deliver(self, leg: Leg, peer: Leg) -> bool:
        """Give *peer* what was read; False when it has no room for all of it."""
        held = leg.held
        while held is not None:
            flags = _MSG_MORE if leg.eof and not leg.error else 0
            if leg.urgent_held and peer.sock.family != _AF_UNIX:
                flags = _MSG_OOB
            try:
                sent = peer.sock.send(held, flags)
            except BlockingIOError:
                return False
            leg.moved += sent
            held = leg.held = memoryview(held)[sent:] if sent < len(held) else None
        leg.urgent_held = False
        while leg.piped:
            assert leg.pipe is not None
            try:
                sent = os.splice(leg.pipe[0], peer.fd, leg.piped, flags=_SPLICE)
            except BlockingIOError:
                return False
            leg.moved += sent
            leg.piped -= sent
        return True

    def _await_room(self, leg: Leg, peer: Leg) -> None:
        leg.quick = False
        if not peer.watched:
            peer.watched = True
            self._epoll.modify(peer.fd, READING_AND_WRITING)

    def _read(self, leg: Leg) -> bool:
        """Read once; False when there is no more for now (the next edge will tell)."""
        if not leg.ending and not unread(leg.fd):
            # Not tried: an urgent octet that comes just now would be read without its mark.
            if leg.size < CHUNK:
                self._drained.append(leg)
            self._release(leg)
            return False
        if (leg.urgent or not leg.ending) and at_mark(leg.fd):
            return self._read_urgent(leg)
        if leg.size >= CHUNK and self._splice(leg):
            return leg.piped > 0
        if leg.pipe is not None:
            self._release(leg)
        try:
            data = os.read(leg.fd, CHUNK)
        except BlockingIOError:
            leg.ending = False
            leg.eof = bool(leg.error)
            return leg.eof
        leg.held = data or None
        leg.eof = not data
        leg.size = len(data)
        if data and leg.size < CHUNK and leg.ending and not leg.urgent:
            # Data and FIN came together: they leave together.
            leg.eof = self._only_end_left(leg)
        return True

    def _read_urgent(self, leg: Leg) -> bool:
        try:
            leg.held = leg.sock.recv(1)
        except BlockingIOError:  # the pointer came before the octet
            return False
        leg.urgent_held = True
        leg.urgent = False
        return True

    def _only_end_left(self, leg: Leg) -> bool:
        try:
            more = os.read(leg.fd, CHUNK)
        except BlockingIOError:
            return False
        if more:
            assert leg.held is not None
            leg.held = bytes(leg.held) + more
        return not more

    def _splice(self, leg: Leg) -> bool:
        """Fill the pipe from *leg*; False when it has to be read instead."""
        if leg.pipe is None:
            leg.pipe = self._pipes.take()
            if leg.pipe is None:
                return False
        try:
            leg.piped = os.splice(leg.fd, leg.pipe[1], PIPE_SIZE, flags=_SPLICE)
        except BlockingIOError:
            self._release(leg)
            return True
        if not leg.piped:
            # The end, or an urgent byte with the end behind it: only a read can tell.
            self._release(leg)
            leg.size = 0
            return False
        if leg.piped < SMALL:
            leg.size = 0
        return True

    def _release(self, leg: Leg) -> None:
        if leg.pipe is not None:
            if leg.piped:
                self._pipes.discard(leg.pipe)
            else:
                self._pipes.give(leg.pipe)
            leg.pipe = None
            leg.piped = 0

    def _pass_on_end(self, leg: Leg, peer: Leg) -> None:
        leg.done = True
        leg.quick = False
        self._release(leg)
        if leg.error:
            if leg.error == errno.EPIPE:  # a FIN came before the reset
                peer.sock.shutdown(_SHUT_WR)
        elif peer.done:
            self.end(leg.session, CLOSED, reset=False)
        else:
            peer.sock.shutdown(_SHUT_WR)

    # -- ends --------------------------------------------------------------------------------

    def _reset(self, session: Session) -> None:
        failed, who = (
            (session.client, "client") if session.client.error else (session.server, "server")
        )
        self.end(session, broken(who, failed.error), reset=True)

    def _bury(self) -> None:
        """Close what ended: only now, so that no event of this turn meets a reused descriptor."""
        while self._dead:
            session = self._dead.pop(0)  # first: should this one fail, the others are still here
            legs = session.client, session.server
            for leg in legs:
                if leg.pipe is not None:
                    self._release(leg)
                if session.reset:
                    leg.sock.setsockopt(_SOL_SOCKET, _SO_LINGER, _RESET)
            try:
                self._ended(session)
            finally:
                for leg in legs:
                    leg.sock.close()
                    del leg.peer, leg.session  # so that no garbage collector has to find them
