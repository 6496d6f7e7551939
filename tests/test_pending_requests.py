from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any, cast

import pytest

from faith.daemon.process.channel import Channel
from faith.daemon.upgrade.pending_requests import PendingRequests

if TYPE_CHECKING:
    from faith.daemon.process.control_socket import Request


class Asking:
    """A request, and who waits for its answer."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours: Channel[Any, Any] = Channel(ours)
        self.theirs: Channel[Any, Any] = Channel(theirs)

    def take(self) -> Channel[Any, Any]:
        return self.ours

    def answer(self) -> Any:
        received = self.theirs.receive()
        return received and received[0]


def wait(waiting: PendingRequests, *asking: Asking) -> None:
    for one in asking:
        waiting.add(cast("Request", one))


def test_all_who_wait_are_answered_and_that_is_it() -> None:
    waiting, one, other = PendingRequests(), Asking(), Asking()
    wait(waiting, one, other)
    for asking in (one, other):
        with pytest.raises(BlockingIOError):
            asking.answer()
    waiting.answer(programs=2)
    assert [one.answer(), other.answer()] == [{"programs": 2}] * 2
    assert one.answer() is None  # the end
    waiting.answer(programs=3)  # to nobody
    one.theirs.close()
    other.theirs.close()


def test_who_has_gone_keeps_nobody_from_the_answer() -> None:
    waiting, gone, there = PendingRequests(), Asking(), Asking()
    wait(waiting, gone, there)
    gone.theirs.close()
    waiting.answer(error="no")
    assert there.answer() == {"error": "no"}
    there.theirs.close()


def test_the_next_program_answers_who_asked_this_one() -> None:
    before, asking = PendingRequests(), Asking()
    wait(before, asking)
    after = PendingRequests.adopt([os.dup(fd) for fd in before.state()])
    asking.ours.close()  # as execve(2) leaves it: the copy is all there is
    with pytest.raises(BlockingIOError):
        asking.answer()
    after.answer(programs=2)
    assert asking.answer() == {"programs": 2}
    asking.theirs.close()
