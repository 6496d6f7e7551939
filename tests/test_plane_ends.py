"""The plane where a side ends while there is more to come: what arrived before is delivered."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct

import pytest

from faith.kernel.sockets.tcp_sockets import unread
from faith.relay.tcp import plane as plane_module
from faith.relay.tcp.plane import IN, PRI, RDHUP
from faith.relay.tcp.routing import Route
from faith.relay.tcp.session import Session
from tests.narrow import BOTH_WAYS, DATA, Way, descriptors, narrow_pair, reset, unsent
from tests.test_plane import PEER, Bench, bench, tcp_pair
from tests.test_plane_blocked import bulky

__all__ = ["bench", "bulky"]


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
def test_nothing_is_kept_back_for_an_end_that_has_not_come(bench: Bench, forth: bool) -> None:
    way = Way(bench, forth)
    way.leg.quick = False
    way.write(100)
    bench.plane._handle([(way.leg.fd, IN)])
    assert way.leg.moved == 100
    assert unsent(way.peer.fd) == 0, "all of it is sent"
    way.arrives()


@BOTH_WAYS
def test_a_reset_that_comes_between_two_reads_takes_nothing_with_it(
    bench: Bench, forth: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what the first has read, nor is that kept back for an end that will not come."""
    way = Way(bench, forth)
    read, reads = os.read, iter([os.read])

    def fail_at_second(fd: int, size: int) -> bytes:
        for first in reads:
            return first(fd, size)
        raise ConnectionResetError(errno.ECONNRESET, "reset")

    monkeypatch.setattr(os, "read", fail_at_second)
    way.source.send(b"first")
    bench.plane._handle([(way.leg.fd, IN | RDHUP)])
    assert way.leg.moved == 5
    assert unsent(way.peer.fd) == 0, "all of it is sent"
    monkeypatch.setattr(os, "read", read)
    assert way.drain() == "reset"
    assert way.got == b"first"


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


@BOTH_WAYS
def test_what_comes_for_a_side_that_failed_is_not_read(bench: Bench, forth: bool) -> None:
    """Who sends it is held up by his full buffer, as by a peer that has stopped reading."""
    way = Way(bench, forth)
    way.block()
    bench.plane.fail(way.leg, errno.ETIMEDOUT)
    way.sink.send(b"for nobody")
    bench.turn()
    assert unread(way.peer.fd) == len(b"for nobody")


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


@pytest.mark.parametrize("how", ["ended", "handed over"])
def test_a_session_that_goes_leaves_no_event_for_its_descriptors(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str
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
    if how == "ended":
        bench.plane.end(way.session, "killed", reset=True)
        bench.plane._bury()
    else:
        bench.plane.hand_over(way.session)
        for leg in (way.leg, way.peer):
            leg.sock.close()
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


@BOTH_WAYS
def test_what_is_put_off_is_not_read_quickly_meanwhile(
    bench: Bench, forth: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next event may be for data that is read by then: a mark could be passed over."""
    way = Way(bench, forth)
    bench.until(lambda: way.leg.quick)
    monkeypatch.setattr(plane_module, "TURNS", 1)
    way.write(100)
    bench.plane._handle([(way.leg.fd, IN | PRI)])
    assert way.leg.fd in bench.plane._deferred
    assert not way.leg.quick
    bench.plane._soon()
    way.arrives()
    bench.until(lambda: way.leg.quick)


@pytest.mark.parametrize("bulk", [True, False])
@BOTH_WAYS
def test_what_is_held_is_not_overtaken_by_a_quick_read(
    bench: Bench, forth: bool, bulk: bool, request: pytest.FixtureRequest
) -> None:
    """Drained and blocked in one turn, because more has come between two events of it."""
    if bulk:
        request.getfixturevalue("bulky")
    way = Way(bench, forth)
    way.leg.quick = False
    way.write(100)
    near, far = socket.socketpair()
    bench.sockets += [near, far]
    bench.plane.watch(near.fileno(), lambda _: way.write())
    bench.plane._handle([(way.leg.fd, IN), *[(near.fileno(), IN), (way.leg.fd, IN)] * 20])
    bench.plane.unwatch(near.fileno())
    assert way.is_blocked()
    assert not way.leg.quick
    way.arrives()


@BOTH_WAYS
def test_what_was_drained_is_not_read_on_when_its_peer_has_failed(
    bench: Bench, forth: bool
) -> None:
    sides = bench.session(narrow_pair)
    way, back = Way(bench, forth, sides), Way(bench, not forth, sides)
    back.block()
    way.leg.quick = False
    near, far = socket.socketpair()
    bench.sockets += [near, far]
    bench.plane.watch(near.fileno(), lambda _: bench.plane.fail(way.peer, errno.ETIMEDOUT))
    bench.plane._handle([(way.leg.fd, IN), (near.fileno(), IN)])
    bench.plane.unwatch(near.fileno())
    assert way.session.end is None, "what came from that side is still on its way"
    assert not way.leg.quick
    way.write(100)
    bench.turn()
    assert unread(way.leg.fd) == 100
    assert back.drain() == "reset"


@BOTH_WAYS
def test_a_fin_behind_what_was_drained_is_no_quick_read(bench: Bench, forth: bool) -> None:
    way = Way(bench, forth)
    way.leg.quick = False
    way.write(100)
    near, far = socket.socketpair()
    bench.sockets += [near, far]
    bench.plane.watch(near.fileno(), lambda _: way.source.shutdown(socket.SHUT_WR))
    bench.plane._handle([(way.leg.fd, IN), (near.fileno(), IN), (way.leg.fd, IN | RDHUP)])
    bench.plane.unwatch(near.fileno())
    assert not way.leg.quick
    assert way.leg.done
    assert way.drain() == "end"
    assert way.got == DATA[:100]


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
