"""The plane on real TCP connections over loopback: every byte, every end, every bound."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import socket
import struct
import time
from typing import TYPE_CHECKING

import pytest
import uvloop

from faith.kernel.sockets.tcp_sockets import reset
from faith.relay.tcp import plane as plane_module
from faith.relay.tcp.pipes import PIPE_SIZE
from faith.relay.tcp.plane import CHUNK, Plane
from faith.relay.tcp.routing import Route
from faith.relay.tcp.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.relay.tcp.listener import Peer

PEER: Peer = ("::1", 1, 0, 0)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection over loopback, with the options a listener of ours gives."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    for sock in (near, far):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    return near, far


class Bench:
    """A plane in a loop, and what it told."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.ended: list[Session] = []
        self.plane = Plane(loop, lambda leg, mask: None, self.ended.append)
        self.sockets: list[socket.socket] = []

    def session(
        self, pair: Callable[[], tuple[socket.socket, socket.socket]] = tcp_pair
    ) -> tuple[socket.socket, socket.socket, Session]:
        """The client's own end, the server's own end, and the session between them."""
        client, client_leg = pair()
        server, server_leg = pair()
        self.sockets += [client, server]
        session = Session(client_leg, server_leg, PEER, Route("::"), 1, self.loop.time())
        # The server's leg is watched from its connect on, as a dialled one is.
        self.plane.dial(session.server)
        self.plane.start(session.server, plane_module.IN)
        return client, server, session

    def until(self, done: Callable[[], bool], seconds: float = 10) -> None:
        """Run the loop until *done*, or fail."""

        async def wait() -> None:
            deadline = time.monotonic() + seconds
            while not done():
                assert time.monotonic() < deadline, "it did not happen"
                await asyncio.sleep(0.001)

        self.loop.run_until_complete(wait())

    def turn(self, seconds: float = 0.02) -> None:
        """Run the loop for a moment."""
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def read(self, sock: socket.socket, size: int) -> bytes:
        """Exactly *size* bytes from *sock*, or fewer when it ends."""
        got = bytearray()

        def enough() -> bool:
            try:
                data = sock.recv(size - len(got))
            except BlockingIOError:
                return False
            got.extend(data)
            return not data or len(got) == size

        self.until(enough)
        return bytes(got)

    def pour(self, source: socket.socket, sink: socket.socket, data: bytes, piece: int) -> bytes:
        """Write *data* to *source* in pieces and end it; what *sink* reads to its end."""
        view, got, over = memoryview(data), bytearray(), False
        sent = 0

        def step() -> bool:
            nonlocal sent, over
            if sent < len(view):
                with contextlib.suppress(BlockingIOError):
                    sent += source.send(view[sent : sent + piece])
                if sent == len(view):
                    source.shutdown(socket.SHUT_WR)
            try:
                while True:
                    part = sink.recv(1 << 20)
                    got.extend(part)
                    if not part:
                        return True
            except BlockingIOError:
                return False

        if not data:
            source.shutdown(socket.SHUT_WR)
        self.until(step, 30)
        return bytes(got)

    def close(self) -> None:
        for session in self.plane.sessions():
            self.plane.end(session, "test over", reset=True)
        self.plane.close()
        for sock in self.sockets:
            sock.close()


@pytest.fixture(params=["uvloop", "asyncio"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    loop = uvloop.new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop()
    made = Bench(loop)
    yield made
    made.close()
    loop.close()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5_000_000])
@pytest.mark.parametrize("forth", [True, False])
def test_every_byte_arrives_then_the_fin(bench: Bench, size: int, forth: bool) -> None:
    client, server, session = bench.session()
    source, sink = (client, server) if forth else (server, client)
    data = os.urandom(size)
    assert bench.pour(source, sink, data, 1 << 20) == data
    assert session.end is None, "the other direction goes on"
    assert bench.pour(sink, source, b"reply", 5) == b"reply"
    bench.until(lambda: bool(bench.ended))
    assert session.end == "closed"
    assert session.moved == ((size, 5) if forth else (5, size))


