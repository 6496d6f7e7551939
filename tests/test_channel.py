"""Messages between supervisor and worker."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from typing import TYPE_CHECKING

import pytest

from faith.daemon.process.channel import (
    LONGEST,
    InvalidMessage,
    JsonChannel,
    Received,
    close_all,
    from_memory,
    in_memory,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

Pair = tuple[JsonChannel, JsonChannel]


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = map(JsonChannel, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    yield near, far
    near.close()
    far.close()


def test_messages_stay_apart_and_in_order(pair: Pair) -> None:
    near, far = pair
    near.send({"kind": "one"})
    near.send({"kind": "two"})
    assert far.receive() == Received({"kind": "one"}, [])
    assert far.receive() == Received({"kind": "two"}, [])
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
        channel = JsonChannel(far)
        socket.send_fds(near, [octets], [writing])
        os.close(writing)
        if octets:
            with pytest.raises(InvalidMessage):
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
    assert far.receive() == Received({"kind": "last"}, [])
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


def test_messages_of_an_end_that_died_with_unread_ones_are_still_received(pair: Pair) -> None:
    near, far = pair
    near.send({})
    far.send({"last": "words"})
    far.close()
    assert near.receive() == Received({"last": "words"}, [])
    assert near.receive() is None


def test_descriptors_that_are_lost_for_want_of_room_are_noticed(pair: Pair) -> None:
    near, far = pair
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    near.send({"kind": "x"}, [near.fileno()])
    highest = max(map(int, os.listdir("/proc/self/fd")))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(highest)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) + 1, before[1]))
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        assert far.receive() == Received({"kind": "x"}, [], cut=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        close_all(held)
    near.send({"kind": "y"}, [near.fileno()])
    received = far.receive()
    assert received
    assert not received.cut
    close_all(received.descriptors)


def test_a_message_that_is_too_long_is_invalid(pair: Pair) -> None:
    near, far = pair
    near.send({"kind": "x" * LONGEST})
    with pytest.raises(InvalidMessage, match="longer than 65536 octets"):
        far.receive()


def test_what_is_no_file_or_too_large_is_not_read() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    with pytest.raises(InvalidMessage, match="not a file"):
        from_memory(reading)
    huge = os.memfd_create("huge", os.MFD_CLOEXEC)
    os.ftruncate(huge, 8 << 30)
    with pytest.raises(InvalidMessage, match="octets at most"):
        from_memory(huge)
