"""Sessions that go from one relay to another while their bytes flow: not one is lost."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import socket
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from faith.relay.handover import Handover
from faith.relay.tcp.leg import Leg
from faith.relay.tcp.plane import IN, Plane
from faith.relay.tcp.relay_counters import Counters
from faith.relay.tcp.routing import Route
from faith.relay.tcp.session import Session
from faith.relay.tcp.session_state import MOST_DESCRIPTORS
from faith.relay.tcp.timeouts import Deadlines
from tests.test_plane import PEER, tcp_pair

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterator


class Home:
    """As much of a relay as sessions see of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.open_sessions = 0
        self.counters = Counters()
        self.ended: list[Session] = []
        self.listening: list[_socket.socket] = []
        self.missed: list[Session] = []
        self.sockets: list[socket.socket] = []
        self.plane = Plane(loop, self._dialled, self._ended)
        self.dialling = Deadlines(loop, 0.2, self._missed)
        self.handover = Handover(self, self.plane, self.dialling)

    def begin(self) -> tuple[socket.socket, socket.socket, Session]:
        """The client's own end, the server's own end, and the session between them."""
        client, client_leg = tcp_pair()
        server, server_leg = tcp_pair()
        self.sockets += [client, server]
        session = Session(client_leg, server_leg, PEER, Route("::"), 1, self.loop.time())
        self.settle(session)
        self.dialling.add(session, session.started)
        self.plane.dial(session.server)
        return client, server, session

    def start(self) -> tuple[socket.socket, socket.socket, Session]:
        """The same, with the server connected."""
        client, server, session = self.begin()
        self.dialling.remove(session)
        self.plane.start(session.server, IN)
        return client, server, session

    def settle(self, session: Session) -> None:
        self.open_sessions += 1
        self.counters.opened()

    def forsake(self, session: Session) -> None:
        self.open_sessions -= 1
        self.counters.handed_over(session)

    def data_listeners(self) -> list[int]:
        listening, self.listening = self.listening, []
        return [sock.detach() for sock in listening]

    def listen_for_data(self, sock: _socket.socket) -> None:
        self.listening.append(sock)

    def _dialled(self, leg: Leg, mask: int) -> None:
        self.dialling.remove(leg.session)
        self.plane.start(leg, mask)

    def _missed(self, session: Session) -> None:
        self.missed.append(session)
        self.plane.end(session, "timeout", reset=True)

    def _ended(self, session: Session) -> None:
        self.open_sessions -= 1
        self.counters.ended(session)
        self.ended.append(session)

    def close(self) -> None:
        for session in self.dialling.sessions() + self.plane.sessions():
            self.plane.end(session, "test over", reset=True)
        self.dialling.close()
        self.plane.close()
        for sock in (*self.sockets, *self.listening):
            sock.close()


def move(source: Home, target: Home, room: int = 253) -> int:
    """Hand one lot over, as text and descriptors; how many there were."""
    states, descriptors = source.handover.give(room)
    assert len(descriptors) <= room
    target.handover.take(json.loads(json.dumps(states)), descriptors)
    return len(states)


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    made = uvloop.new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def homes(loop: asyncio.AbstractEventLoop) -> Iterator[tuple[Home, Home]]:
    made = Home(loop), Home(loop)
    yield made
    for home in made:
        home.close()


