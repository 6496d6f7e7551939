"""Sessions that go from one relay to another while their bytes flow: not one is lost."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import random
import socket
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from faith.kernel.sockets.tcp_sockets import cookie
from faith.relay.alg.data_listeners import DataListeners
from faith.relay.handover import Handover
from faith.relay.tcp import plane as plane_module
from faith.relay.tcp.accounting import Accounting
from faith.relay.tcp.listener import Listener, Reserve
from faith.relay.tcp.plane import IN, Plane
from faith.relay.tcp.relay_counters import Counters
from faith.relay.tcp.routing import Route
from faith.relay.tcp.session import Leg, Session
from faith.relay.tcp.session_state import MOST_DESCRIPTORS
from faith.relay.tcp.timeouts import StageTimeouts
from tests.narrow import narrow_pair, reset
from tests.test_plane import PEER, tcp_pair

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterator


class Home:
    """As much of a relay as sessions see of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.counters = Counters()
        self.accounting = Accounting(self.counters)
        self.ended: list[Session] = []
        self.missed: list[Session] = []
        self.sockets: list[socket.socket] = []
        self.plane = Plane(loop, self._dialled, self._ended)
        self.dialling = StageTimeouts(loop, 10, self._missed)
        self.reserve = Reserve()
        self.data_listeners = DataListeners(self.plane, self._listener)
        self.handover = Handover(self.accounting, self.plane, self.dialling, self.data_listeners)

    def begin(
        self, pair: Callable[[], tuple[socket.socket, socket.socket]] = tcp_pair
    ) -> tuple[socket.socket, socket.socket, Session]:
        """The client's own end, the server's own end, and the session between them."""
        client, client_leg = pair()
        server, server_leg = pair()
        self.sockets += [client, server]
        session = Session(client_leg, server_leg, PEER, Route("::"), 1, self.loop.time())
        self.accounting.begun(session)
        self.dialling.add(session, session.started)
        self.plane.dial(session.server)
        return client, server, session

    def start(
        self, pair: Callable[[], tuple[socket.socket, socket.socket]] = tcp_pair
    ) -> tuple[socket.socket, socket.socket, Session]:
        """The same, with the server connected."""
        client, server, session = self.begin(pair)
        self.dialling.remove(session)
        self.plane.start(session.server, IN)
        return client, server, session

    @property
    def open_sessions(self) -> int:
        return self.accounting.open_sessions

    def _listener(self, sock: _socket.socket) -> Listener:
        return Listener(sock, lambda fd, peer: os.close(fd), lambda *about: None, self.reserve)

    def _dialled(self, leg: Leg, mask: int) -> None:
        self.dialling.remove(leg.session)
        self.plane.start(leg, mask)

    def _missed(self, session: Session) -> None:
        self.missed.append(session)
        self.plane.end(session, "timeout", reset=True)

    def _ended(self, session: Session) -> None:
        self.accounting.ended(session)
        self.ended.append(session)

    def close(self) -> None:
        for session in self.dialling.sessions() + self.plane.sessions():
            self.plane.end(session, "test over", reset=True)
        self.dialling.close()
        self.plane.close()
        self.data_listeners.close()
        self.reserve.close()
        for sock in self.sockets:
            sock.close()


def move(source: Home, target: Home, room: int = 253) -> int:
    """Hand one lot over, as text and descriptors; how many there were."""
    states, descriptors = source.handover.give(room)
    assert len(descriptors) <= room
    target.handover.adopt(json.loads(json.dumps(states)), descriptors)
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
            await asyncio.sleep(self.chance.choice([0, 0, 0, 0.01]))  # time: a speaker's pace
        self.ends[number].shutdown(socket.SHUT_WR)

    async def _listen(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self.chance.choice([0, 0.05, 0.2]))  # time: one late to listen
        while data := await loop.sock_recv(self.ends[number], 1 << 18):
            self.heard[1 - number].update(data)
            if self.chance.random() < 0.2:
                await asyncio.sleep(0.005)  # time: a slow listener

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
            await asyncio.sleep(chance.choice([0, 0.002, 0.01]))  # time: moves at any moment

    async def play() -> None:
        over = asyncio.Event()
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            mover = group.create_task(move_to_and_fro(over))
            await asyncio.gather(*(talk.run() for talk in talks))
            while homes[0].open_sessions + homes[1].open_sessions:  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # poll: the end of the sessions
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
                await asyncio.sleep(0.001)  # poll: what the test waits for

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
    second.started += 5
    _, _, first = one.begin()
    one.dialling.remove(first)
    one.plane.hand_over(first)
    first.started -= 10
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


