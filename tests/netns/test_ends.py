"""What arrived before an end is delivered before that end, on every path and both ways."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

import pytest

from tests.netns.ends import (
    PATHS,
    direct,
    read_to_reset,
    send_and_reset,
    through,
    upload_to_deaf_server,
)

if TYPE_CHECKING:
    from pathlib import Path

    from faith.lab import ThreeHosts
    from tests.netns.ends import Ends

pytestmark = pytest.mark.netns

SIZES = 1, 1_000, 60_000, 1_000_000
TIMES = 4
ALL = {**PATHS, "direct": direct}


def end_of(ends: Ends, closer: str) -> Ends:
    """Return the end that closes, and the one that reads."""
    client, server = ends
    return (client, server) if closer == "client" else (server, client)


@pytest.mark.parametrize("closer", ["client", "server"])
@pytest.mark.parametrize("path", PATHS)
def test_data_then_a_reset(lab: ThreeHosts, tmp_path: Path, path: str, closer: str) -> None:
    """The closer leaves octets unread, or asks for the reset; the reader is there or comes late."""
    with through(PATHS[path](lab, tmp_path)) as passage:
        cases = [
            (size, unread, late, end_of(passage.open(), closer))
            for size in SIZES
            for unread in (True, False)
            for late in (True, False)
            for _ in range(TIMES if path != "inetd" else 1)
        ]
        passage.settle()
        data = {size: os.urandom(size) for size in SIZES}
        for size, unread, late, (closing, reading) in cases:
            if unread:
                reading.sendall(b"never read")
            send_and_reset(closing, data[size], unread=unread)
            if not late:
                got, end = read_to_reset(reading)
                assert (got == data[size], end) == (True, "reset"), (size, unread, len(got))
        for size, unread, late, (_, reading) in cases:
            if late:
                got, end = read_to_reset(reading)
                assert (got == data[size], end) == (True, "reset"), (size, unread, len(got))


@pytest.mark.parametrize("path", ALL)
def test_an_answer_to_an_upload_that_is_not_read(
    lab: ThreeHosts, tmp_path: Path, path: str
) -> None:
    with through(ALL[path](lab, tmp_path)) as passage:
        opened = [passage.open() for _ in range(5 if path == "inetd" else 40)]
        passage.settle()
        for client, server in opened:
            assert len(upload_to_deaf_server(client, server)) == 140


@pytest.mark.parametrize("path", PATHS)
def test_a_server_that_has_gone_before_it_was_asked(
    lab: ThreeHosts, tmp_path: Path, path: str
) -> None:
    """A greeting and a reset meet the connection while the relay is still dialling it."""
    with through(PATHS[path](lab, tmp_path)) as passage:
        for _ in range(20):
            client = passage.way.connection()
            client.settimeout(20)
            server, _ = passage.listener.accept()
            send_and_reset(server, b"Exceeded MaxStartups\r\n", unread=False)
            assert read_to_reset(client) == (b"Exceeded MaxStartups\r\n", "reset")
            client.close()


def test_a_reset_comes_to_a_peer_that_does_not_read(lab: ThreeHosts, tmp_path: Path) -> None:
    """It waits some seconds for the peer to make room, and other sessions do not wait with it."""
    with through(PATHS["prefix"](lab, tmp_path)) as passage:
        client, server = passage.open()
        server.setblocking(False)
        sent = 0
        while select.select([], [server], [], 0.5)[1]:  # all buffers on the way are full then
            sent += server.send(bytes(1 << 20))
        server.close()  # what it has not sent yet goes on, and it has nothing unread
        client.sendall(b"to a server that has gone")
        others = [passage.open() for _ in range(3)]
        poll = select.poll()
        poll.register(client, 0)
        assert poll.poll(30_000), "the reset has come although nothing was read"
        for one, other in others:
            one.sendall(b"still here")
            assert other.recv(100) == b"still here"
        got, end = read_to_reset(client)
        assert end == "reset"
        assert 0 < len(got) < sent
