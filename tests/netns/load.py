"""Sessions that stay: idle, talking, in transfer either way or both, half closed."""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tests.netns.way import Way

PORT = 2323
POOL = random.Random(6).randbytes(1 << 20)


class Load:
    """The sessions, and what became of them."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.kinds = (self.idle, self.echo, self.forth, self.back, self.both, self.half_closed)
        self.moved = 0
        self.upgraded = (0.0, 0.0)

    async def idle(
        self, client: socket.socket, server: socket.socket, chance: random.Random
    ) -> None:
        """Nothing, and then a word each way."""
        await self.over.wait()
        loop = asyncio.get_running_loop()
        for one, other in ((client, server), (server, client)):
            await loop.sock_sendall(one, b"still there?")
            assert await loop.sock_recv(other, 100) == b"still there?"

    async def echo(
        self, client: socket.socket, server: socket.socket, chance: random.Random
    ) -> None:
        """A word, and another back."""
        loop = asyncio.get_running_loop()
        while not self.over.is_set():
            await loop.sock_sendall(client, b"ping")
            assert await loop.sock_recv(server, 100) == b"ping"
            await loop.sock_sendall(server, b"pong")
            assert await loop.sock_recv(client, 100) == b"pong"
            await asyncio.sleep(chance.uniform(0.01, 0.1))  # time: the pace of a client

    async def forth(
        self, client: socket.socket, server: socket.socket, chance: random.Random
    ) -> None:
        """From the client, as it goes."""
        await self._move(client, server, chance)

    async def back(
        self, client: socket.socket, server: socket.socket, chance: random.Random
    ) -> None:
        """From the server."""
        await self._move(server, client, chance)

    async def both(
        self, client: socket.socket, server: socket.socket, chance: random.Random
    ) -> None:
        """Both ways at once."""
        await _all_of(self._move(client, server, chance), self._move(server, client, chance))

    async def half_closed(
        self, client: socket.socket, server: socket.socket, chance: random.Random
    ) -> None:
        """The client has ended; the server has not."""
        client.shutdown(socket.SHUT_WR)
        assert await asyncio.get_running_loop().sock_recv(server, 1) == b""
        await self._move(server, client, chance)

    async def bulk(
        self, client: socket.socket, server: socket.socket, chance: random.Random
    ) -> None:
        """From the client, as fast as it goes."""
        await self._move(client, server, chance, pause=0)

    async def _move(
        self, source: socket.socket, sink: socket.socket, chance: random.Random, pause: float = 0.3
    ) -> None:
        said, heard = hashlib.blake2b(), hashlib.blake2b()
        await _all_of(self._say(source, chance, pause, said), self._hear(sink, heard))
        assert heard.digest() == said.digest()

    async def _say(
        self, sock: socket.socket, chance: random.Random, pause: float, said: hashlib.blake2b
    ) -> None:
        loop = asyncio.get_running_loop()
        while not self.over.is_set():
            size = chance.choice([1, 1000, 16_000, 64_000]) if pause else 256_000
            start = chance.randrange(len(POOL) - size)
            data = POOL[start : start + size]
            await loop.sock_sendall(sock, data)
            said.update(data)
            self.moved += size
            await asyncio.sleep(chance.uniform(0, pause))  # time: the pace of a sender
        sock.shutdown(socket.SHUT_WR)

    async def _hear(self, sock: socket.socket, heard: hashlib.blake2b) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(sock, 1 << 18):
            heard.update(data)


async def _all_of(*jobs: Coroutine[Any, Any, None]) -> None:
    """Do them; when one fails, none of the others waits for a socket that is about to be closed.

    The loop would take the next socket of that number for the one it is waiting for.
    """
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(job)


def connections(
    way: Way, count: int, *, blocking: bool = False
) -> list[tuple[socket.socket, socket.socket]]:
    """Both ends of *count* connections through the gateway."""
    pairs = []
    with way.listener() as listener:
        listener.settimeout(10)
        for _ in range(count):
            client = way.connection()
            try:
                server, _ = listener.accept()
            except OSError:
                client.close()
                raise
            for sock in (client, server):
                sock.setblocking(blocking)
            pairs.append((client, server))
    return pairs