def test_fin_first_then_a_long_reply(bench: Bench) -> None:
    client, server, session = bench.session()
    client.shutdown(socket.SHUT_WR)
    assert bench.read(server, 1) == b""
    data = os.urandom(3_000_000)
    assert bench.pour(server, client, data, 70_000) == data
    bench.until(lambda: session.end == "closed")


def test_data_and_fin_in_one_segment(bench: Bench) -> None:
    client, server, _ = bench.session()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    client.send(b"last words")
    client.shutdown(socket.SHUT_WR)
    assert bench.read(server, 100) == b"last words"


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_reset_of_one_side_resets_the_other(bench: Bench, who: str) -> None:
    client, server, session = bench.session()
    one, other = (client, server) if who == "client" else (server, client)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()
    bench.until(lambda: bool(bench.ended))
    assert session.end == f"{who} reset"
    with pytest.raises(ConnectionResetError):
        bench.read(other, 1)


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_reset_after_a_half_close_is_seen(bench: Bench, who: str) -> None:
    client, server, session = bench.session()
    one, other = (client, server) if who == "client" else (server, client)
    one.shutdown(socket.SHUT_WR)
    assert bench.read(other, 1) == b""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()
    bench.until(lambda: bool(bench.ended))
    assert session.end == f"{who} reset"


def test_urgent_byte_keeps_its_place(bench: Bench) -> None:
    client, server, _ = bench.session()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 0)
    client.send(b"before")
    client.send(b"!", socket.MSG_OOB)
    client.send(b"after")
    assert bench.read(server, 6) == b"before"
    bench.until(lambda: _urgent(server) == b"!")
    assert bench.read(server, 5) == b"after"


def _urgent(sock: socket.socket) -> bytes:
    try:
        return sock.recv(1, socket.MSG_OOB)
    except OSError:
        return b""


@pytest.mark.parametrize("forth", [True, False])
def test_urgent_byte_in_the_middle_of_a_spliced_stream(bench: Bench, forth: bool) -> None:
    client, server, session = bench.session()
    source, sink = (client, server) if forth else (server, client)
    sink.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    before, after = os.urandom(2_000_000), os.urandom(2_000_000)
    script: list[tuple[bytes, int]] = [(before, 0), (b"!", socket.MSG_OOB), (after, 0)]
    got = bytearray()
    mark: list[int] = []

    def step() -> bool:
        if script:
            data, flags = script[0]
            try:
                sent = source.send(data, flags)
            except BlockingIOError:
                sent = 0
            script[0] = (data[sent:], flags)
            if sent == len(data):
                script.pop(0)
        if not script:
            source.shutdown(socket.SHUT_WR)
        if struct.unpack("i", _ioctl(sink, 0x8905))[0]:
            mark.append(len(got))
        try:
            part = sink.recv(50_000)
        except BlockingIOError:
            return False
        got.extend(part)
        return not part and not script

    bench.until(step, 30)
    assert bytes(got) == before + b"!" + after
    assert mark
    assert set(mark) == {len(before)}
    assert (session.client if forth else session.server).moved == len(got)


def _ioctl(sock: socket.socket, request: int) -> bytes:
    import fcntl

    answer: bytes = fcntl.ioctl(sock, request, struct.pack("i", 0))
    return answer


@pytest.mark.parametrize("forth", [True, False])
def test_a_reader_that_stops_stops_the_writer_and_memory_stays_bounded(
    bench: Bench, forth: bool
) -> None:
    client, server, session = bench.session()
    source, sink = (client, server) if forth else (server, client)
    leg = session.client if forth else session.server
    sent = 0
    chunk = bytes(1 << 20)

    def stuck() -> bool:
        nonlocal sent
        try:
            sent += source.send(chunk)
        except BlockingIOError:
            return True
        return False

    for _ in range(50):
        bench.until(stuck)
        bench.turn(0.01)
    taken = leg.moved
    held = len(leg.held or b"") + leg.piped
    assert held <= PIPE_SIZE
    bench.turn(0.05)
    assert leg.moved == taken, "nothing moves while the reader sleeps"
    source.shutdown(socket.SHUT_WR)
    digest = 0

    def drained() -> bool:
        nonlocal digest
        try:
            part = sink.recv(1 << 20)
        except BlockingIOError:
            return False
        digest += len(part)
        return not part

    bench.until(drained, 30)
    assert digest == sent


