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
    bench: Bench, ends: tuple[socket.socket, socket.socket]
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
    first, second = bench.session()[2], bench.session()[2]
    (client, client_leg), (server, server_leg) = tcp_pair(), tcp_pair()
    bench.sockets += [client, server]
    dialling = Session(client_leg, server_leg, PEER, Route("::"), 1, bench.loop.time())
    bench.plane.dial(dialling.server)
    assert set(bench.plane.sessions()) == {first, second}
    bench.plane.end(first, "killed", reset=True)
    assert bench.plane.sessions() == [second]
    bench.plane.end(dialling, "killed", reset=True)


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


def test_the_table_grows_with_the_descriptors(bench: Bench) -> None:
    near, far = socket.socketpair()
    bench.sockets.append(far)
    high = socket.socket(fileno=os.dup2(near.fileno(), 900))
    near.close()
    bench.sockets.append(high)
    met: list[int] = []
    bench.plane.watch(900, met.append)
    far.send(b"x")
    bench.until(lambda: bool(met))
    bench.plane.unwatch(900)


def test_pipes_of_nobody_are_closed_when_the_plane_rests(bench: Bench) -> None:
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
    plane.end(session, "stopped", reset=True)
    plane.close()
    assert over == [session]
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
