"""The sockets to a server by themselves; test_upstream_exchange.py has a whole server there."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from faith.dns.datagrams import Datagrams
from faith.dns.dns_timers import Timers
from faith.dns.endpoint import Endpoint
from faith.dns.request import Request
from tests.dns.messages import question
from tests.dns.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.dns.request import Place

HOST = "127.0.0.1"


class Asking:
    """A request, and what became of it."""

    def __init__(self) -> None:
        self.request = Request(question("www.example."))
        self.where: Place | None = None
        self.id = 0
        self.replies: list[bytes] = []
        self.errors: list[OSError] = []

    def received(self, reply: bytes) -> None:
        self.replies.append(reply)

    def failed(self, error: OSError) -> None:
        self.errors.append(error)

    def may_repeat(self) -> bool:
        return False


@contextmanager
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        sock.settimeout(5)
        yield sock


def run(main: Callable[[Datagrams, socket.socket], object]) -> None:
    async def limited() -> None:
        timers = Timers()
        with server() as sock, closing(Datagrams(Endpoint(*sock.getsockname()), timers)) as found:
            await asyncio.wait_for(main(found, sock), 10)  # type: ignore[arg-type]
        timers.close()

    asyncio.run(limited())


def answered(query: bytes) -> bytes:
    return query[:2] + bytes([query[2] | 0x80]) + query[3:]


def test_a_reply_is_for_who_has_its_id() -> None:
    async def main(found: Datagrams, sock: socket.socket) -> None:
        askings = [Asking() for _ in range(3)]
        for asking in askings:
            found.send(asking)
        received = [sock.recvfrom(512) for _ in askings]
        assert sorted(int.from_bytes(query[:2], "big") for query, _ in received) == sorted(
            asking.id for asking in askings
        )
        for query, source in reversed(received):
            sock.sendto(answered(query), source)
        await until(lambda: all(asking.replies for asking in askings))
        for asking in askings:
            assert [int.from_bytes(reply[:2], "big") for reply in asking.replies] == [asking.id]

    run(main)


def test_what_answers_nothing_is_dropped() -> None:
    async def main(found: Datagrams, sock: socket.socket) -> None:
        asking = Asking()
        found.send(asking)
        query, source = sock.recvfrom(512)
        reply = answered(query)
        with server() as other:
            other.sendto(reply, source)
        for wrong in (b"", reply[:11], query, bytes([reply[0] ^ 1]) + reply[1:]):
            sock.sendto(wrong, source)
        sock.sendto(reply, source)
        sock.sendto(reply, source)
        await until(lambda: asking.replies)
        assert asking.replies == [reply]

    run(main)


def test_who_gave_up_gets_nothing() -> None:
    async def main(found: Datagrams, sock: socket.socket) -> None:
        asking, other = Asking(), Asking()
        found.send(asking)
        assert asking.where
        asking.where.give_up(asking)
        query, source = sock.recvfrom(512)
        sock.sendto(answered(query), source)
        found.send(other)
        query, source = sock.recvfrom(512)
        sock.sendto(answered(query), source)
        await until(lambda: other.replies)
        assert not asking.replies

    run(main)


def test_its_sockets_are_known_by_their_addresses() -> None:
    async def main(found: Datagrams, sock: socket.socket) -> None:
        assert not found.is_own(HOST)
        found.send(Asking())
        _, (host, port) = sock.recvfrom(512)
        assert found.is_own(host, port)
        assert found.is_own(host)
        assert not found.is_own(host, sock.getsockname()[1])
        assert not found.is_own("127.0.0.2", port)

    run(main)


@pytest.mark.parametrize("times", [1, 2])
def test_a_port_where_nobody_is_fails(times: int) -> None:
    async def main(found: Datagrams, sock: socket.socket) -> None:
        sock.close()
        for _ in range(times):
            asking = Asking()
            found.send(asking)
            await until(lambda asking=asking: asking.errors)  # type: ignore[misc]
            assert isinstance(asking.errors[0], ConnectionRefusedError)

    run(main)
