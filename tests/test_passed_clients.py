"""Clients that one process passes on to another, over a channel that has no name."""

from __future__ import annotations

import array
import json
import os
import socket
from typing import TYPE_CHECKING

import pytest

from faith.relay.proxy.passed_clients import (
    BATCH,
    Introduction,
    PassedClients,
    channel,
    pass_on,
)

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterator

TOLD = Introduction(("2001:db8::2", 40000), ("2001:db8::1", 3129), ("::", 3129))


class Bench:
    def __init__(self) -> None:
        self.receiving, self.sending = channel()
        self.came: list[tuple[_socket.socket, Introduction]] = []
        self.passed = PassedClients(self.receiving, lambda *one: self.came.append(one))
        self.ends: list[socket.socket] = []

    def stream(self) -> int:
        """Return the descriptor of a stream, whose other end is in `ends`."""
        near, far = socket.socketpair()
        near.settimeout(5)
        self.ends.append(near)
        return far.detach()

    def send(self, message: bytes, *descriptors: int) -> None:
        """Send what may be anything, and keep no copy."""
        rights = array.array("i", descriptors)
        self.sending.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        for one in descriptors:
            os.close(one)

    def close(self) -> None:
        for sock in (self.receiving, self.sending, *self.ends, *(one for one, _ in self.came)):
            sock.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    before = len(os.listdir("/proc/self/fd"))
    bench = Bench()
    yield bench
    bench.close()
    assert len(os.listdir("/proc/self/fd")) == before, "a descriptor has stayed behind"


def test_a_client_comes_with_its_introduction(bench: Bench) -> None:
    stream = bench.stream()
    pass_on(bench.sending, stream, TOLD)
    os.close(stream)
    bench.passed(0)
    ((sock, told),) = bench.came
    assert told == TOLD
    bench.ends[0].sendall(b"hello")
    assert sock.recv(10) == b"hello"
    with pytest.raises(BlockingIOError):
        sock.recv(10)
    assert not os.get_inheritable(sock.fileno())


def test_no_more_than_a_batch_at_a_time(bench: Bench) -> None:
    for _ in range(BATCH + 3):
        stream = bench.stream()
        pass_on(bench.sending, stream, TOLD)
        os.close(stream)
    bench.passed(0)
    assert len(bench.came) == BATCH
    bench.passed(0)
    assert len(bench.came) == BATCH + 3
    bench.passed(0)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"7",
        json.dumps({**TOLD._asdict(), "client": ["nowhere", 1]}).encode(),
        json.dumps({**TOLD._asdict(), "client": ["::1"]}).encode(),
        json.dumps({**TOLD._asdict(), "local": ["::1", 65536]}).encode(),
        json.dumps({**TOLD._asdict(), "local": ["::1", "1"]}).encode(),
        json.dumps({**TOLD._asdict(), "proxy": None}).encode(),
        b"[" * 1000,
    ],
)
def test_an_introduction_that_makes_no_sense_is_dropped(bench: Bench, message: bytes) -> None:
    bench.send(message, bench.stream())
    bench.passed(0)
    assert bench.came == []
    assert bench.ends[0].recv(1) == b"", "its client is told at once"
    pass_on(bench.sending, (stream := bench.stream()), TOLD)
    os.close(stream)
    bench.passed(0)
    assert len(bench.came) == 1


def test_what_is_no_unix_stream_is_dropped(bench: Bench) -> None:
    message = json.dumps(TOLD._asdict()).encode()
    bench.send(message, os.open("/dev/null", os.O_RDONLY))
    bench.send(message, socket.socket(socket.AF_INET, socket.SOCK_STREAM).detach())
    bench.send(message, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).detach())
    bench.send(message)
    bench.passed(0)
    assert bench.came == []


def test_several_descriptors_are_no_client(bench: Bench) -> None:
    message = json.dumps(TOLD._asdict()).encode()
    bench.send(message, bench.stream(), bench.stream())
    bench.passed(0)
    assert bench.came == []
    assert [end.recv(1) for end in bench.ends] == [b"", b""]


def test_nobody_passes_clients_on_any_more(bench: Bench) -> None:
    bench.sending.close()
    bench.passed(0)
    assert bench.came == []
