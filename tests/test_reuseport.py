"""Queries by their names to the sockets of a port."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from faith.errors import SetupError
from faith.kernel.sockets.reuseport import share_by_name
from tests.dns.messages import query_wire

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = 3


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as undo:
        yield undo


def opened(undo: ExitStack, port: int = 0) -> socket.socket:
    sock = undo.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.setblocking(False)
    sock.bind(("::1", port))
    return sock


def group(undo: ExitStack) -> list[socket.socket]:
    first = opened(undo)
    socks = [first, *(opened(undo, first.getsockname()[1]) for _ in range(WORKERS - 1))]
    for sock in socks:
        share_by_name(sock, WORKERS)
    return socks


def receiver(undo: ExitStack, socks: list[socket.socket], message: bytes) -> int:
    """Which of them gets *message* of a client that never asked before."""
    client = undo.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    client.sendto(message, socks[0].getsockname()[:2])
    for number, sock in enumerate(socks):
        try:
            assert sock.recv(4096) == message
        except BlockingIOError:
            continue
        return number
    raise AssertionError("nobody")


def test_one_name_is_for_one_whoever_asks_and_in_whatever_case(undo: ExitStack) -> None:
    socks = group(undo)
    for owner in ("www.example.", "a.de.", "a-very-long-name.with.many.labels.example."):
        queries = [
            query_wire(name, id=number) for number in range(20) for name in (owner, owner.upper())
        ]
        assert len({receiver(undo, socks, query) for query in queries}) == 1, owner


def test_all_types_of_a_name_are_for_one(undo: ExitStack) -> None:
    socks = group(undo)
    kinds = ("A", "AAAA", "MX", "HTTPS")
    for owner in ("a.de.", "www.example.com.", "x.y.example.org.", "a-very-long-name.example."):
        queries = [query_wire(owner, kind, use_edns=edns) for kind in kinds for edns in (0, False)]
        assert len({receiver(undo, socks, query) for query in queries}) == 1, owner


@pytest.mark.parametrize("form", ["n{}.example.", "www.site{}.example.", "{}.new.example.", "x{}."])
def test_names_are_shared_out_evenly(form: str, undo: ExitStack) -> None:
    socks = group(undo)
    count = 600
    found = [receiver(undo, socks, query_wire(form.format(n))) for n in range(count)]
    for number in range(WORKERS):
        assert found.count(number) == pytest.approx(count / WORKERS, rel=0.35)


ODD = {
    "nothing": b"",
    "short": b"x",
    "half": bytes(11),
    "none": bytes(15),
    "root": query_wire(".", "NS"),
}


@pytest.mark.parametrize("message", ODD.values(), ids=ODD)
def test_whatever_comes_is_for_somebody(message: bytes, undo: ExitStack) -> None:
    assert receiver(undo, group(undo), message) in range(WORKERS)


def test_a_socket_of_its_own_has_nothing_to_share(undo: ExitStack) -> None:
    sock = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    with pytest.raises(SetupError, match="share queries out by name"):
        share_by_name(sock, WORKERS)
