from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from faith.daemon.process.messages import Give, Serve, pair
from faith.daemon.services import datagram_process
from faith.daemon.services.datagram_process import DatagramProcess, Task
from faith.kernel.process.capabilities import default_user
from faith.translation.destination import no_leases

if TYPE_CHECKING:
    import pytest


class Unruled:
    """PolicyInputs of a policy that is nobody's."""

    def policy(self, lent: Any) -> None:
        return None


class Idle:
    """A server with something that cannot be handed over yet, and what was asked of it."""

    policy: Any = None

    def __init__(self) -> None:
        self.left = True
        self.asked: list[str] = []
        self.handover: Any = self

    def configure(self, settings: Any) -> None:
        self.asked.append("configure")

    def serve(self) -> None:
        self.asked.append("serve")

    def close(self) -> None:
        self.asked.append("close")

    def end(self) -> None:
        self.asked.append("end")

    def give(self, room: int) -> tuple[list[Any], list[int]]:
        return [], []

    def adopt(self, states: list[Any], descriptors: list[int]) -> None:
        self.asked.append("take")


def test_who_hands_over_does_not_begin_to_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    """One upgrade right after another: it had been told to serve in a moment."""
    monkeypatch.setattr(datagram_process, "PATIENCE", 0.05)
    server = Idle()
    parts: Any = Unruled()
    loop = asyncio.new_event_loop()
    ours, theirs = pair()
    giver, taker = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    task = Task(lambda *_: server, dict, parts, no_leases, default_user(), False)
    process = DatagramProcess(loop, task, theirs)
    ours.send(Serve())
    ours.send(Give(), [giver.fileno()])
    loop.call_later(0.2, setattr, server, "left", False)
    loop.run_forever()
    assert server.asked == ["close"]
    process.close()
    loop.close()
    for one in (ours, theirs, giver, taker):
        one.close()
