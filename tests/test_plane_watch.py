"""What a plane watches besides sessions, and how it begins and stops."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from faith.relay.tcp import plane as plane_module
from faith.relay.tcp.plane import IN, OUT, RDHUP, Plane
from faith.relay.tcp.routing import Route
from faith.relay.tcp.session import Session
from tests.narrow import BOTH_WAYS, Way, narrow_pair, reset
from tests.test_plane import PEER, Bench, bench, tcp_pair

__all__ = ["bench"]


@pytest.fixture
def ends(bench: Bench) -> tuple[socket.socket, socket.socket]:
    """Two ends of a socket pair."""
    near, far = socket.socketpair()
    near.setblocking(False)
    bench.sockets += [near, far]
    return near, far


def test_a_handler_hears_of_its_descriptor(
    bench: Bench, ends: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    near, far = ends
    met: list[int] = []
    bench.plane.watch(near.fileno(), met.append)
    bench.turn()
    assert not met
    far.send(b"x")
    bench.until(lambda: bool(met))
    assert set(met) == {IN}
    bench.plane.rewatch(near.fileno(), OUT)
    near.recv(1)
    met.clear()
    bench.until(lambda: bool(met))
    assert set(met) == {OUT}
    bench.plane.rewatch(near.fileno(), RDHUP)
    bench.turn()
    met.clear()
    far.send(b"x")
    bench.turn()
    assert not met
    assert not caplog.records


def test_it_hears_no_more_when_it_is_unwatched(
    bench: Bench, ends: tuple[socket.socket, socket.socket]
) -> None:
    near, far = ends
    met: list[int] = []
    bench.plane.watch(near.fileno(), met.append)
    bench.plane.unwatch(near.fileno())
    bench.plane.unwatch(near.fileno())
    bench.plane.unwatch(len(bench.plane._table))
    far.send(b"x")
    bench.turn()
    assert not met
    bench.plane.watch(near.fileno(), met.append)
    bench.until(lambda: bool(met))


def test_another_handler_takes_its_place(
    bench: Bench, ends: tuple[socket.socket, socket.socket]
) -> None:
    near, far = ends
    met: list[int] = []
    bench.plane.watch(near.fileno(), lambda _: pytest.fail("it was replaced"), OUT)
    bench.plane.watch(near.fileno(), met.append)
    far.send(b"x")
    bench.until(lambda: bool(met))
    assert set(met) == {IN}


def test_what_is_retired_is_closed_and_no_more_heard_of(
    bench: Bench, ends: tuple[socket.socket, socket.socket]
) -> None:
    near, far = ends
    met: list[int] = []
    copy = near.dup()  # as a process that was forked meanwhile has it
    bench.sockets.append(copy)
    bench.plane.watch(near.fileno(), met.append)
    bench.plane.retire(near)
    assert near.fileno() == -1
    far.send(b"x")
    bench.turn()
    assert not met


def test_what_is_retired_in_a_turn_keeps_its_number_until_the_turn_is_over(
    bench: Bench, ends: tuple[socket.socket, socket.socket]
) -> None:
    """An event at hand may still be for it: another socket must not have it yet."""
    near, far = ends
    numbers: list[int] = []

    def retire(_: int) -> None:
        bench.plane.retire(near)
        numbers.append(near.fileno())

    bench.plane.watch(near.fileno(), retire)
    far.send(b"x")
    bench.until(lambda: bool(numbers))
    assert numbers[0] > 0
    bench.until(lambda: near.fileno() == -1)


def test_a_handler_that_fails_costs_nobody_anything(
    bench: Bench, ends: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    near, far = ends

    def fail(_: int) -> None:
        near.recv(1)
        raise ValueError("a defect")

    client, server, _ = bench.session()
    bench.plane.watch(near.fileno(), fail)
    far.send(b"x")
    client.send(b"y")
    assert bench.read(server, 1) == b"y"
    assert "a defect in the relay" in caplog.text
    assert [record.name for record in caplog.records] == ["faith.relay"]


def test_a_session_that_never_began_is_ended_by_a_new_plane(bench: Bench) -> None:
    """No event has woken it yet, and none will."""
    (client, client_leg), (server, server_leg) = tcp_pair(), tcp_pair()
    bench.sockets += [client, server]
    session = Session(client_leg, server_leg, PEER, Route("::"), 1, bench.loop.time())
    bench.plane.end(session, "refused", reset=True)
    assert session.reset
    bench.until(lambda: bench.ended == [session])
    with pytest.raises(ConnectionResetError):
        bench.read(client, 1)


def test_an_end_by_fin(bench: Bench) -> None:
    client, server, session = bench.session()
    bench.plane.end(session, "over", reset=False)
    assert not session.reset
    assert bench.read(client, 1) == bench.read(server, 1) == b""
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def test_which_sessions_there_are(bench: Bench) -> None:
    """Not those that are dialled, be it to the client, as for FTP's active mode."""
    first, second = bench.session()[2], bench.session()[2]
    dialled = []
    for name in ("client", "server"):
        (client, client_leg), (server, server_leg) = tcp_pair(), tcp_pair()
        bench.sockets += [client, server]
        session = Session(client_leg, server_leg, PEER, Route("::"), 1, bench.loop.time())
        bench.plane.dial(getattr(session, name))
        dialled.append(session)
    assert set(bench.plane.sessions()) == {first, second}
    bench.plane.end(first, "killed", reset=True)
    assert bench.plane.sessions() == [second]
    bench.plane.start(dialled[0].client)
    assert set(bench.plane.sessions()) == {second, dialled[0]}
    bench.plane.end(dialled[1], "killed", reset=True)


