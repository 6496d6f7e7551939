"""rsh: a connection whose server makes a second one to the client, for standard error."""

from __future__ import annotations

import _socket
import fcntl
import logging
import sys
from functools import partial
from typing import TYPE_CHECKING

from faith.kernel.sockets.tcp_sockets import bind_reserved, stream_socket
from faith.relay.tcp.pinhole import BACKLOG, Pinhole
from faith.relay.tcp.plane import ERR, RDHUP
from faith.relay.tcp.record import broken
from faith.translation.reasons import BAD_STDERR_PORT, NO_STDERR_PORT, STOPPED
from faith.translation.rsh_port import RESERVED, stderr_port

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from faith.relay.alg.data_connections import DataConnections
    from faith.relay.tcp.plane import Plane
    from faith.relay.tcp.session import Session

log = logging.getLogger("faith.rsh")

PATIENCE = 30.0
"""Seconds that a client has to say its port, which it does at once."""

_FIONREAD = 0x541B


class Rsh:
    """Has the servers' second connections come here, and go on to the clients."""

    def __init__(self, loop: AbstractEventLoop, plane: Plane, data: DataConnections) -> None:
        self.loop = loop
        self.plane = plane
        self._data = data
        self._openings: dict[Session, _Opening] = {}
        self._pinholes: dict[Session, Pinhole] = {}

    def take_over(self, session: Session) -> None:
        """Serve *session*, whose server has just been connected."""
        self._openings[session] = _Opening(self, session)

    def forget(self, session: Session) -> None:
        """*session* has ended; a no-op when it was none of ours."""
        opening = self._openings.pop(session, None)
        if opening is not None:
            opening.close()
        pinhole = self._pinholes.pop(session, None)
        if pinhole is not None:
            pinhole.close()

    def close(self) -> None:
        """Reset what has only begun, and let no more second connections in."""
        for session in list(self._openings):
            self.end(session, STOPPED)
        for pinhole in self._pinholes.values():
            pinhole.close()
        self._pinholes.clear()

    def end(self, session: Session, how: str) -> None:
        """Reset *session*, of which the port is not known yet."""
        self._openings.pop(session).close()
        self.plane.end(session, how, reset=True)

    def go_on(self, session: Session, said: bytes) -> None:
        """Leave the session to the plane, and what was *said* to us or in our name for the server.

        The plane has it go before everything else, and whatever a peer that has gone said before.
        """
        self._openings.pop(session).close()
        self.plane.dial(session.server)
        self.plane.start(session.server)
        if said:
            session.client.held = said
            session.client.quick = False

    def expect(self, session: Session, port: int) -> int:
        """Have the server's second connection go to *port* of the client's; the port to tell it.

        Raises OSError.
        """
        sock = stream_socket(_socket.AF_INET)
        try:
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 0)  # other workers' ports
            ours = bind_reserved(sock, session.server.sock.getsockname()[0])
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
        self._pinholes[session] = Pinhole(
            self.loop,
            self.plane,
            sock,
            session.route.server,
            partial(self._came, session, port),
            partial(self._turned_away, session),
            ports=RESERVED,
        )
        return ours

    def _came(self, session: Session, to: int, server: _socket.socket, port: int) -> None:
        self._data.active(session, server, port, to, reserved_port=True)

    def _turned_away(self, session: Session, host: str) -> None:
        log.warning("rsh to %s: a connection from %s was refused", session.route.server, host)


class _Opening:
    """Waits for the client of *session* to say its port.

    It is read octet by octet, as an rshd does, so that nothing behind the NUL is taken.
    """

    def __init__(self, rsh: Rsh, session: Session) -> None:
        self._rsh = rsh
        self._session = session
        self._said = b""
        rsh.plane.unwatch(session.server.fd)
        rsh.plane.watch(session.client.fd, self._readable)
        # An rshd that takes us for nobody hangs up before the client has said anything.
        rsh.plane.watch(session.server.fd, self._server_ended, RDHUP)
        self._timer = rsh.loop.call_later(PATIENCE, rsh.end, session, "client timed out")

    def close(self) -> None:
        """Wait no more."""
        self._timer.cancel()
        for leg in (self._session.client, self._session.server):
            self._rsh.plane.unwatch(leg.fd)

    def _readable(self, mask: int) -> None:
        port = None
        try:
            while port is None:
                if mask & ERR and not self._unread():
                    break  # the plane will find the reset, behind what was said
                octet = self._session.client.sock.recv(1)
                if not octet:
                    break
                self._said += octet
                port = stderr_port(self._said)
        except BlockingIOError:
            return
        except ValueError as error:
            log.warning("rsh from %s: port %r: %s", self._session.client_host, self._said, error)
            self._rsh.end(self._session, BAD_STDERR_PORT)
        except OSError as error:
            self._rsh.end(self._session, broken("client", error.errno))
        else:
            self._begin(port)

    def _unread(self) -> int:
        unread = fcntl.ioctl(self._session.client.fd, _FIONREAD, bytes(4))
        return int.from_bytes(unread, sys.byteorder)

    def _begin(self, port: int | None) -> None:
        if port:
            try:
                ours = self._rsh.expect(self._session, port)
            except OSError as error:
                log.error("rsh: no port for the second connection: %s", error.strerror)
                self._rsh.end(self._session, NO_STDERR_PORT)
                return
            self._said = b"%d\0" % ours
        self._rsh.go_on(self._session, self._said)

    def _server_ended(self, _: int) -> None:
        self._rsh.go_on(self._session, self._said)
