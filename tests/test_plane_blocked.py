"""The plane where buffers fill, reads fall short and peers hang up in the middle.

The buffers of these sockets hold a few kilobytes, and a read of 4 KiB turns a direction to bulk.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

import pytest

from faith.relay.tcp import plane as plane_module
from faith.relay.tcp.plane import IN
from tests.narrow import BOTH_WAYS, DATA, Way, descriptors, reset, segments
from tests.test_plane import Bench, bench

__all__ = ["bench"]


@pytest.fixture
def bulky(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have streams of small buffers be spliced."""
    monkeypatch.setattr(plane_module, "CHUNK", 4096)
    monkeypatch.setattr(plane_module, "SMALL", 1024)


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


@BOTH_WAYS
@pytest.mark.usefixtures("bulky")
def test_a_stream_is_bulk_from_a_full_read_to_a_short_splice(
    bench: Bench, forth: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = Way(bench, forth)
    bench.until(lambda: way.leg.quick)
    moved = ask_for_splices(monkeypatch)
    for size in (8192, 4096, 1024):
        way.write(way.sent + size)
        way.arrives()
        bench.turn(0)
        assert not way.leg.quick
        assert way.leg.size >= 4096
    assert sum(moved) == 2 * (4096 + 4096 + 1024), "all but the first read, in and out"
    moved.clear()
    way.write(way.sent + 1023)
    way.arrives()
    bench.until(lambda: way.leg.quick)
    assert sum(moved) == 2 * 1023
    way.write(way.sent + 100)
    way.arrives()
    assert sum(moved) == 2 * 1023
    assert way.leg.pipe is None


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
@pytest.mark.parametrize("size", [0, 100])
def test_a_mark_is_kept_before_any_event_has_told_of_it(
    bench: Bench, forth: bool, size: int
) -> None:
    """In bulk, under load, the event comes later than the read that meets the mark."""
    way = Way(bench, forth)
    way.source.send(DATA[:size])
    way.source.send(b"!", socket.MSG_OOB)
    way.leg.quick = False
    bench.plane._handle([(way.leg.fd, IN)])
    assert not way.leg.urgent
    way.receive(size + 1)
    assert way.got == DATA[:size] + b"!"
    assert way.marks == [size]


@BOTH_WAYS
@pytest.mark.parametrize("before", [b"before", b""])
@pytest.mark.parametrize("behind", [b"behind", b""])
def test_a_mark_and_the_end_in_one_event(
    bench: Bench, forth: bool, before: bytes, behind: bytes
) -> None:
    way = Way(bench, forth)
    way.source.send(before)
    way.source.send(b"!", socket.MSG_OOB)
    way.source.send(behind)
    way.source.shutdown(socket.SHUT_WR)
    assert way.drain() == "end"
    assert way.got == before + b"!" + behind
    assert way.marks == [len(before)]


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
