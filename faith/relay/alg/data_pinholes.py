"""The pinholes of one FTP control connection, through which its data connections come."""

from __future__ import annotations

import _socket
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from faith.ftp import OpenActive, OpenPassive
from faith.kernel.sockets.tcp_sockets import stream_socket
from faith.relay.tcp.pinhole import BACKLOG, Pinhole
from faith.relay.tcp.session_state import adopt
from faith.translation.directions import V4_TO_V6

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from faith.relay.alg.ftp_data import FtpData
    from faith.relay.tcp.session import Session

_LOWEST_PORT = 1024  # below, no pinhole may be opened


class _Expected(NamedTuple):
    """A data connection: the client if *passive*, else the server, comes *at* one port of ours.

    It is connected *to* that port of the other's.
    """

    pinhole: Pinhole
    passive: bool
    to: int
    at: int


class DataPinholes:
    """Opens and closes pinholes, by the numbers that the translator gives their listeners.

    For each that is to be opened, one of two is called, sooner or later: *opened* with the port
    where it is, *refused* with why there is none.  *stranger* is called with the host of somebody
    who came for nothing.
    """

    def __init__(
        self,
        data: FtpData,
        session: Session,
        opened: Callable[[int], None],
        refused: Callable[[str], None],
        stranger: Callable[[str], None],
    ) -> None:
        self._data = data
        self._session = session
        self._opened = opened
        self._refused = refused
        self._stranger = stranger
        self._direction = session.route.direction
        self.source: str = session.server.sock.getsockname()[0]
        """The address by which the server knows us."""
        self._expected: dict[int, _Expected] = {}

    def open(self, event: OpenPassive | OpenActive) -> None:
        """Let in who is to come next."""
        if isinstance(event, OpenPassive):
            # At the server's own port where that can be had: no other session with this server is
            # told that port meanwhile, not even an encrypted one, of whose ports we do not know.
            own = event.same_port or self._data.is_servers_own(self._session, event.port)
            pool = self._data.pools[self._direction.client]
            at = self._session.route.mapped, event.port if own else 0
            pool.take(partial(self._open, event, at))
        elif self._has_source:
            pool = self._data.pools[self._direction.server]
            pool.take(partial(self._open, event, (self.source, 0)))
        else:
            self._open_at_own_address(event)

    @property
    def _has_source(self) -> bool:
        """Return whether the source address that the server sees may be one that is steered."""
        return self._direction is V4_TO_V6 or self._session.route.source is not None

    def _open_at_own_address(self, event: OpenActive) -> None:
        try:
            sock = stream_socket(_socket.AF_INET)
        except OSError as error:
            self._refused(str(error.strerror))
        else:
            if self._listen(sock, (self.source, 0), event):
                self._opened(sock.getsockname()[1])

    def _open(
        self,
        event: OpenPassive | OpenActive,
        address: tuple[str, int],
        sock: _socket.socket | None,
    ) -> None:
        """Go on with a transparent socket; None if there is none to be had."""
        if self._session.end is not None:
            if sock is not None:
                sock.close()
        elif sock is None:
            self._refused("no transparent socket")
        elif self._listen(sock, address, event):
            passive = isinstance(event, OpenPassive)
            opened = partial(self._opened, sock.getsockname()[1])
            if passive or self.source == self._session.route.source:
                self._data.ask_for_pinhole(sock, self._host(passive=passive), opened)
            else:  # an address of the gateway's own, where nobody steers
                opened()

    def _listen(
        self, sock: _socket.socket, address: tuple[str, int], event: OpenPassive | OpenActive
    ) -> bool:
        """Let the peer in at *address*, once; False if it was refused."""
        passive = isinstance(event, OpenPassive)
        try:
            _bind(sock, address, any_port=isinstance(event, OpenPassive) and not event.same_port)
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            self._refused(str(error.strerror))
            return False
        self._expect(event.listener, sock, event.port, sock.getsockname()[1], passive=passive)
        return True

    def _expect(
        self,
        listener: int,
        sock: _socket.socket,
        to: int,
        at: int,
        *,
        passive: bool,
        until: float | None = None,
    ) -> None:
        """Let in the client if *passive*, else the server, *at* that port of *sock*'s."""
        data = self._data
        host = self._host(passive=passive)
        came = partial(self._client_came if passive else self._server_came, to, at)
        pinhole = Pinhole(data.loop, data.plane, sock, host, came, self._stranger, until)
        self._expected[listener] = _Expected(pinhole, passive, to, at)

    def _host(self, *, passive: bool) -> str:
        """Return the address of the expected peer: the client if *passive*, else the server."""
        return self._session.client_host if passive else self._session.route.server

    def _client_came(self, to: int, at: int, client: _socket.socket, port: int) -> None:
        self._data.passive(self._session, client, port, at, to)

    def _server_came(self, to: int, at: int, server: _socket.socket, port: int) -> None:
        self._data.active(self._session, server, port, to)

    def close(self, listener: int) -> None:
        """Let in nobody any more at that one."""
        expected = self._expected.pop(listener, None)
        if expected is not None:
            expected.pinhole.close()

    def close_all(self) -> None:
        """Let in nobody any more."""
        for listener in list(self._expected):
            self.close(listener)

    # -- in another process ------------------------------------------------------------------

    def hand_over(self) -> tuple[list[Any], list[int]]:
        """Let go of those that are open: what `resume` goes on from, and their descriptors."""
        still = [(number, one) for number, one in self._expected.items() if one.pinhole.is_open]
        state = [(number, one.passive, one.to, one.at, one.pinhole.until) for number, one in still]
        descriptors = [one.pinhole.hand_over() for _, one in still]
        self._expected.clear()
        return state, descriptors

    def resume(self, state: list[Any], descriptors: Iterator[int]) -> None:
        """Go on, just made, with those that another one has handed over."""
        for listener, passive, to, at, until in state:
            sock = adopt(next(descriptors))
            self._expect(listener, sock, to, at, passive=passive, until=until)
            if passive or self._has_source:
                self._data.ask_for_pinhole(sock, self._host(passive=passive), lambda: None)


def _bind(sock: _socket.socket, address: tuple[str, int], *, any_port: bool) -> None:
    """Bind *sock* to *address*, or if its port cannot be had to *any_port*.  Raises OSError."""
    host, port = address
    if any_port and port < _LOWEST_PORT:
        port = 0
    try:
        sock.bind((host, port))
    except OSError:
        if not any_port:
            raise
        sock.bind((host, 0))
