"""Bodies through a pipe, from one real socket to another."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest

from faith.relay.proxy.body_splice import BULK, BodySplice
from faith.relay.proxy.stream_end import StreamEnd
from faith.relay.tcp.pipes import PipePool
from tests.test_plane import tcp_pair

if TYPE_CHECKING:
    from collections.abc import Iterator


class Bench:
    """A splice between two connections."""

    def __init__(self, pipes: int) -> None:
        self.pool = PipePool(pipes)
        self.near, source = tcp_pair()
        self.far, sink = tcp_pair()
        self.source, self.sink = StreamEnd("client", source), StreamEnd("server", sink)
        self.splice = BodySplice(self.pool, self.source, self.sink)

    def close(self) -> None:
        self.splice.release()
        self.pool.close()
        for sock in (self.near, self.far, self.source.sock, self.sink.sock):
            sock.close()


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(getattr(request, "param", 1))
    yield bench
    bench.close()


def read(sock: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        got += sock.recv(size - len(got))
    return got


def test_no_octet_more_than_was_asked_for(bench: Bench) -> None:
    data = os.urandom(BULK + 100)
    bench.near.setblocking(True)
    bench.far.setblocking(True)
    bench.near.sendall(data)
    moved = 0
    while moved < BULK:
        assert bench.splice.fill(BULK)
        moved += bench.splice.push()
        assert moved <= BULK
        if BULK - moved < BULK:
            break
    assert read(bench.far, moved) == data[:moved]


def test_a_sink_that_is_full(bench: Bench) -> None:
    bench.far.setblocking(True)
    sent = moved = 0
    while True:
        with contextlib.suppress(BlockingIOError):
            sent += bench.near.send(bytes(65536))
        assert bench.splice.fill(1 << 30)
        moved += bench.splice.push()
        if bench.splice.piped:
            break
    assert bench.splice.push() == 0
    assert bench.splice.fill(1 << 30), "it has something to push"
    read(bench.far, moved)
    left = bench.splice.piped
    while bench.splice.piped:
        bench.splice.push()
    assert read(bench.far, left) == bytes(left)


def test_little_is_read_instead(bench: Bench) -> None:
    assert not bench.splice.fill(BULK - 1)
    assert bench.splice.pipe is None


@pytest.mark.parametrize("bench", [0], indirect=True)
def test_without_a_pipe_it_is_read_instead(bench: Bench) -> None:
    assert not bench.splice.fill(BULK)


def test_nothing_yet(bench: Bench) -> None:
    assert bench.splice.fill(BULK)
    assert bench.splice.push() == 0


def test_an_end_is_for_a_read_to_find(bench: Bench) -> None:
    bench.near.close()
    assert not bench.splice.fill(BULK)
    assert bench.source.read() == b""
    assert bench.source.at_end


@pytest.mark.parametrize("side", ["source", "sink"])
def test_a_side_that_is_reset(bench: Bench, side: str) -> None:
    lost = bench.near if side == "source" else bench.far
    if side == "sink":
        bench.near.sendall(bytes(BULK))
        assert bench.splice.fill(BULK)
    lost.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    lost.close()
    if side == "source":
        assert not bench.splice.fill(BULK)
        assert bench.source.error
    else:
        while not bench.sink.error:
            bench.splice.push()
        assert not bench.splice.piped, "nobody is left to take it"


def test_what_is_in_a_pipe_is_dropped_with_it(bench: Bench) -> None:
    bench.near.sendall(bytes(BULK))
    assert bench.splice.fill(BULK)
    before = len(os.listdir("/proc/self/fd"))
    bench.splice.release()
    assert len(os.listdir("/proc/self/fd")) == before - 2
    assert bench.splice.fill(BULK), "there is room for another pipe"
