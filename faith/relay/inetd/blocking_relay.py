"""The two sockets of one connection, relayed by a process that has nothing else to do.

Inetd mode's counterpart of the plane: poll(2) instead of an event loop, one read at a time, and
the same rules of what each side gets to see.
"""

from __future__ import annotations

import errno
import os
import select
import time

from faith.kernel.sockets.tcp_sockets import LONGEST, QUIET, at_mark, unacknowledged
from faith.relay.tcp.pipes import PIPE_SIZE, PipePool
from faith.relay.tcp.record import broken
from faith.translation.reasons import CLOSED, IDLE, IDLE_HALF_CLOSED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from faith.relay.tcp.pipes import Pipe

CHUNK = 65536
"""Bytes asked of one recv; a read this long turns the direction to splice."""
SMALL = 4096
"""A splice shorter than this turns it back."""
INTERVAL = 0.005
"""Seconds between looks at what is left, while a reset waits."""

_READABLE = select.POLLIN | select.POLLPRI
_SPLICE = 3  # SPLICE_F_MOVE | SPLICE_F_NONBLOCK
_MSG_OOB = 1
_SHUT_WR = 1
_SOL_SOCKET, _SO_ERROR = 1, 4


class Leg:
    """One non-blocking socket with SO_OOBINLINE, and the direction that starts at it."""

    __slots__ = (
        "_at_mark",
        "_held",
        "_pipe",
        "_piped",
        "_size",
        "done",
        "eof",
        "error",
        "fd",
        "hung_up",
        "moved",
        "name",
        "sock",
    )

    def __init__(self, name: str, sock: _socket.socket) -> None:
        self.name = name
        self.sock = sock
        self.fd = sock.fileno()
        self.eof = False  # all that had arrived was read: a FIN or a failure is behind it
        self.error = 0  # errno of the socket, which has failed; what arrived before is still read
        self.done = False  # and was passed on
        self.hung_up = False  # both FINs have passed here: poll(2) would say so without end
        self.moved = 0  # bytes from here that the peer's socket took
        self._size = 0  # of the last read
        self._held = b""  # read here, not yet taken by the peer
        self._at_mark = False  # and it is one byte, to be sent urgent
        self._pipe: Pipe | None = None
        self._piped = 0  # bytes in it

    @property
    def pending(self) -> bool:
        """Return whether the peer has yet to take octets that were read here."""
        return bool(self._held or self._piped)

    def fail(self, error: int) -> None:
        """Note that the socket has failed with that errno; once more, nothing can be read."""
        self.eof = self.eof or bool(self.error)
        self.error = self.error or error

    def drop(self, pipes: PipePool) -> None:
        """Drop what was read here: the peer has failed."""
        self._held = b""
        if self._pipe and self._piped:
            pipes.discard(self._pipe)
            self._pipe, self._piped = None, 0

    def read(self, pipes: PipePool) -> None:
        """Read once: the urgent byte alone, or what is before it."""
        try:
            self._at_mark = at_mark(self.fd)
            if self._at_mark or self._size < CHUNK or not self._splice(pipes):
                self._held = self.sock.recv(1 if self._at_mark else CHUNK)
                self._size = len(self._held)
                self.eof = not self._held
        except BlockingIOError:
            self._size = 0
            self.eof = bool(self.error)

    def _splice(self, pipes: PipePool) -> bool:
        """Read into the pipe; False when recv has to be asked instead."""
        self._pipe = self._pipe or pipes.take()
        if self._pipe is None:
            return False
        self._piped = os.splice(self.fd, self._pipe[1], PIPE_SIZE, flags=_SPLICE)
        if self._piped < SMALL:
            self._size = 0
        return self._piped > 0  # 0 is the end, or an urgent byte with the end behind it

    def deliver(self, peer: Leg) -> None:
        """Give *peer* what was read, as much as it has room for, and then the FIN."""
        try:
            while self._held:
                sent = peer.sock.send(self._held, _MSG_OOB if self._at_mark else 0)
                self.moved += sent
                self._held = self._held[sent:]
            while self._piped:
                assert self._pipe is not None
                sent = os.splice(self._pipe[0], peer.fd, self._piped, flags=_SPLICE)
                self.moved += sent
                self._piped -= sent
        except BlockingIOError:
            return
        if self.eof and not self.done:
            if self.error in (0, errno.EPIPE):  # EPIPE: a FIN came before the reset
                peer.sock.shutdown(_SHUT_WR)
            self.done = True


