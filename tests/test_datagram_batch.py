"""Many datagrams in one system call, over the loopback address."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from faith.kernel.sockets.datagram_batch import (
    SIZE,
    Batch,
    endpoint_of,
    host_text,
    socket_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT, REPLY_LIMIT = 100, 50
each_family = pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], indirect=["host"]
)


@pytest.fixture
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Ends:
    """A socket that is asked, and so many that ask."""

    def __init__(self, undo: ExitStack, family: int, host: str) -> None:
        self._undo = undo
        self._family = family
        self.asked = self._socket()
        self.asked.bind((host, 0))

    def _socket(self) -> socket.socket:
        sock = self._undo.enter_context(socket.socket(self._family, socket.SOCK_DGRAM))
        sock.settimeout(5)
        return sock

    def asking(self) -> socket.socket:
        sock = self._socket()
        sock.connect(self.asked.getsockname())
        return sock


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as undo:
        yield undo


@each_family
def test_replies_go_where_their_questions_came_from(
    family: socket.AddressFamily, host: str, undo: ExitStack
) -> None:
    ends = Ends(undo, family, host)
    batch = Batch(family, LIMIT, REPLY_LIMIT)
    asking = [ends.asking() for _ in range(5)]
    for _ in range(2):
        for number, sock in enumerate(asking):
            sock.send(b"question %d" % number)
        arrived = batch.receive(ends.asked.fileno())
        assert [message for message, _ in arrived] == [b"question %d" % n for n in range(5)]
        assert {host_text(octets) for _, octets in arrived} == {host}
        assert [batch.source(n)[:2] for n in range(5)] == [s.getsockname()[:2] for s in asking]
        for number in (1, 4):
            batch.reply(number, b"reply to %d" % number)
        batch.send(ends.asked.fileno())
        assert asking[1].recv(LIMIT) == b"reply to 1"
        assert asking[4].recv(LIMIT) == b"reply to 4"
        ends.asked.sendto(b"late", batch.source(2))
        assert asking[2].recv(LIMIT) == b"late"


@each_family
def test_no_more_than_there_is_room_for(
    family: socket.AddressFamily, host: str, undo: ExitStack
) -> None:
    ends = Ends(undo, family, host)
    batch = Batch(family, LIMIT, REPLY_LIMIT)
    asking = ends.asking()
    asking.send(bytes(2 * LIMIT))
    for _ in range(SIZE):
        asking.send(b"")
    arrived = batch.receive(ends.asked.fileno())
    assert [len(message) for message, _ in arrived] == [LIMIT, *[0] * (SIZE - 1)]
    for number in range(SIZE):
        batch.reply(number, bytes(REPLY_LIMIT))
    batch.send(ends.asked.fileno())
    assert [len(asking.recv(LIMIT)) for _ in range(SIZE)] == [REPLY_LIMIT] * SIZE
    assert len(batch.receive(ends.asked.fileno())) == 1
    assert batch.receive(ends.asked.fileno()) == []


def test_a_reply_that_cannot_be_sent_does_not_keep_the_others(undo: ExitStack) -> None:
    """To port 0 nothing is sent."""
    ends = Ends(undo, socket.AF_INET, "127.0.0.1")
    batch = Batch(socket.AF_INET, LIMIT, REPLY_LIMIT)
    asking = ends.asking()
    for _ in range(3):
        asking.send(b"?")
    batch.receive(ends.asked.fileno())
    for number in (0, 2):
        batch._names[number * 16 + 2 : number * 16 + 4] = bytes(2)
    for number in range(3):
        batch.reply(number, b"%d" % number)
    batch.send(ends.asked.fileno())
    assert asking.recv(LIMIT) == b"1"
    asking.settimeout(0)
    with pytest.raises(BlockingIOError):
        asking.recv(LIMIT)


def test_an_error_is_as_good_as_nothing() -> None:
    assert Batch(socket.AF_INET, LIMIT, REPLY_LIMIT).receive(-1) == []


def test_hosts_of_a_link_have_its_name() -> None:
    octets = socket.inet_pton(socket.AF_INET6, "fe80::1")
    loopback = socket.if_nametoindex("lo").to_bytes(4, "little")
    assert host_text(octets + loopback) in ("fe80::1%lo", "fe80::1%16777216")
    assert host_text(octets + b"\xff" * 4) == "fe80::1%4294967295"


@each_family
def test_a_datagram_comes_with_the_whole_name_of_its_socket(
    family: socket.AddressFamily, host: str, undo: ExitStack
) -> None:
    ends = Ends(undo, family, host)
    asking = [ends.asking() for _ in range(3)]
    for number, sock in enumerate(asking):
        sock.send(b"%d" % number)
    batch = Batch(family, 65535, 0, size=2)
    found = batch.receive_from(ends.asked.fileno()) + batch.receive_from(ends.asked.fileno())
    names = [sock.getsockname()[:2] for sock in asking]
    assert found == [(b"%d" % number, socket_name(*name)) for number, name in enumerate(names)]
    assert [endpoint_of(name) for _, name in found] == names
    assert batch.receive_from(ends.asked.fileno()) == []


def test_a_name_has_the_scope_of_a_link() -> None:
    assert socket_name("fe80::1", 53, 2) != socket_name("fe80::1", 53)
    assert endpoint_of(socket_name("fe80::1", 53, 2)) == ("fe80::1", 53)
