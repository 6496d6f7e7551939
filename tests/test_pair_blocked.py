"""The pump of inetd mode where buffers fill and peers hang up in the middle.

The buffers of these sockets hold a few kilobytes, and a read of 4 KiB turns a direction to bulk.
"""

from __future__ import annotations

import contextlib
import errno
import random
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from faith.kernel.sockets.tcp_sockets import at_mark, unacknowledged
from faith.relay.inetd import blocking_relay as module
from faith.relay.inetd.blocking_relay import Pair
from tests.narrow import in_flight, narrow_pair, reset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DATA = random.Random(4).randbytes(300_000)
BOTH_WAYS = pytest.mark.parametrize("forth", [True, False], ids=["forth", "back"])
BULK = pytest.mark.parametrize("bulk", [True, False], ids=["bulk", "small"])


class Way:
    """One direction of a pair at work in a thread: who writes, who reads, the leg in between."""

    def __init__(self, forth: bool, idle: float = 0, half_closed: float = 0) -> None:
        (client, ours), (server, theirs) = narrow_pair(), narrow_pair()
        self.ours = ours, theirs
        self.pair = Pair(ours, theirs, idle, half_closed)
        self.source, self.sink = (client, server) if forth else (server, client)
        legs = self.pair.client, self.pair.server
        self.leg, self.peer = legs if forth else legs[::-1]
        self.name = "client" if forth else "server"
        self.sent = 0
        self.got = bytearray()
        self.marks: list[int] = []
        self.end: str | None = None
        self.left: list[int] = []  # not acknowledged at the end, by either
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        self.end = self.pair.run()
        self.left = [unacknowledged(sock.fileno()) for sock in self.ours]

    def wait(self) -> str | None:
        """Why it ended."""
        self._thread.join(20)
        return self.end

    def write(self, data: bytes) -> None:
        """Write all of *data*, while the other side reads what it has to for that."""
        left = memoryview(data)
        while left:
            if select.select([], [self.source], [], 0.005)[1]:
                left = left[self.source.send(left[:5000]) :]
            else:
                self.read(7000)

    def fill(self) -> None:
        """Write until nothing moves any more."""
        quiet = 0
        while quiet < 3 or not self.leg.pending:
            before = self.sent, self.leg.moved
            with contextlib.suppress(BlockingIOError):
                while True:
                    piece = DATA[self.sent : self.sent + 3000]
                    self.sent += self.source.send(piece)
            time.sleep(0.005)
            quiet = quiet + 1 if before == (self.sent, self.leg.moved) else 0

    def read(self, size: int = 1 << 20) -> str:
        """Read once, when there is something: "data", "end" or "reset"; marks are noted."""
        try:
            assert select.select([self.sink], [], [], 10)[0]
            if at_mark(self.sink.fileno()):
                self.marks.append(len(self.got))
                size = 1
            data = self.sink.recv(size)
        except ConnectionResetError:
            return "reset"
        self.got += data
        return "data" if data else "end"

    def receive(self, size: int) -> bytes:
        """Read *size* octets more."""
        start = len(self.got)
        while len(self.got) < start + size:
            assert self.read(start + size - len(self.got)) == "data"
        return bytes(self.got[start:])

    def drain(self) -> str:
        """Read to the end; what end."""
        while (how := self.read(5000)) == "data":
            pass
        return how

    def close(self) -> None:
        for sock in (self.source, self.sink):
            sock.close()
        self._thread.join(20)
        for sock in self.ours:
            sock.close()


def heard(sock: socket.socket) -> bytes:
    assert select.select([sock], [], [], 10)[0]
    return sock.recv(100)


@pytest.fixture
def make() -> Iterator[Callable[..., Way]]:
    made: list[Way] = []

    def one(*args: Any, start: bool = True) -> Way:
        made.append(Way(*args))
        if start:
            made[-1].start()
        return made[-1]

    yield one
    for way in made:
        way.close()


