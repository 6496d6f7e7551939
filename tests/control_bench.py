"""An FTP control connection between two peers over loopback, without a network of its own."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from faith.kernel.sockets.tcp_sockets import stream_socket
from faith.relay.alg.data_connections import DataConnections
from faith.relay.alg.ftp import Ftp
from faith.relay.alg.ftp_data import Supervised
from faith.relay.alg.socket_pool import SocketPool
from faith.relay.alg.tls_sessions import TlsSessions
from faith.relay.tcp.plane import Plane
from faith.relay.tcp.relay_counters import Counters
from faith.relay.tcp.routing import Route
from faith.relay.tcp.session import Session
from faith.relay.tcp.source_ports import SourcePorts

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from faith.relay.tcp.session import Leg

CLIENT = ("::1", 40000, 0, 0)
SIOCOUTQ = 0x5411
RESET = struct.pack("=ii", 1, 0)


class Peer:
    """The far end of one leg: what it says, and what it has heard by now."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.heard = b""
        self.end = ""  # "FIN" or "RST", once it was heard
        self._failed = False  # to say something: the kernel tells of a reset once

    def listen(self, most: int = 1 << 20) -> None:
        """Hear what has arrived, *most* octets of it."""
        while not self.end and most > 0:
            try:
                data = self.sock.recv(min(most, 65536))
            except BlockingIOError:
                return
            except OSError:
                self.end = "RST"
                return
            if not data:
                self.end = "RST" if self._failed else "FIN"
            self.heard += data
            most -= len(data)

    def say(self, data: bytes, flags: int = 0) -> int:
        """Send what there is room for; returns how much that was."""
        try:
            return self.sock.send(data, flags)
        except BlockingIOError:
            pass
        except OSError:
            self._failed = True
        return 0

    def arrived(self) -> bool:
        """Whether everything that was said is at the gateway."""
        left: bytes = fcntl.ioctl(self.sock.fileno(), SIOCOUTQ, bytes(4))
        return left == bytes(4)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()


class Bench:
    """A plane and the FTP ALG on it, in a loop that runs when it is waited for something.

    Whom the supervisor would be asked, answers at once; or, *slow*, at the next turn.  Buffers of
    all sockets are of *size* octets.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, size: int = 0, slow: bool = False) -> None:
        self.loop = loop
        self.size = size
        self.slow = slow
        self.ended: list[Session] = []
        self.begun: list[Session] = []
        self.refused: list[str] = []
        self.sockets: list[socket.socket] = []
        self.plane = Plane(loop, self._dialled, self.ended.append)
        self._all: list[Ftp] = []
        self.ftp = self.new_ftp()

    def new_ftp(self) -> Ftp:
        supervised = Supervised(
            {family: self._stock(family) for family in (socket.AF_INET6, socket.AF_INET)},
            TlsSessions(
                lambda kind, client, mapped, then: self._answer(then), self.loop.call_later
            ),
            lambda sock, host, then: self._answer(then),
        )
        routing: Any = SimpleNamespace(
            find=lambda client, mapped, port: Route(mapped, "127.0.0.1", "127.0.0.1")
        )
        data = DataConnections(
            self.loop, routing, SourcePorts(), self.begin, self.refuse, lambda *_: 0
        )
        self._all.append(Ftp(self.loop, self.plane, routing, supervised, data, self.counters))
        return self._all[-1]

    def _stock(self, family: int) -> SocketPool:
        def give(count: int) -> None:
            for _ in range(count):
                self._answer(lambda: stock.add(stream_socket(family)))

        stock = SocketPool(give)
        return stock

    def _answer(self, then: Callable[[], None]) -> None:
        if self.slow:
            self.loop.call_soon(then)
        else:
            then()

    # -- as the relay ------------------------------------------------------------------------

    counters = Counters()

    def begin(self, session: Session, dialled: Leg, error: int) -> None:
        self.begun.append(session)
        self.plane.dial(dialled)

    def refuse(
        self, client: _socket.socket, peer: Any, mapped: str, port: int, why: str | OSError
    ) -> None:
        self.refused.append(str(why))
        client.close()

    def _dialled(self, leg: Leg, events: int) -> None:
        self.plane.start(leg, events)

    # -- sessions ----------------------------------------------------------------------------

    def session(self, *, wait: bool = False) -> tuple[Peer, Peer, Session]:
        """The client, the server, and the control connection between them.

        The ALG has it, unless that is to *wait*.
        """
        client, client_leg = self._pair()
        server, server_leg = self._pair()
        route = Route("::1", "127.0.0.1", "127.0.0.1")
        session = Session(client_leg, server_leg, CLIENT, route, 21, self.loop.time())
        self.plane.dial(session.server)
        if not wait:
            self.ftp.take_over(session)
        return client, server, session

    def _pair(self) -> tuple[Peer, Any]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            if self.size:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.size)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.size)
            near = socket.socket()
            if self.size:
                near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.size)
                near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.size)
            near.connect(listener.getsockname())
            far, _ = listener.accept()
        for sock in (near, far):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        self.sockets += [near, far]
        return Peer(near), far

    def until(self, done: Callable[[], bool], seconds: float = 10) -> None:
        """Run the loop until *done*, or fail."""

        async def wait() -> None:
            deadline = time.monotonic() + seconds
            while not done():
                assert time.monotonic() < deadline, "it did not happen"
                await asyncio.sleep(0.001)

        self.loop.run_until_complete(wait())

    def turn(self, seconds: float = 0.0) -> None:
        """Run the loop for a moment."""
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def tell(self, peer: Peer, data: bytes) -> None:
        """Have *peer* say all of *data*, and wait until it has arrived."""
        said = 0

        def done() -> bool:
            nonlocal said
            if said < len(data):
                said += peer.say(data[said:])
            return said == len(data) and peer.arrived()

        self.until(done)

    def hear(self, peer: Peer) -> tuple[bytes, str]:
        """What *peer* hears up to its end, and which end that is."""

        def done() -> bool:
            peer.listen()
            return bool(peer.end)

        self.until(done)
        return peer.heard, peer.end

    def hears(self, peer: Peer, data: bytes) -> None:
        """Wait until *peer* has heard *data*, and nothing else."""

        def done() -> bool:
            peer.listen()
            return len(peer.heard) >= len(data)

        self.until(done)
        assert peer.heard == data
        peer.heard = b""

    def close(self) -> None:
        for ftp in self._all:
            ftp.close()
        for session in self.plane.sessions() + self.begun:
            self.plane.end(session, "test over", reset=True)
        self.plane.close()
        for sock in self.sockets:
            sock.close()
