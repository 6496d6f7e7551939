"""Streams to one server, TCP or TLS: many questions on each, answered in any order.

RFC 7766 §6.2.1.1 and RFC 7858 §3.3.  One connection does where the server answers as it finds;
there are more of them for one that lets questions wait behind a slow one, or ends each connection
after an answer.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, cast

from faith.dns.request import Dice
from faith.dns.wire import HEADER

if TYPE_CHECKING:
    import ssl

    from faith.dns.endpoint import Endpoint
    from faith.dns.request import Asking
    from faith.dns.tasks import Tasks

CONNECTIONS = 16
"""To one server at a time."""
QUESTIONS = 512
"""On one connection at a time; what comes on top waits."""
STALL = 0.5
"""Seconds of silence, with questions open, after which a connection gets no more of them."""
HANG_UPS = 2
"""Connections in a row that end after one answer, with more to do, until they have no more."""
SINGLE = 60.0
"""Seconds for which a connection has one question then."""
IDLE = 10.0
"""Seconds that a connection is kept for the next question."""
UNHEARD = 5.0
"""Seconds that what was sent may stay without TCP's acknowledgement."""
CONNECT = 4.0
"""Seconds that a connection, with TLS or without, may take to come about."""

_LENGTH = struct.Struct("!H")


class Streams:
    """The connections to *endpoint*, of which *tasks* make new ones; *context* is for TLS."""

    def __init__(self, endpoint: Endpoint, context: ssl.SSLContext | None, tasks: Tasks) -> None:
        self.endpoint = endpoint
        self.context = context
        self.tasks = tasks
        self._all: list[Connection] = []
        self._waiting: deque[Asking] = deque()
        self._hang_ups = 0
        """How often in a row the server ended a connection after one answer, with more to do."""
        self._single_until = 0.0

    def __len__(self) -> int:
        return len(self._all)

    def is_own(self, host: str, port: int | None = None) -> bool:
        """Return whether a connection comes from there, from any port for None."""
        names = (each.own for each in self._all if each.own)
        return any(name[0] == host and port in (None, name[1]) for name in names)

    def send(self, asking: Asking) -> None:
        """Ask on a connection, or wait for room; *asking* gets the reply, or the error."""
        connection = self._chosen()
        if connection is None:
            self._waiting.append(asking)
            asking.where = self
        else:
            connection.send(asking)

    def give_up(self, asking: Asking) -> None:
        """Forget *asking*, which waits for room."""
        self._waiting.remove(asking)

    def _chosen(self) -> Connection | None:
        """The connection with most to do, of those where nothing waits in vain."""
        now = asyncio.get_running_loop().time()
        is_single = now < self._single_until
        able = [each for each in self._all if each.takes_more(is_single=is_single)]
        lively = [each for each in able if not each.stalls(now)]
        if lively:
            return max(lively, key=len)
        if len(self._all) < CONNECTIONS:
            self._all.append(Connection(self))
            return self._all[-1]
        return min(able, key=len, default=None)

    def freed(self) -> None:
        """Ask what waits, as far as there is room now."""
        while self._waiting and (connection := self._chosen()) is not None:
            connection.send(self._waiting.popleft())

    def lost(self, connection: Connection, error: OSError, unanswered: list[Asking]) -> None:
        """Do without *connection*; what is *unanswered* is asked again if it has answered some.

        A server that ends them after one answer, and again, has one question on each for a while.
        """
        if connection in self._all:
            self._all.remove(connection)
        if connection.answered > 1:
            self._hang_ups = 0
        elif connection.answered and unanswered:
            self._hang_ups += 1
            if self._hang_ups >= HANG_UPS:
                self._single_until = asyncio.get_running_loop().time() + SINGLE
        for asking in unanswered:
            if connection.answered and asking.may_repeat():
                self.send(asking)
            else:
                asking.failed(error)
        self.freed()

    def close(self) -> None:
        """End all connections; nobody waits for anything any more."""
        for connection in list(self._all):
            connection.close()
        self._all.clear()
        self._waiting.clear()


