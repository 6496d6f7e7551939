"""Messages between supervisor and worker."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from faith.daemon.process.channel import Channel, from_memory, in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

Pair = tuple[Channel, Channel]


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = Channel.pair()
    yield near, far
    near.close()
    far.close()


def test_messages_stay_apart_and_in_order(pair: Pair) -> None:
    near, far = pair
    near.send({"kind": "one"})
    near.send({"kind": "two"})
    assert far.receive() == ({"kind": "one"}, [])
    assert far.receive() == ({"kind": "two"}, [])
    with pytest.raises(BlockingIOError):
        far.receive()


def test_a_descriptor_arrives_as_a_copy_that_no_program_inherits(pair: Pair) -> None:
    near, far = pair
    reading, writing = os.pipe()
    near.send({}, [writing])
    os.close(writing)
    received = far.receive()
    assert received
    (copy,) = received[1]
    assert not os.get_inheritable(copy)
    os.write(copy, b"x")
    os.close(copy)
    assert os.read(reading, 2) == b"x"
    os.close(reading)


@pytest.mark.parametrize("octets", [b"{", b"\xff", b"[" * 60_000, b""])
def test_descriptors_that_come_with_nonsense_are_closed(octets: bytes) -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reading, writing = os.pipe()
    with near:
        channel = Channel(far)
        socket.send_fds(near, [octets], [writing])
        os.close(writing)
        if octets:
            with pytest.raises(ValueError, match="not JSON"):
                channel.receive()
        else:
            assert channel.receive() is None
        channel.close()
    assert os.read(reading, 1) == b"", "nobody can write any more"
    os.close(reading)


def test_the_end_is_told_after_what_was_said(pair: Pair) -> None:
    near, far = pair
    near.send({"kind": "last"})
    near.close()
    assert far.receive() == ({"kind": "last"}, [])
    assert far.receive() is None


def test_an_end_that_died_with_unread_messages_is_an_end(pair: Pair) -> None:
    near, far = pair
    near.send({})
    far.close()
    assert near.receive() is None
    with pytest.raises(BrokenPipeError):
        near.send({})


def test_nobody_waits_for_an_end_that_does_not_read(pair: Pair) -> None:
    near, _ = pair

    def fill() -> None:
        for _ in range(100_000):
            near.send({"kind": "x" * 1000})

    with pytest.raises(BlockingIOError):
        fill()


def test_long_texts_reach_every_receiver_whole() -> None:
    text = "2001:db8:6::/48 permit 0.0.0.0/0  # é\n" * 50_000
    with in_memory(text) as descriptor:
        copies = [os.dup(descriptor) for _ in range(3)]
    assert [from_memory(copy) == text for copy in copies] == [True] * 3
    for copy in copies:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(copy)