def test_children_of_two_givers_find_each_their_own_parent(
    homes: tuple[Home, Home], loop: asyncio.AbstractEventLoop
) -> None:
    """Two workers become one: what each calls its sessions is its own affair."""
    third = Home(loop)
    try:
        for number, giver in enumerate((homes[0], third), 1):
            _, _, parent = giver.start()
            _, _, child = giver.start()
            parent.port = child.port = number
            child.parent, parent.data = parent, 1
        for _ in range(2):
            for giver in (homes[0], third):
                assert move(giver, homes[1]) == 1
        children = [one for one in homes[1].plane.sessions() if one.parent]
        assert [child.parent.port for child in children if child.parent] == [1, 2]
        assert [child.port for child in children] == [1, 2]
    finally:
        third.close()


def test_what_came_is_forgotten_when_it_has_ended(homes: tuple[Home, Home]) -> None:
    one, other = homes
    _, _, parent = one.start()
    parent.data = 1
    one.start()
    assert move(one, other) == 2
    assert len(other.handover._parents) == 1, "only what others may name"
    for session in other.plane.sessions():
        other.plane.end(session, "test", reset=True)
    one.start()
    assert move(one, other) == 1
    assert not other.handover._parents


def test_a_lot_has_room_for_all_of_its_sessions_or_they_wait(homes: tuple[Home, Home]) -> None:
    """A session may have two sockets and two pipes of two ends each."""
    one, other = homes
    for _ in range(3):
        one.start()
    assert move(one, other, 5) == 0
    assert move(one, other, 6) == 1
    assert move(one, other, 8) == 2
    assert not one.open_sessions
    assert other.open_sessions == 3


def test_the_other_program_knows_the_stages_by_these_names(homes: tuple[Home, Home]) -> None:
    one, _ = homes
    assert not one.handover.left
    one.start()
    assert one.handover.left
    one.begin()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one.data_listeners.add(listener.dup())
    one.data_listeners.pause()
    stages = []
    for _ in range(2):
        states, descriptors = one.handover.give(253)
        stages += [state["stage"] for state in states]
        for descriptor in descriptors:
            os.close(descriptor)
    assert stages == ["flowing", "dialling", "listener"]
    assert not one.handover.left


def test_a_child_whose_parent_has_gone_can_go_once_more(homes: tuple[Home, Home]) -> None:
    """It was refused, taken back, and is handed over to another process later."""
    one, other = homes
    _, _, parent = one.start()
    _, _, child = one.start()
    child.parent = parent
    parent.data = 1
    assert move(one, other) == 1
    one.handover.adopt(*one.handover.give(253))
    assert move(one, other) == 1
    assert one.open_sessions == 0


def test_listeners_come_last(homes: tuple[Home, Home]) -> None:
    one, other = homes
    one.start()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one.data_listeners.add(listener.dup())
        one.data_listeners.pause()
        assert move(one, other) == 1
        other.data_listeners.pause()
        assert other.data_listeners.release() == []
        assert move(one, other) == 1
        other.data_listeners.pause()
        (descriptor,) = other.data_listeners.release()
        with socket.socket(fileno=descriptor) as taken:
            assert cookie(taken) == cookie(listener)
    assert move(one, other) == 0


def test_what_nobody_takes_can_be_taken_back(homes: tuple[Home, Home]) -> None:
    one, _ = homes
    client, server, _ = one.start()
    client.send(b"still ")
    one.handover.adopt(*one.handover.give(253))
    client.send(b"here")
    assert received(one, server, 10) == b"still here"
    assert one.open_sessions == one.counters.open == 1


@pytest.mark.parametrize("forth", [True, False])
def test_what_was_read_and_has_had_no_turn_to_be_passed_on_goes_along(
    homes: tuple[Home, Home], monkeypatch: pytest.MonkeyPatch, forth: bool
) -> None:
    """Nothing is left in the socket that the kernel could tell the other plane of."""
    monkeypatch.setattr(plane_module, "TURNS", 1)
    monkeypatch.setattr(plane_module, "ROUNDS", 1)
    one, other = homes
    client, server, session = one.start()
    until(one, lambda: session.server.quick)
    leg, source, sink = (
        (session.client, client, server) if forth else (session.server, server, client)
    )
    leg.quick = False
    source.send(b"on the way")
    one.plane._handle([(leg.fd, IN)])
    assert leg.held == b"on the way"
    session.server.watched = False  # or its room would wake the other plane, which is luck
    assert move(one, other) == 1
    assert received(other, sink, 10) == b"on the way"


