"""The listening side: datagrams in batches, streams with many queries, and misses under way."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from faith.dns.answer import failure
from faith.dns.dns_counters import Counters
from faith.dns.question import EDNS_LIMIT
from faith.dns.wire import NOERROR, NXDOMAIN, REFUSED, SERVFAIL
from faith.kernel.sockets.datagram_batch import Batch, host_text
from faith.translation import shares
from faith.translation.address import number6
from faith.translation.shares import Shares

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from faith.dns.answer import Answer
    from faith.dns.dns_timers import Timer
    from faith.dns.name_service import Names
    from faith.dns.responder import Miss
    from faith.dns.search import Search
    from faith.dns.tasks import Tasks
    from faith.translation.shares import Place

MISSES = 4096
"""Queries that may wait for an answer at a time, of all clients by shares; others fail at once."""
JOSTLE = 0.2
"""Seconds until a query gives way to another of the same client, which has its share."""
STREAMS = 512
"""Connections at a time, of all clients by shares; more are closed."""
STREAM_JOSTLE = 5.0
"""Seconds of silence until a connection gives way to another of the same client."""
QUERIES = 64
"""Queries of one connection that may be looked up at a time; until then it is read no further."""
IDLE = 10.0
"""Seconds that a connection may be silent, or not take what it asked for (RFC 7766 §6.2.3)."""
STALE_AFTER = 1.8
"""Seconds until a client gets what is past its time, if there is that (RFC 8767 §5)."""

LINGER = 1.0
"""Seconds at most until queries that have come are answered, when this ends."""

_QUERY_LIMIT = 4096  # octets of a datagram; what is cut off there is malformed
_CLIENTS = 4096  # remembered by their addresses
_LENGTH = struct.Struct("!H")


class Server:
    """Answers by *names*, which may be replaced at any moment; *tasks* run streams, and timers.

    *counters* count.  IPv6 addresses with the first *client_length* bits in common are one client.
    """

    def __init__(
        self,
        names: Names,
        tasks: Tasks,
        counters: Counters | None = None,
        client_length: int = shares.CLIENT_LENGTH,
    ) -> None:
        self._length = client_length
        self.names = names
        self.counters = counters or Counters()
        self.timers = tasks.timers
        self.places = Shares(MISSES, JOSTLE)
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._datagrams: set[socket.socket] = set()
        self._batches = {
            family: Batch(family, _QUERY_LIMIT, EDNS_LIMIT)
            for family in (socket.AF_INET, socket.AF_INET6)
        }
        self._hosts: dict[bytes, str] = {}
        self._servers: dict[socket.socket, asyncio.Server] = {}
        self._streams = Shares(STREAMS, STREAM_JOSTLE)
        self.counters.fills["look-ups"] = self.places.fill
        self.counters.fills["streams"] = self._streams.fill
        self._writers: set[asyncio.StreamWriter] = set()
        self.has_answered = asyncio.Event()
        """Set whenever a place becomes free."""

    async def listen(self, socks: Iterable[socket.socket]) -> None:
        """Serve on bound UDP and listening TCP sockets, non-blocking ones; they become ours."""
        for sock in socks:
            if sock.type == socket.SOCK_DGRAM:
                self._datagrams.add(sock)
                self._loop.add_reader(sock.fileno(), self._readable, sock)
            else:
                self._servers[sock] = await asyncio.start_server(self._accepted, sock=sock)

    def forget(self, socks: Iterable[socket.socket]) -> None:
        """Serve no longer on these, and close them; established streams go on."""
        for sock in socks:
            if sock in self._servers:
                self._servers.pop(sock).close()
            else:
                self._datagrams.remove(sock)
                self._loop.remove_reader(sock.fileno())
                sock.close()

    async def finish(self) -> None:
        """Answer what has come, which takes LINGER seconds at most, and listen no longer.

        So a query that came to a worker which others replace is not lost.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while self._read_all():
                    self.has_answered.clear()
                    await self.has_answered.wait()
        self.forget([*self._datagrams, *self._servers])

    def _read_all(self) -> int:
        """Read what waits in the sockets; return how many queries wait for an answer."""
        for sock in self._datagrams:
            self._readable(sock)
        return len(self.places)

    def close(self) -> None:
        """Close every socket and stream.  Close the tasks first."""
        self.forget([*self._datagrams, *self._servers])
        for writer in self._writers:
            writer.transport.abort()

    # -- datagrams ---------------------------------------------------------------------------

    def _readable(self, sock: socket.socket) -> None:
        respond, hosts = self.names.respond, self._hosts
        batch = self._batches[sock.family]
        descriptor = sock.fileno()
        now = time.monotonic()
        arrived = batch.receive(descriptor)
        at_once = 0
        for number, (message, octets) in enumerate(arrived):
            reply = respond(message, hosts.get(octets) or self._host(octets), now)
            if isinstance(reply, bytes):
                at_once += 1
                batch.reply(number, reply)
            elif reply is not None:
                source = batch.source(number)
                self._find(reply, source, now, partial(_send, sock, source))
        self.counters.datagrams(len(arrived), at_once)  # before a client knows that it was served
        batch.send(descriptor)

    def _host(self, octets: bytes) -> str:
        """The text of a host's address, which is remembered."""
        if len(self._hosts) >= _CLIENTS:
            self._hosts.clear()
        host = self._hosts[octets] = host_text(octets)
        return host

    # -- streams -----------------------------------------------------------------------------

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.start(self._serve_stream(reader, writer), "stream")

    async def _serve_stream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer the queries of a connection, each when its answer is known (RFC 7766 §6.2.1)."""
        source = writer.get_extra_info("peername")  # it may have gone already
        place = self._place_of_stream(source[0], writer) if source else None
        if place is None:
            writer.transport.abort()
            return
        self._writers.add(writer)
        try:
            await self._answer_stream(reader, writer, source, place)
            writer.close()
            async with asyncio.timeout(IDLE):
                await writer.wait_closed()
        except (OSError, EOFError, TimeoutError):
            pass
        finally:
            writer.transport.abort()
            self._writers.remove(writer)
            self._streams.leave(place)

    def _place_of_stream(self, host: str, writer: asyncio.StreamWriter) -> Place | None:
        """A place among the streams; for strangers there is none: they would only be refused."""
        if not self.names.serves(host):
            return None
        now = time.monotonic()
        client = client_at(host, self._length)
        if not self._streams.admits(client):
            self.counters.refused("streams")
            silent = self._streams.displaceable(client, now)
            if silent is None:
                return None
            silent.holder.transport.abort()
        return self._streams.enter(client, writer, now)

    async def _answer_stream(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        source: tuple[Any, ...],
        place: Place,
    ) -> None:
        room = asyncio.Semaphore(QUERIES)

        def send(reply: bytes) -> None:
            room.release()
            _write(writer, reply)

        while message := await _read(reader):
            now = time.monotonic()
            self._streams.use(place, now)
            reply = self.names.respond(message, source[0], now, stream=True)
            if reply is None:
                return
            self.counters.stream(at_once=isinstance(reply, bytes))
            if isinstance(reply, bytes):
                _write(writer, reply)
            else:
                await room.acquire()
                self._find(reply, source, now, send)
            async with asyncio.timeout(IDLE):
                await writer.drain()
        for _ in range(QUERIES):  # until all are answered
            await room.acquire()

    # -- misses ------------------------------------------------------------------------------

    def _find(
        self, miss: Miss, source: tuple[Any, ...], now: float, send: Callable[[bytes], object]
    ) -> None:
        """Have *miss* answered by *send*: at once, if there is no place for it."""
        if self.names.comes_back(miss, source):
            self.counters.refused("loops")
            send(miss.reply(failure(miss.query.question, REFUSED)))
            return
        client = client_at(source[0], self._length)
        errand = Errand(self, miss, send)
        if not self.places.admits(client):
            slow = self.places.displaceable(client, now)
            self.counters.refused("look-ups")
            if slow is None:
                errand.fail()
                return
            slow.holder.give_way()
        errand.begin(self.places.enter(client, errand, now))


class Errand:
    """A *miss* under way, whose answer goes back by *send*; it has a place among *server*'s."""

    __slots__ = ("_miss", "_place", "_search", "_send", "_server", "_timer")

    def __init__(self, server: Server, miss: Miss, send: Callable[[bytes], object]) -> None:
        self._server = server
        self._miss = miss
        self._send: Callable[[bytes], object] | None = send
        self._place: Place | None = None
        self._search: Search | None = None
        self._timer: Timer | None = None

    def begin(self, place: Place) -> None:
        """Find the answer, and see to it that there is one in time if there is a stale one."""
        self._place = place
        server = self._server
        search = server.names.find(self._miss, self._found, place.client)
        if self._place is not None:  # it may be over already
            self._search = search
            if self._miss.stale:
                self._timer = server.timers.after(STALE_AFTER, self._send_stale)

    def _found(self, answer: Answer) -> None:
        """Send *answer*; or what is past its time, when that is better than to fail."""
        self._leave()
        if self._send is None:
            return
        if self._miss.stale and answer.rcode not in (NOERROR, NXDOMAIN):
            self._send_stale()
            return
        self._tell("failed" if answer.rcode == SERVFAIL else "looked up", self._miss.reply(answer))

    def _send_stale(self) -> None:
        """Send what is past its time, if there is that; the search goes on in any case."""
        if reply := self._miss.stale_reply():
            self._tell("stale", reply)

    def give_way(self) -> None:
        """Stop, and fail."""
        if self._search:
            self._search.cancel()
        self._leave()
        self.fail()

    def fail(self) -> None:
        """Send what is past its time, or else a failure."""
        self._send_stale()
        self._tell("failed", self._miss.reply(failure(self._miss.query.question)))

    def _tell(self, how: str, reply: bytes) -> None:
        if send := self._send:
            self._send = None
            self._server.counters.answered(how)
            send(reply)

    def _leave(self) -> None:
        self._search = None
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if place := self._place:
            self._place = None
            self._server.places.leave(place)
            self._server.has_answered.set()


@lru_cache(_CLIENTS)
def client_at(host: str, length: int) -> int:
    """Return the number of the client at *host*, of either family, as shares know it.

    IPv6 addresses with the first *length* bits in common are one client.
    """
    return shares.client(number6(host), length)


def _send(sock: socket.socket, source: tuple[Any, ...], reply: bytes) -> None:
    try:
        sock.sendto(reply, source)
    except OSError:
        return  # lost, as datagrams are


def _write(writer: asyncio.StreamWriter, reply: bytes) -> None:
    if not writer.is_closing():
        writer.write(_LENGTH.pack(len(reply)) + reply)


async def _read(reader: asyncio.StreamReader) -> bytes:
    """The next message; empty at the end of the stream.  Raises OSError and EOFError."""
    async with asyncio.timeout(IDLE):
        head = await reader.read(1)
        if not head:
            return b""
        (length,) = _LENGTH.unpack(head + await reader.readexactly(1))
        return await reader.readexactly(length)