class Connection(asyncio.Protocol):
    """One of *streams*, which begins to connect at once."""

    def __init__(self, streams: Streams) -> None:
        self.answered = 0
        self.own: tuple[str, int] | None = None
        """Its address here, once there is one."""
        self._streams = streams
        self._loop = asyncio.get_running_loop()
        self._dice = Dice()
        self._asked: dict[int, Asking] = {}
        self._given_up: set[int] = set()
        """Ids that nobody waits for: the replies may come yet."""
        self._unsent: list[bytes] = []
        self._received = bytearray()
        self._heard = 0.0
        self._transport: asyncio.Transport | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._ended = False
        self._connecting = streams.tasks.start(self._connect(), "connection")

    def __len__(self) -> int:
        """How many questions are open on it, those included that nobody waits for any more."""
        return len(self._asked) + len(self._given_up)

    def takes_more(self, *, is_single: bool) -> bool:
        """Return whether there is room for a question, which *is_single* on a connection or not."""
        if is_single:
            return not self.answered and not len(self)
        return len(self) < QUESTIONS

    def stalls(self, now: float) -> bool:
        """Return whether it has been silent for too long, with somebody waiting."""
        return bool(self._asked) and now - self._heard > STALL

    def send(self, asking: Asking) -> None:
        """Ask, at once or as soon as it is connected."""
        if not self._asked:
            self._heard = self._loop.time()
        if self._idle:
            self._idle.cancel()
            self._idle = None
        id_ = self._dice.number()
        while id_ in self._asked or id_ in self._given_up:
            id_ = self._dice.number()
        self._asked[id_] = asking
        asking.where, asking.id = self, id_
        message = asking.request.message(id_)
        framed = _LENGTH.pack(len(message)) + message
        if self._transport:
            self._transport.write(framed)
        else:
            self._unsent.append(framed)

    def give_up(self, asking: Asking) -> None:
        """Wait no longer for the reply to *asking*."""
        del self._asked[asking.id]
        self._given_up.add(asking.id)
        self._rest()

    async def _connect(self) -> None:
        streams = self._streams
        try:
            async with asyncio.timeout(CONNECT):
                sock = await self._connected()
                try:
                    await self._loop.create_connection(
                        lambda: self,
                        sock=sock,
                        ssl=streams.context if streams.endpoint.name else None,
                        server_hostname=streams.endpoint.name,
                    )
                except BaseException:
                    sock.close()
                    raise
        except TimeoutError:
            self._end(ConnectionError("no connection in time"))
        except OSError as error:  # an error of TLS is one
            self._end(error)

    async def _connected(self) -> socket.socket:
        family, address = self._streams.endpoint.address()
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNHEARD * 1000))
            await self._loop.sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        return sock

    # -- what the transport calls ------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what was to be asked so far."""
        self._transport = cast("asyncio.Transport", transport)
        self.own = transport.get_extra_info("sockname")[:2]
        self._heard = self._loop.time()
        self._transport.write(b"".join(self._unsent))
        self._unsent.clear()
        self._rest()

    def data_received(self, data: bytes) -> None:
        """Take replies apart."""
        self._heard = self._loop.time()
        received = self._received
        received += data
        while len(received) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(received)
            end = _LENGTH.size + length
            if len(received) < end:
                return
            reply = bytes(received[_LENGTH.size : end])
            del received[:end]
            if not self._take(reply):
                return
        self._rest()
        self._streams.freed()

    def connection_lost(self, error: Exception | None) -> None:
        """Give back what was not answered."""
        if not isinstance(error, OSError):
            error = ConnectionResetError("the server has closed the connection")
        self._end(error)

    # ----------------------------------------------------------------------------------------

    def _take(self, reply: bytes) -> bool:
        """Give *reply* to who waits for it; what answers nothing ends the connection."""
        id_ = int.from_bytes(reply[:2], "big")
        asking = self._asked.get(id_) if len(reply) >= HEADER.size else None
        if asking and asking.request.is_answered_by(reply):
            del self._asked[id_]
            self.answered += 1
            asking.received(reply)
        elif id_ in self._given_up:
            self._given_up.remove(id_)
            self.answered += 1
        else:
            self.answered = 0
            self._end(ConnectionError("the server answers what was not asked"))
            return False
        return not self._ended

    def _rest(self) -> None:
        """Wait for the next question, or end, if nobody waits for a reply."""
        if self._idle is None and not self._asked:
            self._idle = self._loop.call_later(IDLE, self._end, ConnectionError("idle"))

    def _end(self, error: OSError) -> None:
        if not self._ended:
            unanswered = list(self._asked.values())
            self._asked.clear()
            self.close()
            self._streams.lost(self, error, unanswered)

    def close(self) -> None:
        """End it; nobody waits for anything on it any more."""
        self._ended = True
        if self._idle:
            self._idle.cancel()
            self._idle = None
        if self._transport:
            self._transport.abort()
        elif self._connecting is not asyncio.current_task():
            self._connecting.cancel()
