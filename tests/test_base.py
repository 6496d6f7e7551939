from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from faith.kernel.steering.base import Steering

if TYPE_CHECKING:
    from faith.translation.prefix import Prefix


def group(workers: int) -> list[socket.socket]:
    return [socket.socket() for _ in range(workers)]


def test_what_was_done_is_undone_in_reverse_order_and_once() -> None:
    undone: list[str] = []
    undo = ExitStack()
    undo.callback(undone.append, "first")
    undo.callback(undone.append, "second")
    with Steering("route", [[]], undo) as steering:
        assert undone == []
    steering.close()
    assert undone == ["second", "first"]


def test_an_error_inside_undoes_too() -> None:
    undone: list[str] = []
    undo = ExitStack()
    undo.callback(undone.append, "done")
    with pytest.raises(KeyboardInterrupt), Steering("route", [[]], undo):
        raise KeyboardInterrupt
    assert undone == ["done"]


def test_every_worker_has_a_listener_of_every_group() -> None:
    web, telnet = group(2), group(2)
    steering = Steering("route", [web, telnet], ExitStack())
    assert steering.listeners == [[web[0], telnet[0]], [web[1], telnet[1]]]
    for sock in (*web, *telnet):
        sock.close()


def test_prefixes_go_to_the_way_that_wants_them() -> None:
    told: list[list[Prefix]] = []
    steering = Steering("tproxy", [[]], ExitStack(), set_prefixes=lambda new: told.append([*new]))
    steering.set_prefixes([])
    Steering("route", [[]], ExitStack()).set_prefixes([])
    assert told == [[]]


def test_listeners_of_the_hosts_own_addresses_are_one_more_for_each_worker() -> None:
    with Steering("redirect", [group(2)], ExitStack(), redirected=True) as steering:
        first = [listeners[0] for listeners in steering.listeners]
        steering.listen(0)
        own = [listeners[1] for listeners in steering.listeners]
        assert len({sock.getsockname()[:2] for sock in own}) == 1
    assert [sock.fileno() for sock in own] == [-1, -1]
    for sock in first:
        sock.close()