@BOTH_WAYS
def test_a_server_that_failed_as_soon_as_it_was_connected(bench: Bench, forth: bool) -> None:
    """What it said is passed on, and then the reset (`Leg.error`)."""
    (client, client_leg), (server, server_leg) = narrow_pair(), narrow_pair()
    bench.sockets += [client, server]
    session = Session(client_leg, server_leg, PEER, Route("::"), 1, bench.loop.time())
    bench.plane.dial(session.server)
    server.send(b"421 ")
    server.send(b"!", socket.MSG_OOB)
    reset(server)
    assert server_leg.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET
    session.server.error = errno.ECONNRESET
    bench.plane.start(session.server)
    assert session.moved == (0, 5)
    way = Way(bench, False, (client, server, session))
    assert way.drain() == "reset"
    assert way.got == b"421 !"
    assert way.marks == [4]
    bench.until(lambda: bool(bench.ended))
    assert session.end == "server reset"


@pytest.mark.parametrize("size", [0, -1, 0.5])
def test_the_table_grows_with_the_descriptors(
    bench: Bench, ends: tuple[socket.socket, socket.socket], size: float
) -> None:
    near, far = ends
    number = near.fileno()
    bench.plane._table = [None] * int(number * size if size > 0 else number + size)
    bench.plane.unwatch(number)
    met: list[int] = []
    bench.plane.watch(number, met.append)
    far.send(b"x")
    bench.until(lambda: bool(met))


def test_pipes_not_held_are_closed_when_the_plane_rests(bench: Bench) -> None:
    pipe = bench.plane._pipes.take()
    assert pipe
    bench.plane._pipes.give(pipe)
    bench.plane.rest()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(pipe[0])


def test_a_plane_that_stops_ends_what_waits_and_leaves_nothing(bench: Bench) -> None:
    before = len(os.listdir("/proc/self/fd"))
    over: list[Session] = []
    plane = Plane(bench.loop, lambda leg, mask: None, over.append)
    pairs = tcp_pair(), tcp_pair()
    session = Session(pairs[0][1], pairs[1][1], PEER, Route("::"), 1, bench.loop.time())
    plane.dial(session.server)
    plane.start(session.server)
    pipe = plane._pipes.take()
    assert pipe
    plane._pipes.give(pipe)
    number = plane._epoll.fileno()
    plane._resets.add(session, session.server)
    assert plane._resets._timer
    plane.end(session, "stopped", reset=True)
    plane.close()
    assert over == [session]
    assert plane._resets._timer is None
    assert not bench.loop.remove_reader(number)
    for near, _ in pairs:
        near.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert plane._epoll.closed