@pytest.fixture(autouse=True)
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have streams of small buffers be spliced, if the test is for that."""
    call = getattr(request.node, "callspec", None)
    if call and call.params.get("bulk"):
        monkeypatch.setattr(module, "CHUNK", 4096)
        monkeypatch.setattr(module, "SMALL", 1024)


@BULK
@BOTH_WAYS
def test_a_slow_reader_gets_all_of_it(make: Callable[..., Way], forth: bool, bulk: bool) -> None:
    way = make(forth)
    way.write(DATA)
    way.receive(len(DATA) - len(way.got))
    way.sink.send(b"thanks")
    assert heard(way.source) == b"thanks"
    way.source.shutdown(socket.SHUT_WR)
    assert way.drain() == "end"
    way.sink.close()
    assert way.wait() == "closed"
    assert way.got == DATA
    assert (way.leg.moved, way.peer.moved) == (len(DATA), 6)


def test_a_clean_end_waits_for_no_acknowledgement(
    make: Callable[..., Way], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel goes on sending what it has, and the process may end."""
    waited: list[int] = []
    monkeypatch.setattr(module, "_await_acknowledgement", waited.append)
    way = make(True)
    way.source.send(b"bye")
    for sock in (way.source, way.sink):
        sock.shutdown(socket.SHUT_WR)
    assert way.wait() == "closed"
    assert not waited


@BULK
@BOTH_WAYS
def test_the_other_direction_goes_on_while_one_is_blocked(
    make: Callable[..., Way], forth: bool, bulk: bool
) -> None:
    way = make(forth)
    way.fill()
    for _ in range(3):
        way.sink.send(b"and you?")
        assert heard(way.source) == b"and you?"
    assert way.receive(way.sent) == DATA[: way.sent]


