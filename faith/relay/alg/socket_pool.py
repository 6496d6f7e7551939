"""Transparent sockets, which only the privileged can make: a few kept in stock."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    Use = Callable[[_socket.socket | None], None]

SIZE = 8
"""Sockets in stock, so that a client seldom waits for one."""

MOST_ASKED = 32
"""Sockets on their way: as many messages fit into what the kernel queues."""


class SocketPool:
    """Sockets of kernel.sockets.transparent, from who may make them.

    *ask* is called with a number, and `add` is to be called as often, sooner or later.
    """

    def __init__(self, ask: Callable[[int], None]) -> None:
        self._ask = ask
        self._sockets: deque[_socket.socket] = deque()
        self._waiting: deque[Use] = deque()
        self._asked = 0
        self._closed = False

    def fill(self) -> None:
        """Ask for what is missing, when it is worth it."""
        missing = SIZE + len(self._waiting) - len(self._sockets) - self._asked
        missing = min(missing, MOST_ASKED - self._asked)
        if missing >= SIZE // 2 and not self._closed:
            self._asked += missing
            self._ask(missing)

    def take(self, use: Use) -> None:
        """Call *use* with a socket, which it then owns, as soon as there is one.

        It gets None when there will be none.
        """
        if self._closed:
            use(None)
            return
        self._waiting.append(use)
        self._serve()
        self.fill()

    def add(self, sock: _socket.socket | None) -> None:
        """One more; or None for one that could not be made."""
        self._asked -= 1
        if self._closed:
            if sock is not None:
                sock.close()
            return
        if sock is not None:
            self._sockets.append(sock)
            self._serve()
        elif self._waiting:
            self._waiting.popleft()(None)
        if self._waiting:
            self.fill()

    def close(self) -> None:
        """Close what is left; who waits gets None."""
        self._closed = True
        while self._sockets:
            self._sockets.popleft().close()
        while self._waiting:
            self._waiting.popleft()(None)

    def _serve(self) -> None:
        while self._sockets and self._waiting:
            self._waiting.popleft()(self._sockets.popleft())
