"""The server as clients see it: datagrams and streams, over both families."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import pytest
import uvloop

from faith.dns import listening, server
from faith.dns.endpoint import Endpoint
from faith.dns.name_service import Names
from faith.dns.options import Options, View
from faith.dns.server import QUERIES, Server
from faith.dns.tasks import Tasks
from faith.dns.upstream import Upstreams
from faith.dns.upstream_exchange import Exchange
from faith.translation.networks import Networks
from faith.translation.prefix import Prefix
from tests.dns.messages import query_wire, read, reply, reply_wire
from tests.dns.waiting import until
from tests.dns.zones import EXAMPLE, NameServer, Zones

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from faith.dns.answer import Answer
    from faith.dns.question import Question

VIEW = View((Prefix.parse("2001:db8:ffff::/96"),))
ZONE = f"""{EXAMPLE}v6 60 IN AAAA 2001:db8::80
v4 60 IN A 192.0.2.1
large 60 IN A 192.0.2.1
""" + "".join(f"large 60 IN A 192.0.2.{n}\n" for n in range(2, 91))


class Slow:
    """Servers that say the same after *delay* seconds, once they *may* do so."""

    def __init__(self, answer: Answer, delay: float = 0) -> None:
        self.answer = answer
        self.delay = delay
        self.asked = 0
        self.questions = asyncio.Semaphore(0)
        self.may = asyncio.Event()
        self.may.set()

    def ask(self, question: Question, done: Callable[[Answer], object]) -> asyncio.Task[None]:
        self.asked += 1
        self.questions.release()
        return asyncio.get_running_loop().create_task(self._say(done))

    async def _say(self, done: Callable[[Answer], object]) -> None:
        await self.may.wait()
        await asyncio.sleep(self.delay)
        done(self.answer)

    def comes_back(self, host: str, port: int) -> bool:
        return False


@asynccontextmanager
async def serving(
    servers: Slow | Upstreams,
    host: str = "::1",
    stale: int = 0,
    served: Networks | None = None,
) -> AsyncIterator[tuple[Server, int]]:
    """A server on a port of *host*, which comes along."""
    tasks = Tasks()
    names = Names(Options(VIEW.prefixes), served, servers, tasks, stale)
    found = Server(names, tasks)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        port = sock.getsockname()[1]
    await found.listen(listening.sockets(Endpoint(host, port)))
    try:
        yield found, port
    finally:
        await tasks.close()
        found.close()
        await asyncio.sleep(0)


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(10):
            await main()

    uvloop.run(limited())


async def ask(
    port: int, owner: str, kind: str = "AAAA", host: str = "::1", *, tcp: bool = False
) -> dns.message.Message:
    query = dns.message.make_query(owner, kind)
    how = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await how(query, host, port=port, timeout=3)


GOOD = reply("v6.example.", answer="v6.example. 60 IN AAAA 2001:db8::80")


@pytest.mark.parametrize("host", ["::1", "127.0.0.1"])
@pytest.mark.parametrize("tcp", [False, True])
def test_from_question_to_answer(host: str, tcp: bool) -> None:
    with NameServer(Zones(ZONE)) as zones:

        async def main() -> None:
            upstreams = Upstreams([Exchange(Endpoint(zones.host, zones.port))], Tasks())
            async with serving(upstreams, host) as (_, port):
                for _ in range(2):
                    message = await ask(port, "v4.example.", host=host, tcp=tcp)
                    assert [rrset.to_text() for rrset in message.answer] == [
                        "v4.example. 60 IN AAAA 2001:db8:ffff::c000:201"
                    ]
                message = await ask(port, "no.example.", host=host, tcp=tcp)
                assert message.rcode() == dns.rcode.NXDOMAIN
            upstreams.close()

        run(main)
    assert zones.handler.asked == [  # type: ignore[attr-defined]
        "v4.example. aaaa",
        "v4.example. a",
        "no.example. aaaa",
    ]


def test_large_answers_come_by_tcp_from_end_to_end() -> None:
    with NameServer(Zones(ZONE)) as zones:

        async def main() -> None:
            upstreams = Upstreams([Exchange(Endpoint(zones.host, zones.port))], Tasks())
            async with serving(upstreams) as (_, port):
                message = await ask(port, "large.example.")
                assert message.flags & dns.flags.TC
                message = await ask(port, "large.example.", tcp=True)
                assert len(message.answer[0]) == 90
            upstreams.close()

        run(main)
    assert zones.by_tcp == 1


class TestStreams:
    async def connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("::1", port)

    def test_rfc7766_6_2_1_1_queries_are_answered_as_their_answers_come(self) -> None:
        async def main() -> None:
            slow = Slow(GOOD, delay=0.1)
            async with serving(slow) as (_, port):
                reader, writer = await self.connect(port)
                for number, owner in enumerate(("v6.example.", "ipv4only.arpa.")):
                    writer.write(framed(query_wire(owner, id=number)))
                ids = [(await received(reader)).id for _ in range(2)]
                assert ids == [1, 0]
                writer.close()

        run(main)

    def test_any_split_of_the_octets_is_the_same(self) -> None:
        async def main() -> None:
            async with serving(Slow(GOOD)) as (_, port):
                reader, writer = await self.connect(port)
                for octet in framed(query_wire("v6.example.")) * 2:
                    writer.write(bytes([octet]))
                    await asyncio.sleep(0)
                for _ in range(2):
                    assert (await received(reader)).answer
                writer.close()

        run(main)

    def test_what_was_asked_before_the_end_is_answered(self) -> None:
        async def main() -> None:
            async with serving(Slow(GOOD, delay=0.05)) as (_, port):
                reader, writer = await self.connect(port)
                writer.write(framed(query_wire("v6.example.")))
                writer.write_eof()
                assert (await received(reader)).answer
                assert await reader.read() == b""
                writer.close()

        run(main)

    @pytest.mark.parametrize("octets", [b"\0\0", b"\0\5junk!", b"\0", b"\0\x20" + bytes(3)])
    def test_junk_ends_the_connection(self, octets: bytes) -> None:
        async def main() -> None:
            async with serving(Slow(GOOD)) as (_, port):
                reader, writer = await self.connect(port)
                writer.write(octets)
                writer.write_eof()
                assert await reader.read() == b""
                writer.close()

        run(main)

    def test_silence_ends_the_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "IDLE", 0.05)

        async def main() -> None:
            async with serving(Slow(GOOD)) as (_, port):
                reader, writer = await self.connect(port)
                assert await is_over(reader)
                writer.close()

        run(main)

    def test_there_are_not_too_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "STREAMS", 1)

        async def main() -> None:
            async with serving(Slow(GOOD)) as (_, port):
                first = await self.connect(port)
                first[1].write(framed(query_wire("v6.example.")))
                assert (await received(first[0])).answer
                second = await self.connect(port)
                assert await is_over(second[0])
                for _, writer in (first, second):
                    writer.close()

        run(main)

    def test_of_one_client_no_more_than_there_is_left(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "STREAMS", 3)

        async def main() -> None:
            async with serving(Slow(GOOD), "127.0.0.1") as (_, port):
                streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
                for reader, writer in streams[:2]:
                    writer.write(framed(query_wire("v6.example.")))
                    assert (await received(reader)).answer
                assert await is_over(streams[2][0])
                query = dns.message.make_query("v6.example.", "AAAA")
                other = dns.asyncquery.tcp(query, "127.0.0.1", 3, port, source="127.0.0.2")
                assert (await other).answer
                for _, writer in streams:
                    writer.close()

        run(main)

    def test_but_a_silent_one_gives_way_to_another(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "STREAMS", 3)
        monkeypatch.setattr(server, "STREAM_JOSTLE", 0)

        async def main() -> None:
            async with serving(Slow(GOOD), "127.0.0.1") as (_, port):
                streams = []
                for _ in range(3):
                    streams.append(await asyncio.open_connection("127.0.0.1", port))
                    reader, writer = streams[-1]
                    writer.write(framed(query_wire("v6.example.")))
                    assert (await received(reader)).answer
                assert await is_over(streams[1][0])
                for _, writer in streams:
                    writer.close()

        run(main)

    def test_strangers_have_none(self) -> None:
        async def main() -> None:
            served = Networks(128, [(1, 128)])
            async with serving(Slow(GOOD), "127.0.0.1", served=served) as (_, port):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                assert await is_over(reader)
                writer.close()
                message = await ask(port, "v6.example.", host="127.0.0.1")
                assert message.rcode() == dns.rcode.REFUSED

        run(main)

    def test_who_never_reads_is_let_go(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also when there is nothing more to read from it."""
        monkeypatch.setattr(server, "IDLE", 0.3)
        texts = "\n".join(f'v6.example. 60 IN TXT "{n:0250}"' for n in range(200))
        large = reply("v6.example.", "TXT", answer=texts)

        async def main() -> None:
            async with serving(Slow(large)) as (found, port):
                with socket.socket(socket.AF_INET6) as sock:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    sock.setblocking(False)
                    loop = asyncio.get_running_loop()
                    await loop.sock_connect(sock, ("::1", port))
                    for number in range(QUERIES):
                        query = query_wire(f"n{number}.example.", "TXT")
                        await loop.sock_sendall(sock, framed(query))
                    sock.shutdown(socket.SHUT_WR)
                    await asyncio.sleep(0.1)
                    assert len(found._streams) == 1
                    await asyncio.sleep(1)
                    assert not found._streams

        run(main)

    def test_a_trickle_does_not_keep_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The time is for a message, not for an octet."""
        monkeypatch.setattr(server, "IDLE", 0.2)

        async def main() -> None:
            async with serving(Slow(GOOD)) as (_, port):
                reader, writer = await self.connect(port)
                began = time.monotonic()
                for octet in framed(query_wire("v6.example."))[:20]:
                    writer.write(bytes([octet]))
                    await asyncio.sleep(0.05)
                    if reader.at_eof() or writer.is_closing():
                        break
                assert await is_over(reader)
                assert time.monotonic() - began < 0.9
                writer.close()

        run(main)

    def test_nor_too_many_queries_of_one_at_a_time(self) -> None:
        async def main() -> None:
            slow = Slow(GOOD)
            slow.may.clear()
            async with serving(slow) as (_, port):
                reader, writer = await self.connect(port)
                for number in range(QUERIES + 20):
                    writer.write(framed(query_wire(f"n{number}.example.", "TXT", id=number)))
                for _ in range(QUERIES):
                    await slow.questions.acquire()
                await asyncio.sleep(0.1)
                assert slow.asked == QUERIES
                slow.may.set()
                for _ in range(QUERIES + 20):
                    await received(reader)
                writer.close()

        run(main)


class TestEnd:
    """What has come is answered; others may serve there already."""

    def test_queries_that_have_come_are_answered(self) -> None:
        async def main() -> None:
            slow = Slow(GOOD, delay=0.05)
            async with serving(slow) as (found, port):
                with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                    sock.setblocking(False)
                    sock.connect(("::1", port))
                    for number in range(3):  # which nobody has read yet
                        sock.send(query_wire(f"n{number}.example.", "TXT", id=number))
                    await found.finish()
                    assert len({sock.recv(4096)[:2] for _ in range(3)}) == 3
                    sock.send(query_wire("late.example."))
                    with pytest.raises(ConnectionRefusedError):
                        sock.recv(4096)
                assert slow.asked == 3

        run(main)

    def test_but_slow_ones_are_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "LINGER", 0.01)

        async def main() -> None:
            slow = Slow(GOOD)
            slow.may.clear()
            async with serving(slow) as (found, port):
                with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                    sock.connect(("::1", port))
                    sock.send(query_wire("v6.example."))
                    await found.finish()
                assert len(found.places) == 1
                assert slow.asked == 1

        run(main)


class TestTrouble:
    def test_a_reply_that_nothing_can_be_made_of_is_servfail(self) -> None:
        """With mapped addresses it would be longer than a message can be."""
        records = [f"v6.example. 60 IN A 192.0.{n >> 8}.{n & 255}" for n in range(3000)]
        large = reply("v6.example.", "A", answer="\n".join(records))

        async def main() -> None:
            async with serving(Slow(large)) as (_, port):
                message = await ask(port, "v6.example.")
                assert message.rcode() == dns.rcode.SERVFAIL

        run(main)

    def test_too_many_questions_fail_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "MISSES", 2)

        async def main() -> None:
            async with serving(Slow(GOOD, delay=0.5)) as (_, port):
                with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                    sock.setblocking(False)
                    sock.connect(("::1", port))
                    for number in range(4):
                        sock.send(query_wire(f"n{number}.example.", "TXT", id=number))
                    loop = asyncio.get_running_loop()
                    first = read(await loop.sock_recv(sock, 4096))
                    assert first.rcode() == dns.rcode.SERVFAIL

        run(main)

    def test_of_one_client_no_more_than_there_is_room_left(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another has room all the same; and attempts do not count."""
        monkeypatch.setattr(server, "MISSES", 8)

        async def main() -> None:
            slow = Slow(GOOD, delay=0.5)
            async with serving(slow, "127.0.0.1") as (found, port):
                with (
                    from_address("127.0.0.2", port) as crowd,
                    from_address("127.0.0.3", port) as one,
                ):
                    for number in range(10):
                        crowd.send(query_wire(f"n{number}.example.", "TXT", id=number))
                    await until(lambda: len(found.places) == 4)
                    rcodes = [read(await received_from(crowd)).rcode() for _ in range(6)]
                    assert rcodes == [dns.rcode.SERVFAIL] * 6
                    one.send(query_wire("one.example.", "TXT"))
                    assert read(await received_from(one)).rcode() == dns.rcode.NOERROR
                    answers = [read(await received_from(crowd)) for _ in range(4)]
                    assert {answer.rcode() for answer in answers} == {dns.rcode.NOERROR}
                    assert not found.places

        run(main)

    def test_what_is_slow_gives_way_to_what_may_be_quick(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "MISSES", 8)
        monkeypatch.setattr(server, "JOSTLE", 0.05)

        async def main() -> None:
            slow = Slow(GOOD, delay=3600)
            async with serving(slow, "127.0.0.1") as (found, port):
                with from_address("127.0.0.2", port) as sock:
                    for number in range(4):
                        sock.send(query_wire(f"n{number}.example.", "TXT", id=number))
                    await until(lambda: len(found.places) == 4)
                    await asyncio.sleep(0.06)
                    slow.delay = 0
                    sock.send(query_wire("quick.example.", "TXT", id=100))
                    given_up = read(await received_from(sock))
                    assert given_up.rcode() == dns.rcode.SERVFAIL
                    assert 0 < given_up.id < 4, "the first of them runs to its end"
                    quick = read(await received_from(sock))
                    assert (quick.id, quick.rcode()) == (100, dns.rcode.NOERROR)
                    assert len(found.places) == 3

        run(main)

    def test_what_gives_way_is_not_asked_for_any_more(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Or a flood would be looked up all the same."""
        monkeypatch.setattr(server, "MISSES", 2)
        monkeypatch.setattr(server, "JOSTLE", 0)
        with NameServer(lambda query: None) as silent:

            async def main() -> None:
                tasks = Tasks()
                upstreams = Upstreams([Exchange(Endpoint(silent.host, silent.port))], tasks)
                async with serving(upstreams, "127.0.0.1") as (found, port):
                    with from_address("127.0.0.2", port) as sock:
                        for number in range(30):
                            sock.send(query_wire(f"n{number}.example.", "TXT", id=number))
                        for _ in range(29):
                            await received_from(sock)
                        assert len(found.places) == 1
                        assert len(found.names._resolver._table._asked) == 1
                upstreams.close()

            run(main)

    def test_what_comes_back_is_refused(self) -> None:
        """Of a server that forwards to us what we forward to it."""
        query = query_wire("www.example.", "TXT")

        async def main() -> None:
            with from_address("127.0.0.2", 0) as circular:
                tasks = Tasks()
                host, circular_port = circular.getsockname()
                upstreams = Upstreams([Exchange(Endpoint(host, circular_port))], tasks)
                async with serving(upstreams, "127.0.0.1") as (_, port):
                    with from_address("127.0.0.3", port) as one:
                        one.send(query)
                        await received_from(circular)
                        circular.sendto(query, ("127.0.0.1", port))
                        reply = read(await received_from(circular))
                        assert reply.rcode() == dns.rcode.REFUSED
                upstreams.close()

        run(main)

    def test_what_is_not_a_query_does_no_harm(self) -> None:
        async def main() -> None:
            async with serving(Slow(GOOD)) as (_, port):
                with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                    sock.connect(("::1", port))
                    for junk in (b"", b"\xff" * 11, b"\xff" * 5000, reply_wire("v6.example.")):
                        sock.send(junk)
                assert (await ask(port, "v6.example.")).answer

        run(main)

    def test_a_client_that_has_gone_does_no_harm(self) -> None:
        async def main() -> None:
            async with serving(Slow(GOOD, delay=0.05)) as (_, port):
                with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                    sock.connect(("::1", port))
                    sock.send(query_wire("v6.example."))
                await asyncio.sleep(0.1)
                assert (await ask(port, "v6.example.")).answer

        run(main)

    def test_a_connection_that_was_reset_at_once_does_no_harm(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main() -> None:
            async with serving(Slow(GOOD)) as (_, port):
                for _ in range(20):
                    with socket.create_connection(("::1", port)) as sock:
                        linger = struct.pack("ii", 1, 0)
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                assert (await ask(port, "v6.example.", tcp=True)).answer

        run(main)
        assert not caplog.records

    def test_sockets_can_be_given_up(self) -> None:
        async def main() -> None:
            async with serving(Slow(GOOD)) as (found, port):
                found.forget([*found._datagrams, *found._servers])
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection("::1", port)

        run(main)


class TestStale:
    """RFC 8767 §5."""

    @pytest.mark.parametrize("slow", [False, True])
    def test_when_refreshing_fails_or_takes_long(
        self, slow: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "STALE_AFTER", 0.1)
        short = reply("v6.example.", answer="v6.example. 1 IN AAAA 2001:db8::80")
        servers = Slow(short)

        async def main() -> None:
            async with serving(servers, stale=60) as (_, port):
                await ask(port, "v6.example.")
                await asyncio.sleep(1.1)
                servers.answer = reply("v6.example.", rcode="SERVFAIL") if not slow else GOOD
                if slow:
                    servers.may.clear()
                assert (await ask(port, "v6.example.")).answer[0].ttl == 30
                servers.may.set()
                if slow:  # it was refreshed all the same
                    while (await ask(port, "v6.example.")).answer[0].ttl <= 30:
                        pass

        run(main)

    def test_not_when_it_succeeds(self) -> None:
        servers = Slow(reply("v6.example.", answer="v6.example. 1 IN AAAA 2001:db8::80"))

        async def main() -> None:
            async with serving(servers, stale=60) as (_, port):
                await ask(port, "v6.example.")
                await asyncio.sleep(1.1)
                servers.answer = GOOD
                assert (await ask(port, "v6.example.")).answer[0].ttl == 60

        run(main)


def from_address(host: str, port: int) -> socket.socket:
    """A socket bound there, that leads to *port* of the server, unless that is 0."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((host, 0))
    if port:
        sock.connect(("127.0.0.1", port))
    return sock


async def received_from(sock: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(sock, 4096)


async def is_over(reader: asyncio.StreamReader) -> bool:
    """Wait for the end of a connection, or its reset."""
    try:
        return not await reader.read()
    except ConnectionResetError:
        return True


def framed(message: bytes) -> bytes:
    return struct.pack("!H", len(message)) + message


async def received(reader: asyncio.StreamReader) -> dns.message.Message:
    (length,) = struct.unpack("!H", await reader.readexactly(2))
    return read(await reader.readexactly(length))
