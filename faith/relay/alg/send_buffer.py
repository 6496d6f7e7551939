"""A buffer of octets to be sent on a socket, with urgent octets at their places."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import _socket

    State = list[tuple[str, int]]
    """The unsent pieces of an outbox, each as text (Latin-1) and flags of send(2)."""

_MSG_OOB = 1


class Outbox:
    """Octets for *sock*, in their order; false when there are none."""

    def __init__(self, sock: _socket.socket) -> None:
        self._sock = sock
        self._waiting: deque[tuple[bytes, int]] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, data: bytes, *, urgent: bool = False) -> None:
        """Append *data*, of which the last octet may be *urgent*."""
        ordinary = data[:-1] if urgent else data
        if ordinary and self._waiting and not self._waiting[-1][1]:
            # A packet for many lines, not one for each.
            self._waiting[-1] = self._waiting[-1][0] + ordinary, 0
        elif ordinary:
            self._waiting.append((ordinary, 0))
        if urgent:
            self._waiting.append((data[-1:], _MSG_OOB))

    def clear(self) -> None:
        """Forget what waits: nobody is there to take it."""
        self._waiting.clear()

    def state(self) -> State:
        """Return the unsent pieces for :meth:`restore` of another outbox, fit for JSON."""
        return [(data.decode("latin-1"), flags) for data, flags in self._waiting]

    def restore(self, state: State) -> None:
        """Have waiting what waited in the one whose :meth:`state` it is."""
        self._waiting = deque((data.encode("latin-1"), flags) for data, flags in state)

    def flush(self) -> int:
        """Send what the socket takes; returns how much it was.  Raises OSError if it is nothing."""
        total = 0
        while self._waiting:
            data, flags = self._waiting[0]
            try:
                sent = self._sock.send(data, flags)
            except BlockingIOError:
                break
            except OSError:
                if not total:
                    raise
                break  # it will be raised when nothing has been sent
            total += sent
            if sent < len(data):
                self._waiting[0] = data[sent:], flags
            else:
                self._waiting.popleft()
        return total
