"""One leg of an FTP control connection: what its peer says, and what waits to be sent there."""

from __future__ import annotations

import _socket
import errno
from typing import TYPE_CHECKING

from faith.kernel.sockets.tcp_sockets import at_mark
from faith.relay.alg.send_buffer import Outbox
from faith.relay.tcp.record import broken

if TYPE_CHECKING:
    from faith.relay.tcp.session import Leg

CHUNK = 4096
"""Octets of a read: commands and replies are short."""

_SHUT_WR = _socket.SHUT_WR


class Side:
    """Reads and writes one leg.

    A leg that fails, perhaps at a write, is *lost*; what its peer said before is read nevertheless,
    and when there is no more the leg has its `eof`.
    """

    def __init__(self, name: str, leg: Leg) -> None:
        self.name = name
        self.leg = leg
        self.interest = 0
        self.outbox = Outbox(leg.sock)

    @property
    def lost(self) -> bool:
        """Return whether the peer is lost: its leg has failed."""
        return self.leg.error != 0

    @property
    def loss(self) -> str:
        """Return the end, as records give it, of a session that lost this peer."""
        return broken(self.name, self.leg.error)

    def put(self, data: bytes, *, urgent: bool = False) -> None:
        """Have *data* sent, of which the last octet may be *urgent*.

        Nothing is sent to a peer that is lost, or behind a FIN: the ALG may have a refusal for
        somebody who ended long ago.
        """
        if not self.lost and not self.leg.peer.done:
            self.outbox.put(data, urgent=urgent)

    def flush(self) -> int:
        """Send what the peer takes; returns how many octets it took."""
        try:
            return self.outbox.flush()
        except OSError as error:
            self._fail(error)
            return 0

    def shut_down(self) -> None:
        """Send a FIN."""
        try:
            self.leg.sock.shutdown(_SHUT_WR)
        except OSError as error:
            self._fail(error)

    def look(self) -> None:
        """See whether the leg has failed; epoll(7) says so."""
        error = self.leg.sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if error:
            self._fail(OSError(error, ""))

    def _fail(self, error: OSError) -> None:
        self.leg.error = self.leg.error or error.errno or errno.EIO
        self.outbox.clear()

    def read(self) -> tuple[bytes, bool] | None:
        """Read once: octets, and whether the last is urgent; none at the end, None before more."""
        # recv stops in front of an urgent octet, and then this is where it is.
        urgent = at_mark(self.leg.fd)
        try:
            data = self.leg.sock.recv(1 if urgent else CHUNK)
        except BlockingIOError:
            return None
        except OSError as error:
            self._fail(error)
            data = b""
        self.leg.eof = not data
        return data, urgent
