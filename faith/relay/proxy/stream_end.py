"""One peer's connection to a proxy: what it says, and what waits to be sent to it."""

from __future__ import annotations

import _socket
import errno
from typing import TYPE_CHECKING

from faith.relay.tcp.plane import IN, OUT
from faith.relay.tcp.record import broken
from faith.translation.reasons import CLOSED

if TYPE_CHECKING:
    from typing import Any

    from faith.relay.tcp.plane import Plane

CHUNK = 65536
"""Octets of a read."""


class StreamEnd:
    """Reads and writes *sock*; *name* is "client" or "server".

    A peer whose socket has failed has an *error*, and is *at_end* once nothing more is to be read.
    """

    def __init__(self, name: str, sock: _socket.socket) -> None:
        self.name = name
        self.sock = sock
        self.fd = sock.fileno()
        self.interest = 0
        """The events that the plane waits for."""
        self.is_early = False
        """There was an event, and the peer was not to be read."""
        self.waiting = bytearray()
        """Octets that the peer has not taken yet."""
        self.at_end = False
        self.error = 0

    def state(self) -> dict[str, Any]:
        """Return the state for `restore`, fit for JSON."""
        waiting = self.waiting.decode("latin-1")
        return {"waiting": waiting, "at_end": self.at_end, "error": self.error}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on, just made, where the one stopped whose `state` it is."""
        self.waiting += state["waiting"].encode("latin-1")
        self.at_end, self.error = state["at_end"], state["error"]

    @property
    def end(self) -> str:
        """Return the end of a session that ended with this peer, as records give it."""
        return broken(self.name, self.error) if self.error else CLOSED

    def read(self) -> bytes | None:
        """Return what has arrived; nothing at the end, None if there is nothing yet."""
        try:
            data = self.sock.recv(CHUNK)
        except BlockingIOError:
            return None
        except OSError as error:
            self.fail(error)
            data = b""
        self.at_end = not data
        return data

    def put(self, data: bytes) -> None:
        """Have *data* sent, unless the peer is lost."""
        if not self.error:
            self.waiting += data

    def flush(self) -> int:
        """Send what the peer takes; returns how many octets that was."""
        total = 0
        while self.waiting:
            try:
                sent = self.sock.send(self.waiting)
            except BlockingIOError:
                break
            except OSError as error:
                self.fail(error)
                break
            total += sent
            del self.waiting[:sent]
        return total

    def shut_down(self) -> None:
        """Send a FIN."""
        try:
            self.sock.shutdown(_socket.SHUT_WR)
        except OSError as error:
            self.fail(error)

    def wait_for(self, plane: Plane, interest: int) -> None:
        """Have *plane* wait for *interest*, which without IN and OUT is for an end alone.

        A peer that is not to be read says nothing, mostly: only when it does is the kernel told.
        """
        early, self.is_early = self.is_early, False
        if interest == self.interest:
            return
        if self.interest == IN and not (interest & (IN | OUT) or early):
            return
        self.interest = interest
        plane.rewatch(self.fd, interest)

    def look(self) -> None:
        """See whether the socket has failed; epoll(7) says so."""
        error = self.sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if error:
            self.fail(OSError(error, ""))

    def fail(self, error: OSError) -> None:
        """Note that the socket has failed; what waits is for nobody."""
        self.error = self.error or error.errno or errno.EIO
        self.waiting.clear()
