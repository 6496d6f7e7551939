"""TCP to one server, of good habits and of odd ones."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import dns.message
import dns.rrset
import pytest
import uvloop

from faith.dns import streams
from faith.dns.endpoint import Endpoint
from faith.dns.streams import CONNECTIONS
from faith.dns.tasks import Tasks
from faith.dns.upstream_exchange import Exchange
from tests.dns.messages import lines, question, read
from tests.dns.waiting import result_of, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from faith.dns.answer import Answer
    from faith.dns.question import Question

SLOW = question("slow.example.")


def ignored(result: object) -> None:
    """What it is does not matter."""


def quick(number: int) -> Question:
    return question(f"n{number}.example.")


class Server:
    """A server on a loopback address: what it does with a connection, *serve* says."""

    def __init__(self, serve: Callable[[Server, Any, Any], Awaitable[None]]) -> None:
        self.connections = 0
        self.asked = 0
        self._serve = serve
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> Endpoint:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        return Endpoint(*self._server.sockets[0].getsockname()[:2])

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        with suppress(EOFError, ConnectionError):
            await self._serve(self, reader, writer)
        writer.close()

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        (length,) = (await reader.readexactly(2),)
        query = await reader.readexactly(int.from_bytes(length, "big"))
        self.asked += 1
        return query

    def answer(self, writer: asyncio.StreamWriter, query: bytes) -> None:
        reply = dns.message.make_response(read(query))
        owner = reply.question[0].name
        reply.answer.append(dns.rrset.from_text(owner, 60, "IN", "AAAA", "2001:db8::80"))
        wire = reply.to_wire()
        writer.write(len(wire).to_bytes(2, "big") + wire)

    def close(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()


def asked_since(server: Server, before: int) -> bool:
    return server.asked > before


def is_slow(query: bytes) -> bool:
    return query[12:].lower().startswith(b"\4slow")


async def out_of_order(server: Server, reader: Any, writer: Any) -> None:
    """Answers what is quick, in reverse, and nothing else."""
    while True:
        waiting = [await server.read(reader)]
        await asyncio.sleep(0.01)  # time: the server's pace
        while len(reader._buffer) > 2:
            waiting.append(await server.read(reader))
        for query in reversed(waiting):
            if not is_slow(query):
                server.answer(writer, query)


async def in_order(server: Server, reader: Any, writer: Any) -> None:
    """Does nothing else as long as something is slow."""
    while True:
        query = await server.read(reader)
        if is_slow(query):
            await asyncio.sleep(3600)  # time: the server's pace
        server.answer(writer, query)


async def one_each(server: Server, reader: Any, writer: Any) -> None:
    """Ends each connection after an answer."""
    server.answer(writer, await server.read(reader))


async def none_at_all(server: Server, reader: Any, writer: Any) -> None:
    """Ends each connection instead of an answer."""
    await server.read(reader)


async def late(server: Server, reader: Any, writer: Any) -> None:
    """Answers everything twice: a while later, and when there is nothing to answer."""
    while True:
        query = await server.read(reader)
        await asyncio.sleep(0.05)  # time: the server's pace
        server.answer(writer, query)


def run(
    serve: Callable[[Server, Any, Any], Awaitable[None]],
    main: Callable[[Callable[[Question], Awaitable[Answer]], Server, Exchange], Awaitable[None]],
) -> Server:
    """Do *main* with who asks such a server by TCP alone."""

    async def limited() -> Server:
        server = Server(serve)
        endpoint = await server.start()
        tasks = Tasks()
        exchange = Exchange(endpoint, tasks=tasks)
        assert exchange.datagrams
        exchange.datagrams.close()
        exchange.datagrams = None
        try:
            async with asyncio.timeout(10):
                await main(lambda asked: result_of(exchange.ask, asked), server, exchange)
        finally:
            await tasks.close()
            exchange.close()
            server.close()
            await asyncio.sleep(0.01)  # time: the server's pace
        return server

    return uvloop.run(limited())


def test_rfc7766_6_2_1_1_slow_questions_stop_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many: each waits for itself alone, and they share a connection."""
    monkeypatch.setattr(streams, "STALL", 60)  # a machine under load is no server that stalls

    async def main(ask: Any, server: Server, exchange: Exchange) -> None:
        waiting = [exchange.ask(SLOW, ignored) for _ in range(100)]
        answers = await asyncio.gather(*(ask(quick(number)) for number in range(100)))
        assert [lines(answer) for answer in answers] == [
            [f"n{number}.example. 60 IN AAAA 2001:db8::80"] for number in range(100)
        ]
        for each in waiting:
            each.cancel()

    assert run(out_of_order, main).connections == 1