def test_a_turn_takes_all_that_comes_but_not_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others than the plane's sessions have their turn of the loop."""
    asked = 0
    monkeypatch.setattr(plane_module, "ROUNDS", 3)
    client, _, session = bench.session()
    bench.turn()

    def read_little(events: list[tuple[int, int]]) -> None:
        nonlocal asked
        asked += 1
        bench.plane._deferred[session.client.fd] = IN

    monkeypatch.setattr(bench.plane, "_handle", read_little)
    client.send(b"x")
    bench.plane._turn()
    assert asked == 3
    monkeypatch.undo()
    bench.plane._deferred.clear()


def test_an_idle_plane_asks_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(bench.plane, "_handle", lambda events: asked.append(len(events)))
    bench.plane._turn()
    assert asked == [0]


def test_turns_that_are_wanted_several_times_are_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[int] = []
    monkeypatch.setattr(bench.plane, "_turn", lambda: turns.append(1))
    for count in (1, 2):
        for _ in range(3):
            bench.plane._soon()
        bench.turn()
        assert len(turns) == count


def test_small_data_goes_the_short_way(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly every octet of nearly every session does."""
    client, server, session = bench.session()
    bench.until(lambda: session.server.quick)
    longer: list[int] = []
    monkeypatch.setattr(bench.plane, "_slow", lambda leg, mask: longer.append(mask))
    monkeypatch.setattr(bench.plane, "_pump", lambda leg, **_: longer.append(leg.fd))
    for source, sink in ((client, server), (server, client)) * 3:
        source.send(b"question")
        assert bench.read(sink, 8) == b"question"
    assert not longer
    assert session.moved == (24, 24)
    assert not bench.plane._drained


def test_an_event_without_data_is_none(bench: Bench) -> None:
    client, server, session = bench.session()
    bench.until(lambda: session.server.quick)
    for leg in (session.client, session.server):
        bench.plane._handle([(leg.fd, IN), (leg.fd, IN | OUT), (leg.fd, OUT)])
        assert leg.quick
    assert session.end is None
    client.send(b"x")
    assert bench.read(server, 1) == b"x"


@BOTH_WAYS
def test_a_fin_that_comes_between_the_event_and_the_read(bench: Bench, forth: bool) -> None:
    way = Way(bench, forth)
    bench.until(lambda: way.leg.quick)
    way.source.shutdown(socket.SHUT_WR)
    bench.plane._handle([(way.leg.fd, IN)])
    assert way.leg.done
    assert way.drain() == "end"
    assert way.session.end is None
    way.sink.send(b"the other way")
    assert bench.read(way.source, 13) == b"the other way"


@BOTH_WAYS
@pytest.mark.parametrize(
    ("error", "end"),
    [
        (OSError(errno.ETIMEDOUT, "timed out"), "timed out"),
        (OSError(), os.strerror(errno.EIO).lower()),
    ],
)
@pytest.mark.parametrize("call", ["read", "write"])
@pytest.mark.parametrize("quick", [True, False])
def test_a_call_that_fails_is_a_failure_of_its_side(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    forth: bool,
    error: OSError,
    end: str,
    call: str,
    quick: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    way = Way(bench, forth)
    way.leg.quick = quick
    failing = way.leg if call == "read" else way.peer
    if quick or call == "read":
        do = getattr(os, call)

        def fail(fd: int, argument: bytes | int) -> bytes | int:
            if fd == failing.fd:
                raise error
            answer: bytes | int = do(fd, argument)
            return answer

        monkeypatch.setattr(os, call, fail)
    else:
        way.leg.held = b"y"
        way.leg.peer.sock = Refusing(way.peer.sock, error)  # type: ignore[assignment]
    way.source.send(b"x")
    bench.until(lambda: bool(bench.ended))
    side = "client" if failing is way.session.client else "server"
    assert way.session.end == f"{side} {end}"
    assert way.leg.moved == 0
    assert not caplog.records


class Refusing:
    """A socket that can send nothing."""

    def __init__(self, sock: object, error: OSError) -> None:
        self._sock = sock
        self._error = error

    def send(self, *_: object) -> int:
        raise self._error

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)
