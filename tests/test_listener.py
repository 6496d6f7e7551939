"""Accepting when there is no room: what is shed, and when to rest."""

from __future__ import annotations

import _socket
import errno
import os
import socket
from typing import TYPE_CHECKING

import pytest

from faith.relay.tcp.listener import Listener, Reserve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

EXHAUSTED = [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM]


class Full:
    """A listening socket of which nothing can be accepted, the first *times*."""

    def __init__(self, error: int, times: int) -> None:
        self._sock = _socket.socket(_socket.AF_INET6, _socket.SOCK_STREAM)
        self._sock.bind(("::1", 0))
        self._sock.listen(4)
        self._sock.setblocking(False)
        self._error = error
        self._left = times
        self.address = self._sock.getsockname()[:2]

    def _accept(self) -> tuple[int, Any]:
        if self._left:
            self._left -= 1
            raise OSError(self._error, os.strerror(self._error))
        accepted: tuple[int, Any] = self._sock._accept()  # type: ignore[attr-defined]
        return accepted

    def close(self) -> None:
        self._sock.close()


class Room:
    """What a listener at such a socket has done."""

    def __init__(self, error: int, times: int) -> None:
        self.sock = Full(error, times)
        self.reserve = Reserve()
        self.accepted: list[int] = []
        self.shed: list[bool] = []
        self.listener = Listener(
            self.sock,  # type: ignore[arg-type]
            lambda fd, peer: self.accepted.append(fd),
            lambda listener, shed: self.shed.append(shed),
            self.reserve,
        )

    def close(self) -> None:
        self.sock.close()
        self.reserve.close()
        for fd in self.accepted:
            os.close(fd)


@pytest.fixture
def room(request: pytest.FixtureRequest) -> Iterator[Room]:
    made = Room(*request.param)
    yield made
    made.close()


@pytest.mark.parametrize("room", [(error, 1) for error in EXHAUSTED], indirect=True)
def test_one_there_is_no_room_for_is_reset(room: Room) -> None:
    with socket.create_connection(room.sock.address, 5) as client:
        room.listener(0)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert room.shed == [True]
    assert not room.accepted


@pytest.mark.parametrize("room", [(error, 2) for error in EXHAUSTED], indirect=True)
def test_where_not_even_that_is_possible_it_waits(room: Room) -> None:
    with socket.create_connection(room.sock.address, 5):
        room.listener(0)
        assert room.shed == [False]
        room.listener(0)
    assert len(room.accepted) == 1, "there is room again"


@pytest.mark.parametrize("room", [(errno.ECONNABORTED, 1)], indirect=True)
def test_an_error_of_one_connection_is_no_want_of_room(room: Room) -> None:
    room.listener(0)
    assert not room.shed