class Talk:
    """What both ends of one session say, and what arrives of it."""

    def __init__(self, client: socket.socket, server: socket.socket, seed: int) -> None:
        self.chance = random.Random(seed)
        self.ends = client, server
        self.said = [self.chance.randbytes(self.chance.choice([0, 7, 70_000, 3_000_000]))
                     for _ in range(2)]  # fmt: skip
        self.heard = [hashlib.sha256(), hashlib.sha256()]

    async def run(self) -> None:
        await asyncio.gather(*map(self._speak, range(2)), *map(self._listen, range(2)))
        for end in self.ends:
            end.close()

    async def _speak(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        data = memoryview(self.said[number])
        while data:
            size = self.chance.choice([1, 1000, 65536, 400_000])
            await loop.sock_sendall(self.ends[number], data[:size])
            data = data[size:]
            await asyncio.sleep(self.chance.choice([0, 0, 0, 0.01]))
        self.ends[number].shutdown(socket.SHUT_WR)

    async def _listen(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self.chance.choice([0, 0.05, 0.2]))
        while data := await loop.sock_recv(self.ends[number], 1 << 18):
            self.heard[1 - number].update(data)
            if self.chance.random() < 0.2:
                await asyncio.sleep(0.005)

    def check(self) -> None:
        for said, heard in zip(self.said, self.heard, strict=True):
            assert heard.digest() == hashlib.sha256(said).digest()


@pytest.mark.parametrize("seed", range(3))
def test_every_byte_and_every_end_arrives(homes: tuple[Home, Home], seed: int) -> None:
    talks = []
    for number in range(20):
        client, server, _ = homes[0].start()
        talks.append(Talk(client, server, 100 * seed + number))

    async def move_to_and_fro(over: asyncio.Event) -> None:
        chance = random.Random(seed)
        source, target = homes
        while not over.is_set():
            move(source, target, chance.choice([MOST_DESCRIPTORS, 40, 253]))
            if not source.open_sessions:
                source, target = target, source
            await asyncio.sleep(chance.choice([0, 0.002, 0.01]))

    async def play() -> None:
        over = asyncio.Event()
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            mover = group.create_task(move_to_and_fro(over))
            await asyncio.gather(*(talk.run() for talk in talks))
            while homes[0].open_sessions + homes[1].open_sessions:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            over.set()
            await mover

    homes[0].loop.run_until_complete(play())
    for talk in talks:
        talk.check()
    ended = homes[0].ended + homes[1].ended
    assert sorted(session.moved for session in ended) == sorted(
        (len(talk.said[0]), len(talk.said[1])) for talk in talks
    )
    assert {session.end for session in ended} == {"closed"}
    assert homes[0].counters.open == homes[1].counters.open == 0


def until(home: Home, done: Any) -> None:
    async def wait() -> None:
        async with asyncio.timeout(5):
            while not done():  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    home.loop.run_until_complete(wait())


def received(home: Home, sock: socket.socket, size: int) -> bytes:
    got = bytearray()

    def enough() -> bool:
        try:
            got.extend(sock.recv(size))
        except BlockingIOError:
            return False
        return len(got) >= size

    until(home, enough)
    return bytes(got)


def test_what_is_held_for_a_slow_peer_goes_along(homes: tuple[Home, Home]) -> None:
    one, other = homes
    client, server, session = one.start()
    sent, data = 0, os.urandom(30_000_000)
    view = memoryview(data)

    def stuck() -> bool:
        nonlocal sent
        before = sent
        with contextlib.suppress(BlockingIOError):
            sent += client.send(view[sent:])
        return sent == before and (session.client.piped > 0 or session.client.held is not None)

    until(one, stuck)
    assert move(one, other) == 1
    client.shutdown(socket.SHUT_WR)
    assert received(other, server, sent) == data[:sent]
    until(other, lambda: server.recv(1) == b"")
    server.close()
    until(other, lambda: other.ended)
    assert other.ended[0].moved == (sent, 0)


def test_where_a_client_of_ipv4_goes_is_not_forgotten(homes: tuple[Home, Home]) -> None:
    one, other = homes
    _, _, session = one.start()
    session.route = Route("192.0.2.102", "2001:db8:6::2", "2001:db8:ffff::c000:250", port=22)
    move(one, other)
    (session,) = other.plane.sessions()
    route = session.route
    assert (route.mapped, route.server, route.source, route.port) == (
        *("192.0.2.102", "2001:db8:6::2", "2001:db8:ffff::c000:250"),
        22,
    )


def test_an_urgent_byte_keeps_its_place(homes: tuple[Home, Home]) -> None:
    one, other = homes
    client, server, _ = one.start()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    client.send(b"before")
    client.send(b"!", socket.MSG_OOB)
    client.send(b"after")
    move(one, other)
    assert received(other, server, 12) == b"before!after"


def test_a_dial_goes_on_and_keeps_its_deadline(homes: tuple[Home, Home]) -> None:
    one, other = homes
    client, server, _ = one.begin()
    move(one, other)
    client.send(b"patience")
    assert received(other, server, 8) == b"patience"
    assert not other.dialling.sessions()


def test_the_deadline_of_a_dial_is_that_of_its_start(homes: tuple[Home, Home]) -> None:
    one, other = homes
    _, _, second = one.begin()
    other.plane.hand_over(second)  # as if nobody ever answered
    second.started += 0.1
    _, _, first = one.begin()
    one.dialling.remove(first)
    one.plane.hand_over(first)
    first.started -= 1
    one.dialling.adopt(first)
    until(one, lambda: one.missed)
    assert one.missed == [first]


def test_a_child_finds_its_parent_and_comes_after_it(homes: tuple[Home, Home]) -> None:
    one, other = homes
    _, _, parent = one.start()
    _, _, child = one.start()
    _, _, orphan = one.start()
    child.parent = parent
    orphan.parent, dead = Session.__new__(Session), "closed"
    orphan.parent.end = dead
    parent.data = 1
    assert move(one, other) == 1
    assert move(one, other) == 2
    there = other.plane.sessions()
    assert [session.data for session in there if session.parent is None] == [1]
    mothers = [session.parent for session in there if session.parent]
    assert sorted(mother is session for mother in mothers for session in there) == [
        *[False] * 4, True, True,
    ]  # fmt: skip


def test_a_child_whose_parent_has_gone_can_go_once_more(homes: tuple[Home, Home]) -> None:
    """It was refused, taken back, and is handed over to another process later."""
    one, other = homes
    _, _, parent = one.start()
    _, _, child = one.start()
    child.parent = parent
    parent.data = 1
    assert move(one, other) == 1
    one.handover.take(*one.handover.give(253))
    assert move(one, other) == 1
    assert one.open_sessions == 0


def test_listeners_come_last(homes: tuple[Home, Home]) -> None:
    one, other = homes
    one.start()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one.listen_for_data(socket.socket(fileno=os.dup(listener.fileno())))
    assert (move(one, other), len(other.listening)) == (1, 0)
    assert (move(one, other), len(other.listening)) == (1, 1)
    assert move(one, other) == 0


def test_what_nobody_takes_can_be_taken_back(homes: tuple[Home, Home]) -> None:
    one, _ = homes
    client, server, _ = one.start()
    client.send(b"still ")
    one.handover.take(*one.handover.give(253))
    client.send(b"here")
    assert received(one, server, 10) == b"still here"
    assert one.open_sessions == one.counters.open == 1


def test_every_field_is_handed_over_or_known_not_to_be() -> None:
    """Whoever adds a field has to say what becomes of it."""
    as_text_or_descriptors = {"sock", "fd", "held", "pipe"}
    assert set(Leg.__slots__) == {*Leg.HANDED_OVER, *as_text_or_descriptors, "peer", "session"}
    of_its_own_kind = {"client", "server", "route", "parent"}
    made_anew = {"counted", "data", "end", "reset", "seat", "serial"}
    assert set(Session.__slots__) == {*Session.HANDED_OVER, *of_its_own_kind, *made_anew}