def test_a_bulk_session_does_not_starve_a_quiet_one(bench: Bench) -> None:
    bulk_client, bulk_server, _ = bench.session()
    client, server, _ = bench.session()
    zeros = bytes(1 << 20)
    answered: list[bytes] = []
    asked = False

    def step() -> bool:
        nonlocal asked
        for _ in range(8):
            try:
                bulk_client.send(zeros)
            except BlockingIOError:
                break
        try:
            while bulk_server.recv(1 << 20):
                pass
        except BlockingIOError:
            pass
        if not asked:
            client.send(b"?")
            asked = True
        try:
            answered.append(server.recv(1))
        except BlockingIOError:
            return False
        return True

    bench.until(step)
    assert answered == [b"?"]


@pytest.mark.parametrize("turns", [1, 2])
def test_what_one_turn_leaves_the_next_takes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """All bytes and the FIN are there before the first event: no later edge will tell of them."""
    monkeypatch.setattr(plane_module, "TURNS", turns)
    monkeypatch.setattr(plane_module, "PIPE_SIZE", CHUNK)
    client, server, _ = bench.session()
    data = os.urandom(500_000)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(data))
    assert client.send(data) == len(data)
    client.shutdown(socket.SHUT_WR)
    time.sleep(0.05)
    assert bench.read(server, len(data) + 1) == data


def test_without_pipes_bulk_is_copied(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.plane._pipes, "take", lambda: None)
    client, server, _ = bench.session()
    data = os.urandom(3_000_000)
    assert bench.pour(client, server, data, 1 << 20) == data


def test_a_pipe_returns_to_the_pool_when_the_stream_gets_small(bench: Bench) -> None:
    client, server, session = bench.session()
    data = os.urandom(2_000_000)
    feed = memoryview(data)
    got = bytearray()

    def step() -> bool:
        nonlocal feed
        if feed:
            with contextlib.suppress(BlockingIOError):
                feed = feed[client.send(feed) :]
        with contextlib.suppress(BlockingIOError):
            got.extend(server.recv(1 << 20))
        return len(got) == len(data)

    bench.until(step)
    for word in (b"one", b"two", b"three"):
        client.send(word)
        assert bench.read(server, len(word)) == word
    assert session.client.pipe is None
    assert session.client.quick