def stop(home: Home, leg: Leg, source: socket.socket) -> int:
    """Write to *source* until *leg* is blocked; how many octets."""
    sent, quiet, chunk = 0, 0, bytes(5000)
    while quiet < 3 or (leg.held is None and not leg.piped):
        before = sent, leg.moved
        with contextlib.suppress(BlockingIOError):
            sent += source.send(chunk)
        home.loop.run_until_complete(asyncio.sleep(0.005))
        quiet = quiet + 1 if before == (sent, leg.moved) else 0
    return sent


@pytest.mark.parametrize("forth", [True, False])
@pytest.mark.parametrize("again", [True, False])
def test_a_reset_that_waits_goes_along(homes: tuple[Home, Home], forth: bool, again: bool) -> None:
    """With all that came before it, also when it goes to and fro."""
    one, other = homes
    client, server, session = one.start(narrow_pair)
    leg, source, sink = (
        (session.client, client, server) if forth else (session.server, server, client)
    )
    stop(one, leg, source)
    reset(source)
    until(one, lambda: leg.error)
    assert session.end is None
    for home, target in ((one, other), *(((other, one), (one, other)) if again else ())):
        assert move(home, target) == 1
        assert not home.plane._resets._waiting
        home.loop.run_until_complete(asyncio.sleep(0.01))
    got = bytearray()

    def over() -> bool:
        try:
            data = sink.recv(1 << 20)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
        got.extend(data)
        assert data, "a reset is no clean end"
        return False

    until(other, over)
    until(other, lambda: other.ended)
    (ended,) = other.ended
    assert ended.end == ("client reset" if forth else "server reset")
    assert sum(ended.moved) == len(got) > 0
    assert not one.ended


def test_a_reset_that_need_not_wait_is_due_where_it_arrives(homes: tuple[Home, Home]) -> None:
    one, other = homes
    _, _, session = one.start()
    session.server.error = errno.ETIMEDOUT
    session.server.eof = session.server.done = True
    move(one, other)
    until(other, lambda: other.ended)
    assert other.ended[0].end == "server timed out"


def test_a_pipe_goes_along_only_with_what_is_in_it(
    homes: tuple[Home, Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of a lot has its own descriptors there, and each pool its number of pipes."""
    monkeypatch.setattr(plane_module, "CHUNK", 4096)
    one, other = homes
    left = one.plane._pipes._left
    talks = [one.start(narrow_pair) for _ in range(3)]
    _, _, session = talks[0]
    session.client.pipe = one.plane._pipes.take()
    client, server, session = talks[1]
    sent = stop(one, session.client, client)
    while not session.client.piped:  # the last read was a short one
        sent -= len(received(one, server, 3000))
        sent += stop(one, session.client, client)
    states, descriptors = one.handover.give(253)
    assert len(descriptors) == 3 * 2 + 2
    assert one.plane._pipes._left == left - 1, "the empty one has stayed"
    other.handover.adopt(json.loads(json.dumps(states)), descriptors)
    assert other.plane._pipes._left == left - 1
    for number, (client, server, _) in enumerate(talks):
        if number == 1:
            assert received(other, server, sent) == bytes(sent)
        client.send(b"%d" % number)
        assert received(other, server, 1) == b"%d" % number


def test_no_descriptor_stays_behind(homes: tuple[Home, Home]) -> None:
    one, _ = homes
    _, _, session = one.start()
    sockets = {session.client.fd, session.server.fd}
    _, descriptors = one.handover.give(253)
    assert set(descriptors) == sockets
    for descriptor in descriptors:
        with pytest.raises(FileNotFoundError):
            one.plane._epoll.unregister(descriptor)
        os.close(descriptor)
    assert not one.plane.sessions()


def test_every_field_is_handed_over_or_known_not_to_be() -> None:
    """Whoever adds a field has to say what becomes of it."""
    as_text_or_descriptors = {"sock", "fd", "held", "pipe"}
    assert set(Leg.__slots__) == {*Leg.HANDED_OVER, *as_text_or_descriptors, "peer", "session"}
    of_its_own_kind = {"asked", "client", "server", "route", "parent"}
    made_anew = {"counted", "data", "end", "reset", "seat", "serial", "share"}
    assert set(Session.__slots__) == {*Session.HANDED_OVER, *of_its_own_kind, *made_anew}
