"""The listening side: datagrams in batches, streams with many queries, misses as tasks."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from faith.dns.answer import failure
from faith.dns.dns_counters import Counters
from faith.dns.wire import NOERROR, NXDOMAIN, SERVFAIL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from faith.dns.answer import Answer
    from faith.dns.name_service import Names
    from faith.dns.responder import Miss
    from faith.dns.tasks import Tasks

BATCH = 64
"""Datagrams read in a row, before streams and servers have their turn."""
MISSES = 4096
"""Questions that may be looked up at a time; what comes on top fails at once."""
STREAMS = 512
"""Connections at a time; more are closed."""
STREAMS_OF_ONE = 64
"""Of these, how many may be one client's."""
QUERIES = 64
"""Queries of one connection that may be looked up at a time; until then it is read no further."""
IDLE = 10.0
"""Seconds that a connection may be silent, or not take what it asked for (RFC 7766 §6.2.3)."""
STALE_AFTER = 1.8
"""Seconds until a client gets what is past its time, if there is that (RFC 8767 §5)."""

_QUERY_LIMIT = 4096  # octets of a datagram; what is cut off there is malformed
_LENGTH = struct.Struct("!H")


class Server:
    """Answers by *names*, which may be replaced at any moment; *tasks* run misses and streams.

    *counters* count.
    """

    def __init__(self, names: Names, tasks: Tasks, counters: Counters | None = None) -> None:
        self.names = names
        self._counters = counters or Counters()
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._datagrams: set[socket.socket] = set()
        self._servers: dict[socket.socket, asyncio.Server] = {}
        self._streams: dict[asyncio.StreamWriter, str] = {}

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

    def close(self) -> None:
        """Close every socket and stream.  Close the tasks first."""
        self.forget([*self._datagrams, *self._servers])
        for writer in self._streams:
            writer.transport.abort()

    # -- datagrams ---------------------------------------------------------------------------

    def _readable(self, sock: socket.socket) -> None:
        respond = self.names.respond
        now = time.monotonic()
        queries = at_once = 0
        for _ in range(BATCH):
            try:
                message, source = sock.recvfrom(_QUERY_LIMIT)
            except OSError:  # nothing more; or what became of an earlier reply
                break
            queries += 1
            reply = respond(message, source[0], now)
            if isinstance(reply, bytes):
                at_once += 1
                _send(sock, source, reply)
            elif reply is not None:
                self._miss(reply, partial(_send, sock, source))
        self._counters.datagrams(queries, at_once)

    # -- streams -----------------------------------------------------------------------------

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.start(self._serve_stream(reader, writer), "stream")

    async def _serve_stream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer the queries of a connection, each when its answer is known (RFC 7766 §6.2.1)."""
        peer = writer.get_extra_info("peername")
        host = peer[0] if peer else ""  # it may have gone already
        if not host or not self._is_welcome(host):
            writer.transport.abort()
            return
        self._streams[writer] = host
        try:
            await self._answer_stream(reader, writer, host)
            writer.close()
            async with asyncio.timeout(IDLE):
                await writer.wait_closed()
        except (OSError, EOFError, TimeoutError):
            pass
        finally:
            writer.transport.abort()
            del self._streams[writer]

    def _is_welcome(self, host: str) -> bool:
        """Whether there is room, for strangers none: they would get nothing but refusals."""
        return (
            len(self._streams) < STREAMS
            and [*self._streams.values()].count(host) < STREAMS_OF_ONE
            and self.names.serves(host)
        )

    async def _answer_stream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str
    ) -> None:
        waiting: set[asyncio.Task[None]] = set()
        while message := await _read(reader):
            reply = self.names.respond(message, host, time.monotonic(), stream=True)
            if reply is None:
                return
            self._counters.stream(at_once=isinstance(reply, bytes))
            if isinstance(reply, bytes):
                _write(writer, reply)
            elif task := self._miss(reply, partial(_write, writer)):
                waiting.add(task)
            if len(waiting) >= QUERIES:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            async with asyncio.timeout(IDLE):
                await writer.drain()
        if waiting:
            await asyncio.wait(waiting)

    # -- misses ------------------------------------------------------------------------------

    def _miss(self, miss: Miss, send: Callable[[bytes], None]) -> asyncio.Task[None] | None:
        if len(self._tasks) < MISSES:
            return self._tasks.start(self._find(self.names, miss, send), "miss")
        self._counters.answered("failed")
        send(miss.reply(failure(miss.query.question)))
        return None

    async def _find(self, names: Names, miss: Miss, send: Callable[[bytes], None]) -> None:
        """Send the answer; or what is past its time, when that is better than to wait or fail."""
        stale = miss.stale_reply()
        if stale is None:
            self._tell(miss, await names.find(miss), send)
            return
        finding = self._tasks.start(names.find(miss), "refreshment")  # goes on in any case
        done, _ = await asyncio.wait([finding], timeout=STALE_AFTER)
        if done and finding.result().rcode in (NOERROR, NXDOMAIN):
            self._tell(miss, finding.result(), send)
        else:
            self._counters.answered("stale")
            send(stale)

    def _tell(self, miss: Miss, answer: Answer, send: Callable[[bytes], None]) -> None:
        self._counters.answered("failed" if answer.rcode == SERVFAIL else "looked up")
        send(miss.reply(answer))


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