class Pair:
    """Client and server; both sockets are non-blocking and keep urgent data inline.

    *idle* and *half_closed* are the seconds in which something must move; 0 for no limit.
    """

    def __init__(
        self, client: _socket.socket, server: _socket.socket, idle: float, half_closed: float
    ) -> None:
        self.client = Leg("client", client)
        self.server = Leg("server", server)
        self._directions = (self.client, self.server), (self.server, self.client)
        self._limits = idle, half_closed
        self._pipes = PipePool(len(self._directions))
        self._failure: str | None = None  # the end for the record, once a side has failed
        self._progress = 0
        self._quiet_since = time.monotonic()

    def fail(self, error: int) -> None:
        """Note that the server, once connected, has failed with that errno."""
        self._fail(self.server, self.client, error)

    def run(self) -> str:
        """Relay until both sides have said FIN, or one fails; returns the end for the record.

        After a failure the other side has what arrived before it, and has acknowledged it: its
        socket may be reset.
        """
        while not self._is_over():
            ready = self._wait()
            if not ready:
                idle = IDLE_HALF_CLOSED if self._half_closed else IDLE
                return self._failure or idle
            for leg, peer in self._directions:
                self._receive(leg, peer, ready.get(leg.fd, 0))
                self._deliver(leg, peer)
        for leg, peer in self._directions:
            if leg.error and not peer.error:
                _await_acknowledgement(peer.fd)
        return self._failure or CLOSED

    def _is_over(self) -> bool:
        client, server = self.client, self.server
        if client.error and server.error:
            return True
        failed = client if client.error else server
        return failed.done if self._failure else client.done and server.done

    @property
    def _half_closed(self) -> bool:
        return self.client.done or self.server.done

    def _receive(self, leg: Leg, peer: Leg, events: int) -> None:
        try:
            if events & (select.POLLERR | select.POLLHUP):
                leg.hung_up = True
                error = leg.sock.getsockopt(_SOL_SOCKET, _SO_ERROR)
                if error:
                    self._fail(leg, peer, error)
            if events & _READABLE:
                leg.read(self._pipes)
        except OSError as error:
            self._fail(leg, peer, error.errno or errno.EIO)

    def _deliver(self, leg: Leg, peer: Leg) -> None:
        try:
            if not peer.error:
                leg.deliver(peer)
        except OSError as error:
            self._fail(peer, leg, error.errno or errno.EIO)

    def _fail(self, leg: Leg, peer: Leg, error: int) -> None:
        self._failure = self._failure or broken(leg.name, error)
        leg.fail(error)
        peer.drop(self._pipes)

    def _wait(self) -> dict[int, int]:
        """The events of each descriptor; none when the limit has passed.

        A leg is read only when its peer has taken what was read before: that is back-pressure.
        """
        poll = select.poll()
        for leg, peer in self._directions:
            events = 0 if leg.eof or leg.pending or peer.error else _READABLE
            if peer.pending:
                events |= select.POLLOUT
            if events or not leg.hung_up:
                poll.register(leg.fd, events)
        left = self._time_left()
        if left is None:
            return dict(poll.poll())
        return dict(poll.poll(max(0.0, left) * 1000))

    def _time_left(self) -> float | None:
        now = time.monotonic()
        progress = sum(leg.moved + leg.done for leg, _ in self._directions)
        if progress != self._progress:
            self._progress = progress
            self._quiet_since = now
        limit = QUIET if self._failure else self._limits[self._half_closed]
        return self._quiet_since + limit - now if limit else None


def _await_acknowledgement(fd: int) -> None:
    """Wait until the peer of *fd* has acknowledged all: a reset would take back the rest."""
    quiet = lasted = 0.0
    left = unacknowledged(fd)
    while left and quiet < QUIET and lasted < LONGEST:
        time.sleep(INTERVAL)
        lasted += INTERVAL
        before, left = left, unacknowledged(fd)
        quiet = quiet + INTERVAL if left == before else 0.0
