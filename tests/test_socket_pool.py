"""A stock of sockets, filled by somebody who takes their time."""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING

import pytest

from faith.relay.alg.socket_pool import MOST_ASKED, SIZE, SocketPool

if TYPE_CHECKING:
    from collections.abc import Iterator


class Maker:
    """Makes what the stock asks for when it is told to."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.used: list[_socket.socket | None] = []
        self.stock = SocketPool(self.asked.append)

    def deliver(self, count: int) -> None:
        for _ in range(count):
            self.stock.add(_socket.socket())


@pytest.fixture
def maker() -> Iterator[Maker]:
    made = Maker()
    yield made
    made.stock.close()
    for sock in made.used:
        if sock:
            sock.close()


def test_a_full_stock_serves_at_once_and_is_refilled_by_halves(maker: Maker) -> None:
    maker.stock.fill()
    assert maker.asked == [SIZE]
    maker.deliver(SIZE)
    for number in range(1, SIZE // 2 + 1):
        maker.stock.take(maker.used.append)
        assert len(maker.used) == number
    assert maker.asked == [SIZE, SIZE // 2]


def test_who_finds_none_waits_for_his_turn(maker: Maker) -> None:
    for _ in range(3):
        maker.stock.take(maker.used.append)
    assert maker.asked == [SIZE + 1]
    assert maker.used == []
    maker.deliver(2)
    assert len(maker.used) == 2


def test_a_socket_that_cannot_be_made_is_missed_once(maker: Maker) -> None:
    maker.stock.take(maker.used.append)
    maker.stock.add(None)
    assert maker.used == [None]
    maker.deliver(SIZE)
    maker.stock.take(maker.used.append)
    assert maker.used[1] is not None


def test_nobody_waits_for_a_closed_stock(maker: Maker) -> None:
    maker.stock.take(maker.used.append)
    maker.stock.close()
    maker.stock.take(maker.used.append)
    assert maker.used == [None, None]
    maker.deliver(1)
    assert maker.used == [None, None]


def test_however_many_wait_few_are_on_their_way(maker: Maker) -> None:
    for _ in range(3 * MOST_ASKED):
        maker.stock.take(maker.used.append)
    assert MOST_ASKED - SIZE < sum(maker.asked) <= MOST_ASKED
    while len(maker.used) < 3 * MOST_ASKED:
        maker.deliver(1)
        assert sum(maker.asked) - len(maker.used) <= MOST_ASKED
    assert all(maker.used)