def test_who_lets_them_wait_in_line_gets_more_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STALL", 0.05)

    async def main(ask: Any, server: Server, exchange: Exchange) -> None:
        for count in range(1, 6):
            before = server.asked
            exchange.ask(SLOW, ignored)
            await until(partial(asked_since, server, before))
            await asyncio.sleep(0.06)  # time: the server's silence
            assert lines(await ask(quick(count)))

    assert 1 < run(in_order, main).connections <= CONNECTIONS


def test_but_not_more_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STALL", -1)

    async def main(ask: Any, server: Server, exchange: Exchange) -> None:
        for _ in range(CONNECTIONS + 5):
            exchange.ask(SLOW, ignored)
        await until(lambda: server.asked >= CONNECTIONS)

    assert run(in_order, main).connections == CONNECTIONS


def test_who_ends_each_connection_gets_one_for_each_question() -> None:
    async def main(ask: Any, server: Server, exchange: Exchange) -> None:
        for _ in range(2):
            answers = await asyncio.gather(*(ask(quick(number)) for number in range(40)))
            assert all(lines(answer) for answer in answers)

    server = run(one_each, main)
    assert server.connections <= 40 + 40 + 1


async def restarted(server: Server, reader: Any, writer: Any) -> None:
    """Ends the first connection after an answer, and is of good habits ever after."""
    await (one_each if server.connections == 1 else out_of_order)(server, reader, writer)


def test_who_was_restarted_is_asked_by_one_as_before() -> None:
    async def main(ask: Any, server: Server, exchange: Exchange) -> None:
        for _ in range(2):
            answers = await asyncio.gather(*(ask(quick(number)) for number in range(40)))
            assert all(lines(answer) for answer in answers)

    assert run(restarted, main).connections == 2


def test_an_answer_that_never_comes_is_no_reason_for_more_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "STALL", 0.05)

    async def main(ask: Any, server: Server, exchange: Exchange) -> None:
        for number in range(5):
            exchange.ask(SLOW, ignored).cancel()
            await asyncio.sleep(0.06)  # time: the server's pace
            assert lines(await ask(quick(number)))

    assert run(out_of_order, main).connections == 1


def test_who_answers_nothing_fails_at_once() -> None:
    async def main(ask: Any, server: Server, exchange: Exchange) -> None:
        with pytest.raises(ConnectionResetError):
            await ask(quick(0))

    assert run(none_at_all, main).connections == 1


def test_a_reply_that_nobody_waits_for_any_more_does_no_harm() -> None:
    async def main(ask: Any, server: Server, exchange: Exchange) -> None:
        given_up = exchange.ask(quick(0), ignored)
        await until(lambda: server.asked)
        given_up.cancel()
        assert lines(await ask(quick(1)))

    assert run(late, main).connections == 1


def test_what_is_given_up_before_it_was_sent_is_forgotten() -> None:
    async def main(ask: Any, server: Server, exchange: Exchange) -> None:
        exchange.ask(quick(0), ignored).cancel()
        assert lines(await ask(quick(1)))

    run(out_of_order, main)


def test_a_connection_ends_when_there_is_nothing_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "IDLE", 0.05)

    async def main(ask: Any, server: Server, exchange: Exchange) -> None:
        assert lines(await ask(quick(0)))
        assert len(exchange.streams) == 1
        await until(lambda: not len(exchange.streams))
        assert lines(await ask(quick(1)))

    assert run(out_of_order, main).connections == 2


def test_what_waits_for_room_is_asked_when_there_is_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "QUESTIONS", 2)
    monkeypatch.setattr(streams, "CONNECTIONS", 1)

    async def main(ask: Any, server: Server, exchange: Exchange) -> None:
        dropped = [exchange.ask(quick(number), ignored) for number in range(5)]
        for each in dropped[2:]:
            each.cancel()
        answers = await asyncio.gather(*(ask(quick(number)) for number in range(5, 20)))
        assert all(lines(answer) for answer in answers)

    assert run(out_of_order, main).connections == 1
