"""The supervisor's event loop: descriptors, timers, signals."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from faith.daemon.process.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_calls_what_became_readable(loop: Loop) -> None:
    near, far = socket.socketpair()
    with near, far:
        loop.watch(near, loop.stop)
        far.send(b"x")
        loop.run()


def test_a_source_forgotten_in_the_same_turn_is_left_alone(loop: Loop) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    called = []

    def first_only(own: int, other: int) -> None:
        called.append(own)
        loop.forget(pairs[other][0])
        loop.stop()

    for own, other in ((0, 1), (1, 0)):
        loop.watch(pairs[own][0], lambda own=own, other=other: first_only(own, other))  # type: ignore[misc]
        pairs[own][1].send(b"x")
    loop.run()
    assert len(called) == 1
    loop.forget(pairs[0][0])
    loop.forget(pairs[1][0])
    for pair in pairs:
        for sock in pair:
            sock.close()


def test_what_is_not_watched_or_closed_can_be_forgotten(loop: Loop) -> None:
    never, closed = socket.socketpair()
    loop.watch(closed, loop.stop)
    closed.close()
    loop.forget(closed)
    loop.forget(closed)
    loop.forget(never)
    never.close()
    loop.forget(never)


def test_timers_come_in_the_order_of_their_time(loop: Loop) -> None:
    order: list[str] = []
    loop.later(0.02, loop.stop)
    loop.later(0.01, lambda: order.append("second"))
    loop.later(0.0, lambda: order.append("first"))
    loop.run()
    assert order == ["first", "second"]


def test_a_timer_can_be_called_off(loop: Loop) -> None:
    order: list[str] = []
    timers = {name: loop.later(0.01, lambda name=name: order.append(name)) for name in "abc"}  # type: ignore[misc]
    loop.later(0.02, loop.stop)
    timers["b"]()
    timers["b"]()
    loop.run()
    assert order == ["a", "c"]
    timers["a"]()  # too late


def test_signals_are_handled_in_the_loop_and_not_before(loop: Loop) -> None:
    heard: list[str] = []
    handlers = {
        signal.SIGUSR1: lambda: heard.append("usr1"),
        signal.SIGTERM: loop.stop,
    }
    before = signal.getsignal(signal.SIGUSR1)
    with loop.signals(handlers):
        os.kill(os.getpid(), signal.SIGUSR1)
        assert heard == []
        os.kill(os.getpid(), signal.SIGTERM)
        loop.run()
    assert heard == ["usr1"]
    assert signal.getsignal(signal.SIGUSR1) == before


def test_what_a_callback_raises_ends_the_loop(loop: Loop) -> None:
    def fail() -> None:
        raise ValueError("enough")

    loop.later(0, fail)
    with pytest.raises(ValueError, match="enough"):
        loop.run()
