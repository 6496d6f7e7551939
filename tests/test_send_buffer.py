"""Octets waiting for a socket that takes few at a time."""

from __future__ import annotations

import socket
from typing import Any

from faith.relay.alg.send_buffer import Outbox


class Narrow:
    """Stands for a socket: takes three octets a call, and no more than *room* in all."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.sent: list[tuple[bytes, int]] = []

    def send(self, data: bytes, flags: int) -> int:
        taken = bytes(data[: min(3, self.room)])
        if not taken:
            raise BlockingIOError
        self.room -= len(taken)
        self.sent.append((taken, flags))
        return len(taken)


def test_what_does_not_fit_waits_at_its_place() -> None:
    sock: Any = Narrow(room=4)
    outbox = Outbox(sock)
    assert not outbox
    outbox.put(b"ABOR\r\n")
    outbox.put(b"NOOP\r\n")
    assert outbox.flush() == 4
    assert outbox
    sock.room = 100
    assert outbox.flush() == 8
    assert not outbox
    assert b"".join(data for data, _ in sock.sent) == b"ABOR\r\nNOOP\r\n"


def test_lines_leave_together() -> None:
    sock: Any = Narrow(room=100)
    outbox = Outbox(sock)
    for line in (b"A\n", b"B\n"):
        outbox.put(line)
    outbox.flush()
    assert sock.sent == [(b"A\nB", 0), (b"\n", 0)]


def test_only_the_last_octet_is_urgent() -> None:
    sock: Any = Narrow(room=100)
    outbox = Outbox(sock)
    outbox.put(b"\xff\xf4\xff", urgent=True)
    outbox.put(b"\xf2", urgent=True)
    outbox.put(b"ABOR\r\n")
    assert outbox.flush() == 10
    assert sock.sent == [
        (b"\xff\xf4", 0),
        (b"\xff", socket.MSG_OOB),
        (b"\xf2", socket.MSG_OOB),
        (b"ABO", 0),
        (b"R\r\n", 0),
    ]