@BULK
@BOTH_WAYS
def test_a_blocked_pair_sleeps(
    make: Callable[..., Way], forth: bool, bulk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when one side has ended for good, and poll(2) would say so again and again."""
    way = make(forth)
    way.fill()
    way.sink.shutdown(socket.SHUT_WR)
    way.source.shutdown(socket.SHUT_WR)
    time.sleep(0.02)
    rounds = 0
    wait = way.pair._wait

    def counted() -> dict[int, int]:
        nonlocal rounds
        rounds += 1
        return wait()

    monkeypatch.setattr(way.pair, "_wait", counted)
    time.sleep(0.2)
    assert rounds < 5
    assert way.drain() == "end"
    assert way.got == DATA[: way.sent]
    assert way.wait() == "closed"


@BULK
@BOTH_WAYS
def test_what_arrived_before_a_reset_is_delivered(
    make: Callable[..., Way], forth: bool, bulk: bool
) -> None:
    way = make(forth)
    way.fill()
    reached = way.sent - unacknowledged(way.source.fileno())
    reset(way.source)
    time.sleep(0.02)
    assert way.end is None
    while way.end is None:
        if select.select([way.sink], [], [], 0.002)[0]:
            way.read(2000)
    assert way.end == f"{way.name} reset"
    assert way.left[forth] == 0, "it may be reset: nothing is taken back"
    for ours in way.ours:
        reset(ours)
    assert way.drain() == "reset"
    assert len(way.got) >= reached
    assert way.got == DATA[: len(way.got)]
    assert way.leg.moved == len(way.got)


@BOTH_WAYS
def test_a_failing_write_leaves_time_to_read_the_answer(
    make: Callable[..., Way], forth: bool
) -> None:
    """A server that refuses an upload half read: data, then a reset, which a write meets."""
    way = make(forth, start=False)
    way.source.send(b"413 too ")
    way.source.send(b"!", socket.MSG_OOB)
    way.source.send(b" large")
    reset(way.source)
    way.sink.send(b"more of it")
    way.pair._receive(way.peer, way.leg, select.POLLIN)
    way.pair._deliver(way.peer, way.leg)
    assert way.leg.error == errno.ECONNRESET
    way.start()
    assert way.receive(15) == b"413 too ! large"
    assert way.marks == [8]
    assert way.wait() == f"{way.name} reset"
    assert (way.leg.moved, way.peer.moved) == (15, 0)


@BOTH_WAYS
def test_a_fin_and_then_a_reset_are_passed_on_in_this_order(
    make: Callable[..., Way], forth: bool
) -> None:
    """EPIPE is how the kernel says that a FIN came before the reset."""
    way = make(forth, start=False)
    way.source.send(b"bye")
    way.source.shutdown(socket.SHUT_WR)
    way.pair._fail(way.leg, way.peer, errno.EPIPE)
    way.start()
    assert way.drain() == "end"
    assert way.got == b"bye"
    assert way.wait() == f"{way.name} reset"


@BOTH_WAYS
def test_a_reset_is_no_clean_end(make: Callable[..., Way], forth: bool) -> None:
    way = make(forth)
    way.source.send(b"bye")
    assert way.receive(3) == b"bye"
    reset(way.source)
    assert way.wait() == f"{way.name} reset"
    with pytest.raises(BlockingIOError):
        way.sink.recv(1)


@BULK
@BOTH_WAYS
def test_what_is_for_a_side_that_failed_is_dropped(
    make: Callable[..., Way], forth: bool, bulk: bool
) -> None:
    way = make(forth)
    way.fill()
    reset(way.sink)
    other = "server" if forth else "client"
    assert way.wait() == f"{other} reset"
    assert not way.leg.pending
    assert way.leg.moved < way.sent


def test_failures_of_both_sides_end_at_once(
    make: Callable[..., Way], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    monkeypatch.setattr(module, "_await_acknowledgement", waited.append)
    monkeypatch.setattr(module, "QUIET", 1000)
    way = make(True, start=False)
    way.source.send(b"to nobody")
    reset(way.source)
    reset(way.sink)
    way.pair.fail(errno.ETIMEDOUT)
    way.pair._fail(way.pair.client, way.pair.server, errno.ECONNRESET)
    way.start()
    assert way.wait() == "server timed out", "the first failure is the reason"
    assert not waited, "there is nobody to acknowledge anything"
    assert way.leg.moved == 0


@pytest.mark.parametrize("by", ["octets", "acknowledgements"])
def test_a_reset_does_not_wait_for_ever(
    make: Callable[..., Way], by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for a peer that takes nothing any more, be it from us or from its kernel."""
    monkeypatch.setattr(module, "QUIET", 0.05)
    way = make(True)
    if by == "octets":
        way.fill()
    else:
        while in_flight(way.peer.fd) or not unacknowledged(way.peer.fd):
            way.source.send(b"x" * 500)
            time.sleep(0.002)
    reset(way.source)
    assert way.wait() == "client reset"
    assert way.left[1] > 0


@pytest.mark.parametrize(("quiet", "longest"), [(0.2, 0.05), (0.05, 5)])
def test_acknowledgements_are_waited_for_so_long(
    quiet: float, longest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, looks, left = 100.0, 0, 9_000

    def sleep(seconds: float) -> None:
        nonlocal now, looks, left
        assert seconds == module.INTERVAL
        now += seconds
        looks += 1
        if quiet > longest or looks < 30:
            left -= 1

    monkeypatch.setattr(module, "QUIET", quiet)
    monkeypatch.setattr(module, "LONGEST", longest)
    monkeypatch.setattr(module, "unacknowledged", lambda fd: left)
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    module._await_acknowledgement(0)
    assert now - 100 == pytest.approx(
        longest if quiet > longest else 29 * module.INTERVAL + quiet, abs=module.INTERVAL * 1.5
    )


def test_all_acknowledged_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    left = [3, 2, 1, 0]
    slept: list[float] = []
    monkeypatch.setattr(module, "unacknowledged", lambda fd: left.pop(0))
    monkeypatch.setattr(time, "sleep", slept.append)
    module._await_acknowledgement(0)
    assert len(slept) == 3


@BULK
@BOTH_WAYS
def test_urgent_octets_keep_their_place(make: Callable[..., Way], forth: bool, bulk: bool) -> None:
    """At the start, in the middle of a stream, and with nothing behind but the end."""
    way = make(forth)
    expected = bytearray()
    marks = []
    for size in (0, 60_000, 60_000, 1):
        way.write(DATA[:size])
        way.source.send(b"!", socket.MSG_OOB)
        expected += DATA[:size] + b"!"
        marks.append(len(expected) - 1)
        way.receive(len(expected) - len(way.got))  # before the next one takes its mark
    way.source.shutdown(socket.SHUT_WR)
    assert way.drain() == "end"
    assert way.got == expected
    assert way.marks == marks


@BOTH_WAYS
@pytest.mark.parametrize("half", [True, False])
def test_a_limit_is_of_silence_only(make: Callable[..., Way], forth: bool, half: bool) -> None:
    """What moves in either direction, or ends one, starts it anew."""
    way = make(forth, 0 if half else 0.15, 0.15 if half else 0)
    if half:
        way.sink.shutdown(socket.SHUT_WR)
    for _ in range(8):
        time.sleep(0.05)
        way.source.send(b".")
    assert way.receive(8) == b"." * 8
    assert way.wait() == ("idle half-closed" if half else "idle")