def fail_at(fd: int, failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nobody read from *fd*."""
    read = os.read

    def faulty(descriptor: int, size: int) -> bytes:
        if descriptor == fd:
            raise failure
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", faulty)


def test_a_defect_in_one_session_leaves_the_others_their_events(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _, broken = bench.session()
    others = [bench.session() for _ in range(10)]
    fail_at(broken.client.fd, ValueError("a defect"), monkeypatch)
    for one in (client, *(other[0] for other in others)):
        one.send(b"x")
    with caplog.at_level("ERROR"):
        for _, server, _ in others:
            assert bench.read(server, 1) == b"x"
    assert broken.end == "defect"
    assert "a defect in the relay" in caplog.text
    with pytest.raises(ConnectionResetError):
        bench.read(client, 1)


def test_want_of_memory_costs_the_session_that_meets_it_and_no_word(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _, unlucky = bench.session()
    others = [bench.session() for _ in range(10)]
    fail_at(unlucky.client.fd, MemoryError(), monkeypatch)
    for one in (client, *(other[0] for other in others)):
        one.send(b"x")
    for _, server, _ in others:
        assert bench.read(server, 1) == b"x"
    assert unlucky.end == "out of memory"
    assert not caplog.text
    with pytest.raises(ConnectionResetError):
        bench.read(client, 1)


def test_want_of_memory_between_sessions_is_survived(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a callback raises, the event loop takes for the end of all that it waited for."""
    client, server, _ = bench.session()
    turn, failures = bench.plane._turn, iter([MemoryError(), MemoryError()])

    def fail_at_first() -> None:
        for failure in failures:
            raise failure
        turn()

    monkeypatch.setattr(bench.plane, "_turn", fail_at_first)
    client.send(b"x")
    assert bench.read(server, 1) == b"x"
    assert next(failures, None) is None


def test_random_traffic_on_many_sessions(bench: Bench) -> None:
    """Random sizes, pieces, pauses and half-closes, all at once; each stream by its hash."""
    chance = random.Random(3142)
    flows = [_Flow(chance, *pair) for _ in range(30) for pair in _both(bench.session())]

    def step() -> bool:
        for flow in flows:
            flow.step()
        return all(flow.over for flow in flows)

    bench.until(step, 60)
    for flow in flows:
        assert flow.wrote.digest() == flow.read.digest()
    bench.until(lambda: len(bench.ended) == 30)
    assert {session.end for session in bench.ended} == {"closed"}


def _both(
    made: tuple[socket.socket, socket.socket, Session],
) -> list[tuple[socket.socket, socket.socket]]:
    client, server, _ = made
    return [(client, server), (server, client)]


class _Flow:
    """One direction of a session, driven at random."""

    def __init__(self, chance: random.Random, source: socket.socket, sink: socket.socket) -> None:
        self.chance, self.source, self.sink = chance, source, sink
        self.left = chance.choice([0, 1, 100, 70_000, 300_000, 2_000_000])
        self.wrote, self.read = hashlib.sha256(), hashlib.sha256()
        self.over = self.ended = False

    def step(self) -> None:
        if self.chance.random() < 0.3:
            return
        if self.left and self.chance.random() < 0.8:
            data = self.chance.randbytes(min(self.left, self.chance.choice([1, 1000, 200_000])))
            try:
                sent = self.source.send(data)
            except BlockingIOError:
                sent = 0
            self.wrote.update(data[:sent])
            self.left -= sent
        elif not self.left and not self.ended:
            self.source.shutdown(socket.SHUT_WR)
            self.ended = True
        if not self.over:
            try:
                part = self.sink.recv(self.chance.choice([1, 5000, 1 << 20]))
            except BlockingIOError:
                return
            self.read.update(part)
            self.over = not part


def test_descriptors_return_to_the_start_count(bench: Bench) -> None:
    start = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        client, server, session = bench.session()
        bench.pour(client, server, b"x" * 200_000, 1 << 20)
        bench.pour(server, client, b"y", 1)
        bench.until(lambda session=session: session in bench.ended)  # type: ignore[misc]
        client.close()
        server.close()
    bench.plane._pipes.close()
    assert len(os.listdir("/proc/self/fd")) == start


@pytest.mark.parametrize("forth", [True, False])
def test_what_others_have_read_goes_first(bench: Bench, forth: bool) -> None:
    (client, client_leg), (server, server_leg) = tcp_pair(), tcp_pair()
    bench.sockets += [client, server]
    session = Session(client_leg, server_leg, PEER, Route("::"), 1, bench.loop.time())
    source, sink = (client, server) if forth else (server, client)
    held, later = os.urandom(4_000_000), b"and this later"
    source.send(later)
    source.shutdown(socket.SHUT_WR)
    bench.plane.dial(session.server)
    early, late = (held, b"") if forth else (b"", held)
    bench.plane.start(session.server, early=early, late=late)
    assert bench.read(sink, len(held) + len(later)) == held + later
    assert bench.read(sink, 1) == b""
    assert bench.pour(sink, source, b"reply", 5) == b"reply"
    bench.until(lambda: session.end == "closed")


def test_what_others_have_read_is_for_a_peer_that_is_gone(bench: Bench) -> None:
    (client, client_leg), (server, server_leg) = tcp_pair(), tcp_pair()
    bench.sockets += [client]
    session = Session(client_leg, server_leg, PEER, Route("::"), 1, bench.loop.time())
    reset(server)
    bench.plane.dial(session.server)
    bench.plane.start(session.server, early=b"too late")
    bench.until(lambda: session.end == "server reset")
