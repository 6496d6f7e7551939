"""Hundreds of ill-behaved sessions at once: no byte is lost, none is stuck, nothing stays open."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import random
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from tests.faithd import Faithd

if TYPE_CHECKING:
    from faith.lab import ThreeHosts

pytestmark = pytest.mark.netns

SESSIONS = int(os.environ.get("FAITH_ABUSE_SESSIONS", "150"))
"""How many at once: docs/benchmarks.rst has a run with 500."""
PORT = 7
SECONDS = 60


@dataclass
class Side:
    """What one end does: writes *size* bytes in *piece*s, and how it reads, pauses and ends."""

    size: int
    piece: int
    pause: float  # before every read
    cork: bool  # the last data and the FIN leave in one segment
    reset_after: int | None  # bytes written before it aborts
    wait_for_end: bool  # it ends its own stream only when the other's has ended
    seed: int
    wrote: int = 0
    got: int = 0
    digest_in: bytes = b""
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


CUT = (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN)
"""What a system call says of a connection that the other end has aborted."""


class Reset(Exception):
    """This end has aborted the connection on purpose."""


async def write(sock: socket.socket, side: Side, other_ended: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    data = random.Random(side.seed).randbytes(side.size)
    side.digest_in = hashlib.sha256(data).digest()
    while side.wrote < side.size:
        piece = data[side.wrote : side.wrote + side.piece]
        if side.reset_after is not None and side.wrote + len(piece) > side.reset_after:
            break
        last = side.wrote + len(piece) == side.size
        if last and side.cork:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        await loop.sock_sendall(sock, piece)
        side.wrote += len(piece)
    if side.reset_after is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Reset
    if side.wait_for_end:
        await other_ended.wait()
    sock.shutdown(socket.SHUT_WR)


async def read(sock: socket.socket, side: Side, ended: asyncio.Event) -> bytes:
    loop = asyncio.get_running_loop()
    digest = hashlib.sha256()
    while True:
        if side.pause:
            await asyncio.sleep(side.pause)
        data = await loop.sock_recv(sock, 20_000 if side.pause else 1 << 18)
        if not data:
            ended.set()
            return digest.digest()
        side.got += len(data)
        digest.update(data)


async def live(sock: socket.socket, side: Side) -> bytes:
    """Be one end of a session; returns the digest of what was read, if it came to its end."""
    ended = asyncio.Event()
    with sock:
        try:
            async with asyncio.TaskGroup() as both:
                reading = both.create_task(read(sock, side, ended))
                both.create_task(write(sock, side, ended))
        except* Reset:
            side.end = "reset it"
        except* OSError as errors:
            cut = all(isinstance(e, OSError) and e.errno in CUT for e in errors.exceptions)
            side.end = "was reset" if cut else repr(errors.exceptions)
        else:
            side.end = "closed"
            return reading.result()
    return b""


@dataclass
class Case:
    client: Side
    server: Side
    client_read: bytes = b""
    server_read: bytes = b""

    @classmethod
    def at_random(cls, chance: random.Random) -> Case:
        case = cls(Side.at_random(chance), Side.at_random(chance))
        if case.client.wait_for_end:
            case.server.wait_for_end = False  # or they would wait for each other
        return case

    @property
    def must_be_reset(self) -> bool:
        return self.client.reset_after is not None or self.server.reset_after is not None

    def check(self) -> None:
        assert {self.client.end, self.server.end} <= {"closed", "reset it", "was reset"}
        if not self.must_be_reset:
            assert (self.client.end, self.server.end) == ("closed", "closed")
            assert self.server_read == self.client.digest_in
            assert self.client_read == self.server.digest_in
        assert self.server.got <= self.client.size
        assert self.client.got <= self.server.size


class Abuse:
    """The cases, matched at the server by the number each client sends first."""

    def __init__(self, lab: ThreeHosts, cases: list[Case]) -> None:
        self.lab = lab
        self.cases = cases
        self.listener: socket.socket = lab.server.call(socket.create_server, ("", PORT))
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
        number = b""
        while len(number) < 4:
            number += await loop.sock_recv(sock, 4 - len(number))
        case = self.cases[int.from_bytes(number, "big")]
        await loop.sock_sendall(sock, b"!")
        case.server_read = await live(sock, case.server)

    async def client(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        case = self.cases[number]
        sock: socket.socket = self.lab.client.call(socket.socket, socket.AF_INET6)
        sock.setblocking(False)
        await loop.sock_connect(sock, (self.lab.mapped(), PORT))
        await loop.sock_sendall(sock, number.to_bytes(4, "big"))
        assert await loop.sock_recv(sock, 1) == b"!"
        case.client_read = await live(sock, case.client)


def descriptors(faithd: Faithd) -> list[int]:
    return [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in faithd.workers]


@pytest.mark.parametrize("seed", [1, 3142])
def test_no_byte_is_lost_under_abuse(lab: ThreeHosts, tmp_path: Path, seed: int) -> None:
    faithd = Faithd(lab.gateway, tmp_path / "log", "-P", lab.prefix, str(PORT))
    faithd.wait_said("serving")
    # A worker's loop opens two when it begins to run, which can be after "serving".
    wait_until(lambda: len(set(descriptors(faithd))) == 1, 5, "both workers' loops")
    before = descriptors(faithd)
    chance = random.Random(seed)
    cases = [Case.at_random(chance) for _ in range(SESSIONS)]
    abuse = Abuse(lab, cases)

    async def bounded() -> None:
        async with asyncio.timeout(SECONDS):
            await abuse.run()

    with abuse.listener:
        asyncio.run(bounded())
    for case in cases:
        case.check()
    kept = sum(not case.must_be_reset for case in cases)
    assert kept > SESSIONS / 2, "most sessions are to show that nothing is lost"
    wait_until(lambda: faithd.said.count("end=") == SESSIONS, 10, "a record of every session")
    assert faithd.said.count("end=closed") >= kept
    assert descriptors(faithd) == before
    assert faithd.stop() == 0
