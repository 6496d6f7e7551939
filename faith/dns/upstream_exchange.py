"""One question to one server and its reply: by UDP, by TCP if that is cut short, or by TLS."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from typing import TYPE_CHECKING

from faith.dns.answer import from_reply
from faith.dns.question import EDNS_LIMIT
from faith.dns.wire import (
    AD,
    CD,
    FORMERR,
    HEADER,
    MESSAGE_LIMIT,
    NOTIMP,
    OPCODE,
    OPT,
    QR,
    RCODE,
    RD,
    TC,
)
from faith.errors import ConfigError

if TYPE_CHECKING:
    from faith.dns.answer import Answer
    from faith.dns.endpoint import Endpoint
    from faith.dns.question import Question

    Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

CONNECTIONS = 16
"""To one server at a time; what comes on top waits."""
IDLE = 10.0
"""Seconds that a connection is kept for the next question."""

_NOT_UNDERSTOOD = (FORMERR, NOTIMP)
_LENGTH = struct.Struct("!H")
_OPT = struct.Struct("!xHHIH")
_DO = 0x8000


class Request:
    """A message that asks *question*, with an id that nobody guesses, and *edns* or without.

    *mixed_case* makes upper case of some letters, which only the true reply repeats.
    """

    __slots__ = ("_exact", "_section", "message")

    def __init__(self, question: Question, *, edns: bool = True, mixed_case: bool = False) -> None:
        self._exact = mixed_case
        self._section = _mixed(question.section) if mixed_case else question.section
        # AD asks for that bit in the reply, also without DO (RFC 6840 §5.7).  CD is the client's:
        # with CD of our own, what is bogus would come as if it were good.
        flags = RD | AD | question.unchecked * CD
        self.message = HEADER.pack(_random(), flags, 1, 0, 0, edns) + self._section
        if edns:
            self.message += _OPT.pack(OPT, EDNS_LIMIT, question.dnssec_ok * _DO, 0)

    def is_answered_by(self, reply: bytes) -> bool:
        """Whether *reply* has the id and the question; who was not asked knows neither."""
        if len(reply) < HEADER.size or reply[:2] != self.message[:2]:
            return False
        _, flags, questions, *_ = HEADER.unpack_from(reply)
        if flags & (QR | OPCODE) != QR:
            return False
        if len(reply) == HEADER.size:
            return flags & RCODE in _NOT_UNDERSTOOD  # no question, for it was not read
        section = reply[HEADER.size : HEADER.size + len(self._section)]
        return questions == 1 and self._repeats(section)

    def _repeats(self, section: bytes) -> bool:
        if self._exact:
            return section == self._section
        own = self._section
        return section[:-4].lower() == own[:-4].lower() and section[-4:] == own[-4:]


def _random() -> int:
    return int.from_bytes(os.urandom(2), "big")


def _mixed(section: bytes) -> bytes:
    """*section* with the case of its name's letters at random; no other octet looks like one."""
    chance = int.from_bytes(os.urandom(32), "big")
    name = bytes(
        octet ^ 0x20 if chance >> place & 1 and (octet | 0x20) in range(0x61, 0x7B) else octet
        for place, octet in enumerate(section[:-4])
    )
    return name + section[-4:]


class Exchange:
    """Asks one server.  *context* is for TLS, and needed where *endpoint* has a name.

    Raises OSError for an address with a zone that is no interface.
    """

    def __init__(
        self, endpoint: Endpoint, *, mixed_case: bool = False, context: ssl.SSLContext | None = None
    ) -> None:
        self.endpoint = endpoint
        family, _, _, _, address = socket.getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )[0]
        self._family, self._address = family, address
        self._mixed_case = mixed_case
        self._context = context
        self._idle: list[tuple[Connection, asyncio.TimerHandle]] = []
        self._room = asyncio.Semaphore(CONNECTIONS)

    async def ask(self, question: Question) -> Answer:
        """The server's answer, whatever it is.

        There is no time limit: cancel it.  Raises OSError (a TLS error is one), EOFError when the
        connection ends, and WireError for a reply that makes no sense.
        """
        reply = await self._ask(Request(question, mixed_case=self._mixed_case))
        if reply[3] & RCODE in _NOT_UNDERSTOOD:  # it may be EDNS (RFC 6891 §7)
            reply = await self._ask(Request(question, edns=False))
        return from_reply(reply)

    async def _ask(self, request: Request) -> bytes:
        if self.endpoint.name is None:
            reply = await self._by_datagram(request)
            if not reply[2] << 8 & TC:
                return reply
        return await self._by_stream(request)

    async def _by_datagram(self, request: Request) -> bytes:
        """A reply to a socket of its own: the port is as hard to guess as the id (RFC 5452 §9)."""
        loop = asyncio.get_running_loop()
        with socket.socket(self._family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            sock.connect(self._address)  # the kernel drops what others send
            sock.send(request.message)
            while True:
                reply = await loop.sock_recv(sock, MESSAGE_LIMIT)
                if request.is_answered_by(reply):
                    return reply

    async def _by_stream(self, request: Request) -> bytes:
        async with self._room:
            while self._idle:
                connection, timer = self._idle.pop()
                timer.cancel()
                try:
                    return await self._by_connection(connection, request)
                except (OSError, EOFError):
                    continue  # the server has closed it meanwhile
            endpoint = self.endpoint
            connection = await asyncio.open_connection(
                endpoint.host,
                endpoint.port,
                ssl=self._context if endpoint.name else None,
                server_hostname=endpoint.name,
            )
            return await self._by_connection(connection, request)

    async def _by_connection(self, connection: Connection, request: Request) -> bytes:
        reader, writer = connection
        try:
            if reader.at_eof() or writer.is_closing():
                raise ConnectionResetError("the server has closed the connection")
            writer.write(_LENGTH.pack(len(request.message)) + request.message)
            (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
            reply = await reader.readexactly(length)
            if not request.is_answered_by(reply):
                raise ConnectionError("the server answers what was not asked")
        except BaseException:
            writer.transport.abort()
            raise
        timer = asyncio.get_running_loop().call_later(IDLE, self._expire, connection)
        self._idle.append((connection, timer))
        return reply

    def _expire(self, connection: Connection) -> None:
        self._idle = [kept for kept in self._idle if kept[0] is not connection]
        connection[1].transport.abort()

    def close(self) -> None:
        """Let go of idle connections; questions under way must have been cancelled."""
        for (_, writer), timer in self._idle:
            timer.cancel()
            writer.transport.abort()
        self._idle.clear()


def tls_context(authorities: str | None = None) -> ssl.SSLContext:
    """TLS as RFC 8310 §8.1 wants it, trusting the system's certificates or those in a PEM text.

    Raises ConfigError for a text that has none.
    """
    try:
        if authorities == "":  # which for OpenSSL's module is as good as None
            raise ssl.SSLError("it is empty")
        context = ssl.create_default_context(cadata=authorities)
    except (OSError, TypeError) as error:  # SSLError is one; TypeError is for what is not ASCII
        raise ConfigError(f"there are no certificates to trust: {error}") from error
    context.set_alpn_protocols(["dot"])
    return context
