"""Whatever comes, from clients or from servers, over real sockets: nothing breaks, nobody gains.

The server listens on the loopback address, and asks a server whose words the tests put in its
mouth.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.message
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from faith.dns import listening, race
from faith.dns.endpoint import Endpoint
from faith.dns.name_service import Names
from faith.dns.options import Options
from faith.dns.server import Server
from faith.dns.tasks import Tasks
from faith.dns.upstream import Upstreams
from faith.dns.upstream_exchange import Exchange
from faith.translation.prefix import Prefix
from tests.dns.generated import names, reply_wires
from tests.dns.messages import name, query_wire, read
from tests.dns.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from hypothesis.strategies import DrawFn, SearchStrategy

HOST = "127.0.0.1"
QR = 0x80
SENTINEL = query_wire("ipv4only.arpa.", "A", id=0xBEEF)
"""It is answered at once, so what came before it has been read when its answer comes."""
TAIL = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\4\xc0\0\2\x01"
"""An A record of the name in the question."""
GOOD = ["192.0.2.1"]


class Mouth:
    """A server that says what `says` makes of each query, after somebody else has lied."""

    def __init__(self) -> None:
        self.says: Callable[[bytes], list[bytes]] = lambda query: [good(query)]
        self._own, self._strangers = (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            for _ in range(2)
        )
        self._own.bind((HOST, 0))
        self.port = self._own.getsockname()[1]

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.add_reader(self._own, self._asked)

    def _asked(self) -> None:
        query, source = self._own.recvfrom(65535)
        self._strangers.sendto(forged(query), source)
        for reply in self.says(query):
            self._own.sendto(reply, source)

    def close(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.remove_reader(self._own)
        self._own.close()
        self._strangers.close()


def good(query: bytes) -> bytes:
    """A reply with one A record, to whatever type."""
    end = query.index(0, 12) + 5
    return query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:end] + TAIL


def forged(query: bytes) -> bytes:
    """The same with another address: it must never reach a client."""
    return good(query)[:-4] + b"\6\6\6\6"


class World:
    """The server under test; what went wrong in it is in `trouble`."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self.trouble: list[str] = []
        self._loop.set_exception_handler(lambda _, context: self.trouble.append(str(context)))
        self.run(self._start())

    async def _start(self) -> None:
        self.mouth = Mouth()
        self.mouth.open(self._loop)
        self._tasks = Tasks()
        exchange = Exchange(Endpoint(HOST, self.mouth.port))
        self._upstreams = Upstreams([exchange], self._tasks)
        self._server = Server(self._names(), self._tasks)
        with socket.socket(socket.AF_INET) as sock:
            sock.bind((HOST, 0))
            self.address = sock.getsockname()
        await self._server.listen(listening.sockets(Endpoint(HOST, self.address[1])))

    def _names(self) -> Names:
        options = Options((Prefix.parse("2001:db8:ffff::/96"), Prefix.parse("2001:db8:fffe::/96")))
        return Names(options, None, self._upstreams, self._tasks)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(coroutine)

    def forget(self) -> None:
        """Begin anew, with an empty cache."""
        self.trouble.clear()
        self._server.names = self._names()

    async def settled(self) -> None:
        """Wait until no question is open."""
        await until(lambda: not self._server.places and not self._tasks._running)

    async def _close(self) -> None:
        await self._tasks.close()
        self._upstreams.close()
        self._server.close()
        self.mouth.close(self._loop)
        await asyncio.sleep(0)

    def close(self) -> None:
        self.run(self._close())
        self._loop.close()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(race, "DEADLINE", 0.06)
        patch.setattr(race, "PATIENCE", (0.05,))
        found = World()

        class Listening(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if record.levelno >= logging.ERROR:
                    found.trouble.append(record.getMessage())

        handler = Listening()
        logging.getLogger("faith").addHandler(handler)
        yield found
        logging.getLogger("faith").removeHandler(handler)
        found.close()


async def replies(world: World, message: bytes) -> list[bytes]:
    """All datagrams that come back for *message*, when nothing more can come."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect(world.address)
        loop = asyncio.get_running_loop()
        for datagram in (message, SENTINEL):
            sock.send(datagram)
        found: list[bytes] = []
        while not found or found[-1][:2] != SENTINEL[:2]:
            found.append(await asyncio.wait_for(loop.sock_recv(sock, 65535), 5))
        await world.settled()
        while True:
            try:
                found.append(sock.recv(65535))
            except BlockingIOError:
                return [reply for reply in found if reply[:2] != SENTINEL[:2]]


@st.composite
def damaged(draw: DrawFn, whole: SearchStrategy[bytes]) -> bytes:
    """A message with some octets replaced, cut out or put in, or none."""
    message = draw(whole)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(message)))
        end = min(len(message), at + draw(st.integers(0, 3)))
        message = message[:at] + draw(st.binary(max_size=4)) + message[end:]
    return message


queries = st.builds(
    query_wire,
    names.map(str),
    st.sampled_from(("A", "AAAA", "PTR", "ANY", "TXT", "DS")),
    st.sampled_from(("RD", "", "RD AD", "RD CD", "RD TC")),
    id=st.integers(0, 0xBEEE),
    use_edns=st.sampled_from((False, 0, 1)),
    payload=st.sampled_from((0, 511, 512, 700, 1232, 4096, 65535)),
    want_dnssec=st.booleans(),
)
anything = st.binary(max_size=600) | damaged(queries) | damaged(reply_wires("AAAA"))


def allowed(message: bytes) -> int:
    """The octets of a reply that the sender of *message* has said to take, and never above 1232."""
    try:
        query = read(message)
    except (dns.exception.DNSException, ValueError):
        return 1232
    return min(max(query.payload, 512), 1232) if query.edns >= 0 else 512


many = st.integers(1, 300).map(
    lambda count: (
        lambda query: [
            query[:2]
            + b"\x81\x80\0\1"
            + struct.pack("!HHH", count, 0, 0)
            + good(query)[12 : -len(TAIL)]
            + TAIL * count
        ]
    )
)


@settings(max_examples=150)
@given(anything, many)
def test_a_datagram_is_answered_once_or_not_and_never_beyond_its_limit(
    world: World, message: bytes, says: Callable[[bytes], list[bytes]]
) -> None:
    world.mouth.says = says
    world.forget()
    found = world.run(replies(world, message))
    assert not world.trouble
    if message[:2] == SENTINEL[:2]:
        return
    assert len(found) <= 1
    for reply in found:
        assert reply[:2] == message[:2]
        assert reply[2] & QR
        assert not message[2] & QR, "a reply must not be answered"
        assert len(reply) <= allowed(message)


@settings(max_examples=150)
@given(st.lists(anything, max_size=4), st.binary(max_size=3), st.data())
def test_a_stream_is_read_to_its_end_and_answered_in_frames(
    world: World, messages: list[bytes], rest: bytes, data: st.DataObject
) -> None:
    octets = b"".join(struct.pack("!H", len(message)) + message for message in messages) + rest
    cut = data.draw(st.integers(0, len(octets)))
    world.mouth.says = lambda query: [good(query)]
    world.forget()

    async def main() -> bytes:
        reader, writer = await asyncio.open_connection(*world.address)
        for part in (octets[:cut], octets[cut:]):
            writer.write(part)
            await asyncio.sleep(0)
        writer.write_eof()
        try:
            found = await asyncio.wait_for(reader.read(), 5)
        except ConnectionResetError:
            found = b""
        writer.close()
        await world.settled()
        return found

    found = world.run(main())
    assert not world.trouble
    ids = {message[:2] for message in messages if len(message) > 2 and not message[2] & QR}
    while found:
        (length,) = struct.unpack("!H", found[:2])
        reply, found = found[2 : 2 + length], found[2 + length :]
        assert len(reply) == length
        assert reply[:2] in ids
        assert reply[2] & QR


@settings(max_examples=100)
@given(
    st.sampled_from(("A", "AAAA", "PTR", "MX")),
    damaged(st.builds(lambda wire: wire[2:], reply_wires("A"))),
    st.booleans(),
)
def test_any_reply_of_a_server_becomes_an_answer_or_servfail(
    world: World, kind: str, octets: bytes, fitting: bool
) -> None:
    """It has the right id, and mostly the right question."""
    owner = "1.2.0.192.in-addr.arpa." if kind == "PTR" else "www.example."

    def says(query: bytes) -> list[bytes]:
        if not fitting:
            return [query[:2] + octets]
        end = query.index(0, 12) + 5
        return [query[:2] + b"\x81\x80\0\1" + octets[4:10] + query[12:end] + octets[10:]]

    world.mouth.says = says
    world.forget()
    found = world.run(replies(world, query_wire(owner, kind, id=7)))
    assert not world.trouble
    (reply,) = found
    assert reply[:2] == b"\0\7"
    assert len(reply) <= 512


def with_other_id(query: bytes) -> bytes:
    return bytes([query[0] ^ 1]) + forged(query)[1:]


def with_other_name(query: bytes) -> bytes:
    wire = forged(query)
    return wire[:12] + name("evil.example.") + wire[wire.index(0, 12) + 1 :]


def with_other_type(query: bytes) -> bytes:
    wire = bytearray(forged(query))
    wire[wire.index(0, 12) + 2] ^= 0x40
    return bytes(wire)


def as_a_query(query: bytes) -> bytes:
    wire = bytearray(forged(query))
    wire[2] &= ~QR
    return bytes(wire)


NOISE = [with_other_id, with_other_name, with_other_type, as_a_query, lambda query: query[:11]]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(NOISE), max_size=6))
def test_what_answers_something_else_is_dropped(
    world: World, noise: list[Callable[[bytes], bytes]]
) -> None:
    """Each time somebody else sends the right words from another port, too."""
    world.mouth.says = lambda query: [*(make(query) for make in noise), good(query)]
    world.forget()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(race, "DEADLINE", 5)  # the answer comes, on a machine under load as well
        (reply,) = world.run(replies(world, query_wire("www.example.", "A", id=7)))
    assert not world.trouble
    assert [str(rdata) for rrset in read(reply).answer for rdata in rrset] == GOOD
