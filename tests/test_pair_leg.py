"""One leg of inetd mode's pump, step by step."""

from __future__ import annotations

import contextlib
import errno
import os
import select
from typing import TYPE_CHECKING

import pytest

from faith.relay.inetd import blocking_relay as module
from faith.relay.inetd.blocking_relay import Leg
from faith.relay.tcp.pipes import PipePool
from tests.narrow import DATA, narrow_pair

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

Legs = tuple["socket.socket", Leg, Leg, "socket.socket"]


@pytest.fixture
def legs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Legs]:
    """Who writes, two legs, who reads; a read of 4 KiB turns to bulk, a splice of 1 KiB back."""
    monkeypatch.setattr(module, "CHUNK", 4096)
    monkeypatch.setattr(module, "SMALL", 1024)
    (far, ours), (sink, theirs) = narrow_pair(), narrow_pair()
    yield far, Leg("client", ours), Leg("server", theirs), sink
    for sock in (far, ours, sink, theirs):
        sock.close()


@pytest.fixture
def pool() -> Iterator[PipePool]:
    made = PipePool(2)
    yield made
    made.close()


def test_a_second_failure_says_that_nothing_can_be_read(legs: Legs) -> None:
    _, leg, _, _ = legs
    leg.fail(errno.ETIMEDOUT)
    assert (leg.error, leg.eof) == (errno.ETIMEDOUT, False)
    leg.fail(errno.ECONNRESET)
    assert (leg.error, leg.eof) == (errno.ETIMEDOUT, True)


@pytest.mark.parametrize("there", [True, False])
def test_a_pipe_with_octets_for_a_side_that_failed_is_closed(
    legs: Legs, pool: PipePool, there: bool
) -> None:
    """An empty one is kept for what is still to come from that side."""
    far, leg, peer, sink = legs
    for _ in range(2):
        while select.select([], [far], [], 0)[1]:
            far.send(DATA[:4000])
        leg.read(pool)
        while leg.pending and not leg._piped:
            with contextlib.suppress(BlockingIOError):
                sink.recv(4096)
            leg.deliver(peer)
    assert leg._piped
    pipe = leg._pipe
    assert pipe
    while not there and leg.pending:
        with contextlib.suppress(BlockingIOError):
            sink.recv(4096)
        leg.deliver(peer)
    leg.drop(pool)
    assert not leg.pending
    if there:
        assert leg._pipe is None
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(pipe[0])
    else:
        assert leg._pipe == pipe
        pool.discard(pipe)


def test_a_stream_is_bulk_from_a_full_read_to_a_short_splice(legs: Legs, pool: PipePool) -> None:
    far, leg, peer, sink = legs

    def moved() -> tuple[int, int]:
        leg.read(pool)
        found = len(leg._held), leg._piped
        leg.deliver(peer)
        assert not leg.pending
        sink.recv(1 << 20)
        return found

    far.send(bytes(4096))
    assert moved() == (4096, 0)
    for size in (4096, 1024, 1023):
        far.send(bytes(size))
        assert moved() == (0, size)
    far.send(bytes(100))
    assert moved() == (100, 0)
    assert leg.moved == 4096 + 4096 + 1024 + 1023 + 100
    assert leg._pipe
    pool.discard(leg._pipe)


def test_an_end_waits_for_what_was_read_before(legs: Legs, pool: PipePool) -> None:
    """Also when the socket has failed twice, and nothing more can be read from it."""
    far, leg, peer, sink = legs
    with contextlib.suppress(BlockingIOError):
        while True:
            peer.sock.send(bytes(1000))
    far.send(DATA[:100])
    leg.read(pool)
    leg.fail(errno.EPIPE)
    leg.fail(errno.ECONNRESET)
    leg.deliver(peer)
    if leg.pending:
        assert not leg.done
    got = bytearray()
    while not leg.done:
        if select.select([sink], [], [], 0.01)[0]:
            got += sink.recv(1 << 20)
        leg.deliver(peer)
    while data := receive(sink):
        got += data
    assert got.endswith(DATA[:100])


def receive(sock: socket.socket) -> bytes:
    assert select.select([sock], [], [], 10)[0]
    return sock.recv(1 << 20)


def test_nothing_there_is_no_end_unless_the_socket_has_failed(legs: Legs, pool: PipePool) -> None:
    _, leg, peer, sink = legs
    leg.read(pool)
    leg.deliver(peer)
    assert not any((leg.eof, leg.done, leg.pending))
    leg.fail(errno.ENOBUFS)
    leg.read(pool)
    leg.deliver(peer)
    assert leg.done
    with pytest.raises(BlockingIOError):
        sink.recv(1)
