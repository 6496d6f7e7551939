"""Ill-behaved sessions, each with a client and a server who tell whether all bytes have come."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import math
import random
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from faith.kernel.sockets.tcp_sockets import at_mark, unacknowledged

if TYPE_CHECKING:
    from tests.netns.way import Way

PORT = 7


@dataclass
class Side:
    """What one end does: writes *size* bytes in *piece*s, and how it reads, pauses and ends."""

    size: int
    piece: int
    seed: int
    pause: float = 0.0  # before every read
    cork: bool = False  # the last data and the FIN leave in one segment
    reset_after: int | None = None  # bytes written, and acknowledged, before it aborts
    urgent: int | None = None  # the place of an urgent octet
    wait_for_end: bool = False  # it ends its own stream only when the other's has ended
    wrote: int = 0
    got: int = 0
    marks: list[int] = field(default_factory=list)  # the places of urgent octets it got
    digest_in: bytes = b""  # of what it wrote
    digest_out: bytes = b""  # of what it got
    end: str = ""

    @classmethod
    def at_random(cls, chance: random.Random) -> Side:
        size = chance.choice([0, 1, 50, 1000, 65_536, 100_000, 700_000])
        reset = chance.random() < 0.15
        return cls(
            size=size,
            piece=1 if size <= 50 else chance.choice([100, 4096, 65_536, 1 << 20]),
            pause=0.01 if chance.random() < 0.2 else 0.0,
            cork=chance.random() < 0.3,
            reset_after=chance.randint(0, size) if reset else None,
            wait_for_end=chance.random() < 0.3,
            seed=chance.getrandbits(32),
        )

    @classmethod
    def urgent_in_bulk(cls, chance: random.Random) -> Side:
        size = chance.randint(3_000_000, 6_000_000)
        return cls(size, 1 << 18, chance.getrandbits(32), urgent=chance.randint(1, size - 1))

    def digest(self) -> bytes:
        """Return the digest of what was written up to now."""
        return hashlib.sha256(random.Random(self.seed).randbytes(self.size)[: self.wrote]).digest()


CUT = (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN)
"""What a system call says of a connection that the other end has aborted."""


class Reset(Exception):
    """This end has aborted the connection on purpose."""


async def write(sock: socket.socket, side: Side, other_ended: asyncio.Event) -> None:
    """Write and end as *side* does.  After a reset of the other's, reading tells of it."""
    loop = asyncio.get_running_loop()
    data = random.Random(side.seed).randbytes(side.size)
    side.digest_in = hashlib.sha256(data).digest()
    stop = side.size if side.reset_after is None else side.reset_after
    try:
        while side.wrote < side.size:
            piece = data[side.wrote : side.wrote + side.piece]
            if side.wrote < (side.urgent or 0):
                piece = piece[: (side.urgent or 0) - side.wrote]
            elif side.wrote == side.urgent:
                await send_urgent(sock, piece[:1])
                side.wrote += 1
                continue
            if side.wrote + len(piece) > stop:
                break
            last = side.wrote + len(piece) == side.size
            if last and side.cork:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            await loop.sock_sendall(sock, piece)
            side.wrote += len(piece)
        if side.reset_after is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
            await acknowledged(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise Reset
        if side.wait_for_end:
            await other_ended.wait()
        sock.shutdown(socket.SHUT_WR)
    except OSError as error:
        if error.errno not in CUT:
            raise
        side.end = "was reset"


async def acknowledged(sock: socket.socket) -> None:
    """Return when the peer has acknowledged everything: TCP has no event for that."""
    while unacknowledged(sock.fileno()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)  # poll: what is acknowledged


async def send_urgent(sock: socket.socket, octet: bytes) -> None:
    while True:
        try:
            sock.send(octet, socket.MSG_OOB)
        except BlockingIOError:
            await asyncio.sleep(0.001)  # poll: room in the queue
        else:
            return


async def read(sock: socket.socket, side: Side, ended: asyncio.Event) -> None:
    """Read to the end.  What comes first in the queue is peeked at, so that no mark is missed."""
    loop = asyncio.get_running_loop()
    digest = hashlib.sha256()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    try:
        while True:
            if side.pause:
                await asyncio.sleep(side.pause)  # time: a side that reads slowly
            first = await peek(sock)
            at = first and at_mark(sock.fileno())
            data = await loop.sock_recv(sock, 1 if at else 20_000 if side.pause else 1 << 18)
            if not data:
                return
            if at:
                side.marks.append(side.got)
            side.got += len(data)
            digest.update(data)
    finally:
        ended.set()
        side.digest_out = digest.digest()


async def peek(sock: socket.socket) -> bytes:
    """Return the first octet of the queue once there is one, b"" at the end of the stream."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    while True:
        try:
            return sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            readable.clear()
            loop.add_reader(sock, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(sock)


async def live(sock: socket.socket, side: Side) -> None:
    """Be one end of a session."""
    ended = asyncio.Event()
    with sock:
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(read(sock, side, ended))
                both.create_task(write(sock, side, ended))
        except* Reset:
            side.end = "reset it"
        except* OSError as errors:
            cut = all(isinstance(e, OSError) and e.errno in CUT for e in errors.exceptions)
            side.end = "was reset" if cut else repr(errors.exceptions)
        else:
            side.end = side.end or "closed"


@dataclass
class Case:
    client: Side
    server: Side
    port: int = 0
    """The client's."""
    source_port: int = 0
    """The one that the server sees."""
    connected: float = math.inf
    """When the client was, by the monotonic clock."""

    @classmethod
    def request(cls, chance: random.Random) -> Case:
        """A word, and a page back."""
        asked, told = chance.randint(1, 1000), chance.randint(1, 20_000)
        client = Side(asked, asked, chance.getrandbits(32))
        return cls(client, Side(told, told, chance.getrandbits(32), wait_for_end=True))

    @classmethod
    def bulk(cls, chance: random.Random, size: int) -> Case:
        """*size* bytes each way, as fast as they go."""
        client, server = (Side(size, 1 << 18, chance.getrandbits(32)) for _ in range(2))
        return cls(client, server)

    @classmethod
    def at_random(cls, chance: random.Random) -> Case:
        if chance.random() < 0.12:
            return cls(Side.urgent_in_bulk(chance), Side.urgent_in_bulk(chance))
        case = cls(Side.at_random(chance), Side.at_random(chance))
        if case.client.wait_for_end:
            case.server.wait_for_end = False  # or they would wait for each other
        return case

    @property
    def must_be_reset(self) -> bool:
        return self.client.reset_after is not None or self.server.reset_after is not None

    def check(self) -> None:
        assert {self.client.end, self.server.end} <= {"closed", "reset it", "was reset"}, self
        for one, other in ((self.client, self.server), (self.server, self.client)):
            if not self.must_be_reset:
                assert one.end == "closed", self
                assert one.digest_out == other.digest_in, self
                assert one.marks == ([] if other.urgent is None else [other.urgent]), self
            elif other.end == "reset it" and one.reset_after is None:
                assert (one.got, one.digest_out) == (other.wrote, other.digest()), self
            assert one.got <= other.size


class Abuse:
    """The cases, matched at the server by the number each client sends first."""

    def __init__(self, way: Way, cases: list[Case]) -> None:
        self.way = way
        self.cases = cases
        self.listener = way.listener()
        self.listener.setblocking(False)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.accept(tasks))
            for number in range(len(self.cases)):
                tasks.create_task(self.client(number))

    async def accept(self, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        for _ in self.cases:
            sock, _ = await loop.sock_accept(self.listener)
            sock.setblocking(False)
            tasks.create_task(self.server(sock))

    async def server(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with sock:
            number = b""
            while len(number) < 4:
                piece = await loop.sock_recv(sock, 4 - len(number))
                if not piece:
                    raise ConnectionAbortedError(f"the client has said {number!r} and no more")
                number += piece
            case = self.cases[int.from_bytes(number, "big")]
            case.source_port = sock.getpeername()[1]
            await loop.sock_sendall(sock, b"!")
            await live(sock, case.server)

    async def client(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        case = self.cases[number]
        sock: socket.socket = self.way.client.call(socket.socket, self.way.families[0])
        sock.setblocking(False)
        with sock:
            await loop.sock_connect(sock, (self.way.address, self.way.port))
            case.port, case.connected = sock.getsockname()[1], time.monotonic()
            try:
                await loop.sock_sendall(sock, number.to_bytes(4, "big"))
                assert await loop.sock_recv(sock, 1) == b"!"
            except ConnectionResetError:  # the server's reset may overtake its first word
                case.client.end = "was reset"
                return
            await live(sock, case.client)
