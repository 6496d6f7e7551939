"""One leg of an FTP control connection: what its peer says, and what waits to be sent there."""

from __future__ import annotations

import _socket
import errno
import fcntl
import sys
from typing import TYPE_CHECKING

from faith.relay.outbox import Outbox
from faith.relay.record import broken

if TYPE_CHECKING:
    from typing import Any

    from faith.relay.leg import Leg

CHUNK = 4096
"""Octets of a read: commands and replies are short."""

_SIOCATMARK, _SIOCOUTQ = 0x8905, 0x5411
_SHUT_WR = _socket.SHUT_WR


class Side:
    """Reads and writes one leg.

    What its peer said before a reset is read before the reset counts: one that is *lost* was found
    reset, perhaps by a write, and has more to say until it is *over*.
    """

    def __init__(self, name: str, leg: Leg) -> None:
        self.name = name
        self.leg = leg
        self.interest = 0
        self.lost = False
        self.broken = ""  # how the session ends, once it was read to a reset
        self.outbox = Outbox(leg.sock)
        self._error = 0  # of a write: the kernel tells it once

    @property
    def over(self) -> bool:
        """Whether everything that the peer said has been read."""
        return self.leg.eof or bool(self.broken)

    def put(self, data: bytes, *, urgent: bool = False) -> None:
        """Have *data* sent, of which the last octet may be *urgent*; nothing is to one lost."""
        if not self.lost:
            self.outbox.put(data, urgent=urgent)

    def flush(self) -> int:
        """Send what the peer takes; returns how many octets it took."""
        try:
            return self.outbox.flush()
        except OSError as error:
            self._lose(error.errno)
            return 0

    def shut_down(self) -> None:
        """Send a FIN."""
        try:
            self.leg.sock.shutdown(_SHUT_WR)
        except OSError as error:
            self._lose(error.errno)

    def lose(self) -> None:
        """The peer is not there any more, as the kernel says; what it said still is."""
        self.lost = True
        self.outbox.clear()
        if self.leg.eof:
            self._break()

    def _lose(self, error: int | None) -> None:
        self._error = error or 0
        self.lose()

    def _break(self) -> None:
        self.broken = self.loss

    @property
    def loss(self) -> str:
        """How a session ends of which this peer is lost."""
        error = self._error or self.leg.sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        return self.broken or broken(self.name, error or errno.ECONNRESET)

    @property
    def unacknowledged(self) -> int:
        """The octets that the peer has yet to acknowledge, while it is there."""
        if self.leg.sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR):
            return 0
        return int.from_bytes(fcntl.ioctl(self.leg.fd, _SIOCOUTQ, bytes(4)), sys.byteorder)

    def read(self) -> tuple[bytes, bool] | None:
        """Read once: octets, and whether the last is urgent; none at the end, None before more.

        At the end the leg has its `eof`, or else this is `broken`.
        """
        # recv stops in front of an urgent octet, and then this is where it is.
        urgent = fcntl.ioctl(self.leg.fd, _SIOCATMARK, bytes(4)) != bytes(4)
        try:
            data = self.leg.sock.recv(1 if urgent else CHUNK)
        except BlockingIOError:
            return None
        except OSError as error:
            self._lose(error.errno)
            data = b""
        if not data and self.lost:
            self._break()
        elif not data:
            self.leg.eof = True
        return data, urgent

    # -- in another process ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` makes another one like this from, fit for JSON."""
        return {"lost": self.lost, "broken": self.broken, "error": self._error}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on, just made, where the one stopped whose :meth:`state` it is."""
        self.lost, self.broken, self._error = state["lost"], state["broken"], state["error"]
