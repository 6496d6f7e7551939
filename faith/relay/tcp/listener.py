"""Accepting in bounded batches, and shedding what there are no descriptors for."""

from __future__ import annotations

import _socket
import os
from typing import TYPE_CHECKING

from faith.kernel.sockets.tcp_sockets import NO_RESOURCES, reset

if TYPE_CHECKING:
    from collections.abc import Callable

    Peer = tuple[str, int, int, int] | tuple[str, int]
    """A peer as accept(2) names it: address and port; of IPv6 also flow label and scope."""

BATCH = 16
"""Connections accepted in one wake-up before established ones have their turn."""


class Reserve:
    """One descriptor kept back, so that a connection there is no room for can be told so.

    Without it a full process could not even accept to refuse: clients would hang in the backlog.
    """

    def __init__(self) -> None:
        self._fd: int | None = None
        self._refill()

    def shed(self, listener: _socket.socket) -> bool:
        """Accept one connection of *listener* and reset it; False when even that fails."""
        if self._fd is None:
            self._refill()
        if self._fd is None:
            return False
        os.close(self._fd)
        self._fd = None
        try:
            _reset_one(listener)
        except OSError:
            return False
        finally:
            self._refill()
        return True

    def _refill(self) -> None:
        try:
            self._fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = None

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _reset_one(listener: _socket.socket) -> None:
    fd, _ = listener._accept()  # type: ignore[attr-defined]
    reset(_socket.socket(fileno=fd))


class Listener:
    """A handler for the plane: accepts from *sock* and passes each descriptor and peer on.

    *exhausted* is told when a connection was shed (True) or not even that was possible (False).
    """

    def __init__(
        self,
        sock: _socket.socket,
        accepted: Callable[[int, Peer], None],
        exhausted: Callable[[Listener, bool], None],
        reserve: Reserve,
    ) -> None:
        self.sock = sock
        # accept() would wrap the descriptor in a second object; typeshed does not know _accept().
        self._accept = sock._accept  # type: ignore[attr-defined]
        self._accepted = accepted
        # Asking in vain is dear: the batch follows what there was to accept before.
        self._batch = 1
        self._exhausted = exhausted
        self._reserve = reserve

    def __call__(self, mask: int) -> None:
        """Accept what is waiting, up to a batch; the rest makes the listener readable again."""
        for _ in range(self._batch):
            try:
                fd, peer = self._accept()
            except BlockingIOError:
                self._batch = self._batch // 2 or 1
                return
            except OSError as error:
                # Anything else is an error of that one connection (accept(2)): go on.
                if error.errno in NO_RESOURCES:
                    self._exhausted(self, self._reserve.shed(self.sock))
                    return
                continue
            self._accepted(fd, peer)
        self._batch = min(2 * self._batch, BATCH)


def adopt(fd: int, family: int = _socket.AF_INET6) -> _socket.socket:
    """The socket of a connection that a listener of *family* accepted; it does not block."""
    client = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK, 0, fd)
    client.setblocking(False)
    return client
