"""The plane where buffers fill, reads fall short and peers hang up in the middle.

The buffers of these sockets hold a few kilobytes, and a read of 4 KiB turns a direction to bulk.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest

from faith.kernel.sockets import at_mark, unread
from faith.relay import plane as plane_module
from faith.relay.plane import IN
from faith.relay.routing import Route
from faith.relay.session import Session
from tests.test_plane import PEER, Bench, bench, tcp_pair

if TYPE_CHECKING:
    Sides = tuple[socket.socket, socket.socket, Session]

__all__ = ["bench"]

BUFFER = 8192
CHUNK, SMALL = 4096, 1024
DATA = random.Random(3142).randbytes(400_000)
BOTH_WAYS = pytest.mark.parametrize("forth", [True, False], ids=["forth", "back"])


def narrow_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection whose buffers are small, with the options of a listener."""
    with socket.socket() as listener:
        narrow(listener)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        near = socket.socket()
        narrow(near)
        near.connect(listener.getsockname())
        far, _ = listener.accept()
    for sock in (near, far):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    return near, far


def narrow(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)


@pytest.fixture
def bulky(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have streams of small buffers be spliced."""
    monkeypatch.setattr(plane_module, "CHUNK", CHUNK)
    monkeypatch.setattr(plane_module, "SMALL", SMALL)


class Way:
    """One direction of a session: who writes, who reads, and the leg in between."""

    def __init__(self, bench: Bench, forth: bool, sides: Sides | None = None) -> None:
        client, server, self.session = sides or bench.session(narrow_pair)
        self.bench = bench
        self.source, self.sink = (client, server) if forth else (server, client)
        session = self.session
        self.leg = session.client if forth else session.server
        self.peer = self.leg.peer
        self.sent = 0
        self.got = bytearray()
        self.marks: list[int] = []
        bench.turn(0)

    def write(self, most: int = len(DATA)) -> int:
        """Write what there is room for, from where the last time ended."""
        before = self.sent
        with contextlib.suppress(BlockingIOError):
            while self.sent < most:
                self.sent += self.source.send(DATA[self.sent : min(most, self.sent + 20_000)])
        return self.sent - before

    def block(self) -> None:
        """Write until nothing moves any more."""
        quiet = 0
        while quiet < 3 or not self.is_blocked():
            moved = self.leg.moved
            quiet = 0 if self.write() or self.leg.moved != moved else quiet + 1
            self.bench.turn(0.005)

    def fill(self) -> int:
        """Leave no room for anything, behind the plane's back; how many zeros that took."""
        sent = 0
        while True:
            try:
                sent += self.peer.sock.send(bytes(1000))
            except BlockingIOError:
                if not in_flight(self.peer.fd):
                    return sent
                self.bench.turn(0.001)

    def fill_pipe(self) -> None:
        """Do so, and have octets in a pipe, not in a buffer: the last read may have been short."""
        self.block()
        while not self.leg.piped:
            self.read(3000)
            self.block()

    def is_blocked(self) -> bool:
        return self.leg.held is not None or self.leg.piped > 0

    def read(self, size: int = 1 << 20) -> str:
        """Read once: "data", "nothing", "end" or "reset"; marks are noted."""
        try:
            if unread(self.sink.fileno()) and at_mark(self.sink.fileno()):
                self.marks.append(len(self.got))
                size = 1
            data = self.sink.recv(size)
        except BlockingIOError:
            return "nothing"
        except ConnectionResetError:
            return "reset"
        self.got += data
        return "data" if data else "end"

    def receive(self, size: int) -> bytes:
        """Read *size* octets more."""
        start = len(self.got)
        self.bench.until(
            lambda: bool(self.read(start + size - len(self.got))) and self.has(start + size)
        )
        return bytes(self.got[start:])

    def has(self, size: int) -> bool:
        return len(self.got) >= size

    def drain(self) -> str:
        """Read to the end; what end."""
        how = ""

        def over() -> bool:
            nonlocal how
            how = self.read()
            return how in ("end", "reset")

        self.bench.until(over)
        return how

    def arrives(self) -> None:
        """All that was written arrives, in order."""
        self.receive(self.sent - len(self.got))
        assert self.got == DATA[: self.sent]
        assert self.leg.moved == self.sent


def in_flight(fd: int) -> int:
    """How many octets were sent and not acknowledged; with a full buffer, 0 leaves it full."""
    siocoutq, siocoutqnsd = 0x5411, 0x894B
    unacknowledged, unsent = (
        struct.unpack("i", fcntl.ioctl(fd, request, bytes(4)))[0]
        for request in (siocoutq, siocoutqnsd)
    )
    return int(unacknowledged - unsent)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def segments(sock: socket.socket) -> int:
    """How many segments *sock* has received (tcpi_segs_in)."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return int.from_bytes(info[140:144], "little" if struct.pack("=H", 1)[0] else "big")


# -- a peer that has no room ---------------------------------------------------------------------


@BOTH_WAYS
def test_a_quick_write_without_any_room_loses_and_counts_nothing(bench: Bench, forth: bool) -> None:
    way = Way(bench, forth)
    filler = way.fill()
    assert way.leg.quick
    way.write(500)
    bench.turn()
    assert way.leg.moved == 0
    assert not way.leg.quick
    assert bytes(way.leg.held or b"") == DATA[:500]
    assert way.receive(filler) == bytes(filler)
    assert way.receive(500) == DATA[:500]
    bench.until(lambda: way.leg.quick)
    assert way.leg.moved == 500


@BOTH_WAYS
def test_a_write_in_part_goes_on_where_it_stopped(bench: Bench, forth: bool) -> None:
    """First the quick path has room for a part, then what it held has, several times."""
    way = Way(bench, forth)
    parts = set()
    for _ in range(20):
        way.write()
        bench.turn(0)
        if way.leg.held is not None:
            parts.add(len(way.leg.held))
        way.read(3000)
    assert len(parts) > 1
    way.arrives()
    bench.until(lambda: way.leg.quick)


@BOTH_WAYS
@pytest.mark.usefixtures("bulky")
def test_a_pipe_is_emptied_in_parts(bench: Bench, forth: bool) -> None:
    way = Way(bench, forth)
    way.peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # as small as it gets
    parts = set()
    for _ in range(60):
        way.write()
        bench.turn(0)
        parts.add(way.leg.piped)
        way.read(3000)
    assert len(parts - {0}) > 1
    way.arrives()


@BOTH_WAYS
@pytest.mark.usefixtures("bulky")
def test_a_blocked_session_costs_no_turns(
    bench: Bench, forth: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = Way(bench, forth)
    way.block()
    way.source.shutdown(socket.SHUT_WR)
    bench.turn()
    events: list[Any] = []
    handle = bench.plane._handle

    def noted(met: list[tuple[int, int]]) -> None:
        events.extend(met)
        handle(met)

    monkeypatch.setattr(bench.plane, "_handle", noted)
    bench.turn(0.2)
    assert len(events) <= 4, "what has changed is told once"
    assert way.drain() == "end"
    assert way.got == DATA[: way.sent]


@pytest.mark.parametrize("bulk", [True, False])
@BOTH_WAYS
def test_the_other_direction_goes_on_while_one_is_blocked(
    bench: Bench, forth: bool, bulk: bool, request: pytest.FixtureRequest
) -> None:
    if bulk:
        request.getfixturevalue("bulky")
    way = Way(bench, forth)
    way.block()
    for _ in range(3):
        way.sink.send(b"and you?")
        assert bench.read(way.source, 8) == b"and you?"
    way.arrives()


# -- pipes ---------------------------------------------------------------------------------------


@BOTH_WAYS
@pytest.mark.usefixtures("bulky")
def test_octets_of_a_dead_session_reach_nobody(bench: Bench, forth: bool) -> None:
    """The pipe that holds them is not to be another session's."""
    dead = Way(bench, forth)
    dead.fill_pipe()
    bench.plane.end(dead.session, "killed", reset=True)
    bench.until(lambda: bool(bench.ended))
    way = Way(bench, forth)
    way.fill_pipe()
    way.arrives()


@pytest.mark.parametrize("how", ["killed", "source reset", "sink reset"])
@BOTH_WAYS
@pytest.mark.usefixtures("bulky")
def test_a_session_that_is_cut_keeps_no_descriptor(bench: Bench, forth: bool, how: str) -> None:
    start = descriptors()
    for _ in range(3):
        way = Way(bench, forth)
        way.fill_pipe()
        if how == "killed":
            bench.plane.end(way.session, how, reset=True)
        elif how == "source reset":
            reset(way.source)
            bench.turn()
            way.drain()
        else:
            reset(way.sink)
        bench.until(lambda way=way: way.session in bench.ended)  # type: ignore[misc]
        way.source.close()
        way.sink.close()
    bench.plane.rest()
    assert descriptors() == start
    assert bench.plane._pipes._left == bench.plane._pipes.__class__()._left


@pytest.mark.usefixtures("bulky")
def test_an_empty_pipe_of_a_session_that_is_cut_serves_the_next(bench: Bench) -> None:
    way = Way(bench, forth=True)
    pipe = way.leg.pipe = bench.plane._pipes.take()
    bench.plane.end(way.session, "killed", reset=True)
    bench.until(lambda: bool(bench.ended))
    assert bench.plane._pipes.take() == pipe
    assert pipe
    bench.plane._pipes.give(pipe)


@pytest.mark.usefixtures("bulky")
def test_the_octets_for_a_peer_that_failed_leave_with_their_pipe(bench: Bench) -> None:
    """At once, not when the session ends: others may want the room."""
    way = Way(bench, forth=True)
    way.fill_pipe()
    pipe = way.leg.pipe
    assert pipe
    bench.plane.fail(way.peer, errno.ECONNRESET)
    assert way.leg.pipe is None
    assert way.leg.piped == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(pipe[0])


# -- urgent octets -------------------------------------------------------------------------------


def ask_for_splices(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What os.splice() moved from now on."""
    moved: list[int] = []
    splice = os.splice

    def noted(*args: Any, **kwargs: Any) -> int:
        moved.append(splice(*args, **kwargs))
        return moved[-1]

    monkeypatch.setattr(os, "splice", noted)
    return moved


@BOTH_WAYS
@pytest.mark.usefixtures("bulky")
def test_a_stream_is_spliced_again_behind_an_urgent_octet(
    bench: Bench, forth: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = Way(bench, forth)
    way.source.send(b"!", socket.MSG_OOB)
    assert way.receive(1) == b"!"
    assert way.marks == [0]
    assert not way.leg.urgent
    moved = ask_for_splices(monkeypatch)
    way.got.clear()
    way.block()
    way.receive(way.sent)
    assert way.got == DATA[: way.sent]
    assert sum(moved) > way.sent / 2


@BOTH_WAYS
@pytest.mark.parametrize("size", [0, 100])
def test_an_urgent_octet_waits_for_room(bench: Bench, forth: bool, size: int) -> None:
    """It waits alone, and is marked when it goes."""
    way = Way(bench, forth)
    filler = way.fill()
    way.source.send(DATA[:size])
    way.source.send(b"!", socket.MSG_OOB)
    way.source.send(b"behind")
    bench.turn()
    assert way.leg.moved == 0
    way.receive(filler + size + len(b"!behind"))
    assert way.got[filler:] == DATA[:size] + b"!behind"
    assert way.marks == [filler + size]
    bench.until(lambda: way.leg.quick)


@BOTH_WAYS
def test_data_and_fin_leave_in_one_segment(bench: Bench, forth: bool) -> None:
    """Also behind an urgent octet."""
    way = Way(bench, forth)
    for urgent in (False, True):
        if urgent:
            way = Way(bench, forth)
            way.source.send(b"!", socket.MSG_OOB)
            assert way.receive(1) == b"!"
        way.source.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        way.source.send(b"last words")
        before = segments(way.sink)
        way.source.shutdown(socket.SHUT_WR)
        assert way.drain() == "end"
        assert way.got.endswith(b"last words")
        assert segments(way.sink) == before + 1


@BOTH_WAYS
def test_a_mark_before_a_failing_write_is_kept(bench: Bench, forth: bool) -> None:
    """The write meets the reset before any event has told of the mark."""
    way = Way(bench, forth)
    way.source.send(b"before")
    way.source.send(b"!", socket.MSG_OOB)
    way.source.send(b"behind")
    reset(way.source)
    way.sink.send(b"too late")
    bench.plane._handle([(way.peer.fd, IN)])
    assert way.drain() == "reset"
    assert way.got == b"before!behind"
    assert way.marks == [6]


# -- what arrived before an end ------------------------------------------------------------------


@BOTH_WAYS
def test_what_came_before_the_connect_event_was_handled_is_read(bench: Bench, forth: bool) -> None:
    """No other event will tell of a banner, of an urgent octet or of a FIN that came with it."""
    for words, end in ((b"220 banner", False), (b"", True), (b"421 no", True), (b"!", False)):
        client, client_leg = narrow_pair()
        server, server_leg = narrow_pair()
        bench.sockets += [client, server]
        met: list[int] = []
        session = Session(client_leg, server_leg, PEER, Route("::"), 1, bench.loop.time())
        bench.plane._dialled = lambda leg, mask, met=met: met.append(mask)  # type: ignore[misc]
        source, sink = (client, server) if forth else (server, client)
        source.send(words, socket.MSG_OOB if words == b"!" else 0)
        if end:
            source.shutdown(socket.SHUT_WR)
        bench.plane.dial(session.server)
        bench.until(lambda met=met: bool(met))  # type: ignore[misc]
        bench.plane.start(session.server, met[-1])
        assert bench.read(sink, len(words)) == words
        if end:
            assert bench.read(sink, 1) == b""


@BOTH_WAYS
@pytest.mark.parametrize("size", [1, 999, 1000, 1001, 5000])
def test_a_short_read_is_not_taken_for_the_end(
    bench: Bench, forth: bool, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read(2) may give less than there is, also when a FIN is behind it."""
    way = Way(bench, forth)
    read = os.read
    monkeypatch.setattr(os, "read", lambda fd, most: read(fd, min(most, 1000)))
    way.write(size)
    way.source.shutdown(socket.SHUT_WR)
    assert way.drain() == "end"
    assert way.got == DATA[:size]
    assert way.leg.moved == size


@BOTH_WAYS
@pytest.mark.parametrize("blocked", [True, False])
@pytest.mark.parametrize("bulk", [True, False])
def test_what_arrived_before_a_reset_is_delivered(
    bench: Bench, forth: bool, blocked: bool, bulk: bool, request: pytest.FixtureRequest
) -> None:
    if bulk:
        request.getfixturevalue("bulky")
    way = Way(bench, forth)
    if blocked:
        way.block()
    else:
        way.write(3000)
    # What its kernel has sent: the rest a reset takes back, with or without a relay.
    unsent = struct.unpack("i", fcntl.ioctl(way.source, 0x5411, struct.pack("i", 0)))[0]
    reset(way.source)
    assert way.drain() == "reset"
    assert way.got == DATA[: len(way.got)]
    assert len(way.got) >= way.sent - unsent
    bench.until(lambda: bool(bench.ended))
    assert way.session.end == ("client reset" if forth else "server reset")
    assert way.leg.moved == len(way.got)


@BOTH_WAYS
def test_a_failing_write_leaves_time_to_read_the_answer(bench: Bench, forth: bool) -> None:
    """A server that refuses an upload half read: data, then a reset, which a write meets."""
    way = Way(bench, forth)
    way.source.send(b"413 too large")
    way.sink.send(b"more of it")
    reset(way.source)
    bench.plane._handle([(way.peer.fd, IN)])
    assert way.drain() == "reset"
    assert way.got == b"413 too large"
    assert way.session.moved[not forth] == len(b"413 too large")


@BOTH_WAYS
def test_what_is_for_a_side_that_failed_is_dropped(bench: Bench, forth: bool) -> None:
    way = Way(bench, forth)
    way.block()
    assert way.leg.held is not None
    moved = way.leg.moved
    reset(way.sink)
    bench.until(lambda: bool(bench.ended))
    assert way.session.end == ("server reset" if forth else "client reset")
    assert way.leg.held is None
    assert way.leg.moved == moved
    with pytest.raises(ConnectionResetError):
        bench.read(way.source, 1)


@BOTH_WAYS
def test_a_fin_and_then_a_reset_are_passed_on_in_this_order(bench: Bench, forth: bool) -> None:
    """EPIPE is how the kernel says that a FIN came before the reset."""
    way = Way(bench, forth)
    way.block()
    way.source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    bench.plane.fail(way.leg, errno.EPIPE)
    assert way.drain() == "end"
    assert way.got == DATA[: len(way.got)]


def test_failures_of_both_sides_end_at_once(bench: Bench) -> None:
    way = Way(bench, forth=True)
    way.block()
    bench.plane.fail(way.leg, errno.ETIMEDOUT)
    assert way.session.end is None
    bench.plane.fail(way.peer, errno.ECONNRESET)
    assert way.session.end == "client timed out"
    bench.plane.fail(way.leg, errno.ECONNRESET)
    assert way.session.end == "client timed out"
    bench.until(lambda: bool(bench.ended))
    assert bench.ended == [way.session]


def test_a_second_failure_of_a_side_is_no_news(bench: Bench) -> None:
    way = Way(bench, forth=True)
    way.block()
    for error in (errno.ETIMEDOUT, errno.ECONNRESET):
        bench.plane.fail(way.leg, error)
    assert len(bench.plane._resets._waiting) == 1
    assert way.drain() == "reset"
    assert way.session.end == "client timed out"


def test_a_session_killed_while_its_reset_waits_ends_at_once(bench: Bench) -> None:
    way = Way(bench, forth=True)
    way.block()
    reset(way.source)
    bench.until(lambda: bool(way.leg.error))
    bench.plane.end(way.session, "killed", reset=True)
    bench.plane.end(way.session, "killed twice", reset=True)
    bench.until(lambda: bool(bench.ended))
    assert bench.ended == [way.session]
    assert way.session.end == "killed"
    assert not bench.plane._resets._waiting


# -- turns ---------------------------------------------------------------------------------------


def test_a_session_that_ended_leaves_no_event_for_its_descriptors(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another session has them next, and may be dialling: it is not to be taken for connected."""
    monkeypatch.setattr(plane_module, "TURNS", 1)
    monkeypatch.setattr(plane_module, "ROUNDS", 1)
    way = Way(bench, forth=True)
    way.leg.quick = False
    way.source.send(b"x")
    bench.plane._handle([(way.leg.fd, IN)])
    assert way.leg.held == b"x"
    descriptor = way.leg.fd
    bench.plane.end(way.session, "killed", reset=True)
    bench.plane._bury()
    met: list[int] = []
    bench.plane._dialled = lambda leg, mask: met.append(mask)
    with socket.socket() as unconnected:
        number = fcntl.fcntl(unconnected, fcntl.F_DUPFD_CLOEXEC, descriptor)
    server_leg = socket.socket(fileno=number)
    assert server_leg.fileno() == descriptor
    client, client_leg = tcp_pair()
    bench.sockets.append(client)
    session = Session(client_leg, server_leg, PEER, Route("::"), 1, bench.loop.time())
    bench.plane.dial(session.server)
    bench.plane._wake()
    assert IN not in met
    bench.plane.end(session, "test over", reset=True)


def test_want_of_memory_at_the_end_of_one_session_is_not_that_of_others(bench: Bench) -> None:
    ways = [Way(bench, forth=True) for _ in range(3)]
    started = descriptors()
    ended = bench.plane._ended
    failures = iter([MemoryError()])

    def fail_once(session: Session) -> None:
        for failure in failures:
            raise failure
        ended(session)

    bench.plane._ended = fail_once
    for way in ways:
        bench.plane.end(way.session, "killed", reset=True)
    bench.until(lambda: len(bench.ended) == 2)
    assert descriptors() == started - 6
