"""Short connections at a steady rate, each with one byte there and back.

``pace.py ADDRESS PORT RATE`` makes RATE of them a second until its input ends, from one client, and
then writes a JSON object: how many were answered and how many failed, and milliseconds from connect
to answer: the median, the 99th percentile and the longest.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time

PATIENCE = 30.0
_RESET = struct.pack("ii", 1, 0)


class Pace:
    """The connections under way, and what became of the others."""

    def __init__(self, address: str, port: int) -> None:
        self.times: list[float] = []
        self.failed = 0
        self.under_way: dict[int, tuple[socket.socket, float]] = {}
        self._to = address, port
        self._poll = select.epoll()
        self._poll.register(sys.stdin.fileno(), select.EPOLLIN)

    def begin(self) -> None:
        """Begin one connection."""
        sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.connect_ex(self._to)
        self._poll.register(sock.fileno(), select.EPOLLOUT)
        self.under_way[sock.fileno()] = sock, time.monotonic()

    def go_on(self, seconds: float) -> bool:
        """Serve what is under way for so long; return False once the input has ended."""
        for number, events in self._poll.poll(seconds):
            if number == sys.stdin.fileno():
                self._poll.unregister(number)
                return False
            self._serve(number, events)
        return True

    def _serve(self, number: int, events: int) -> None:
        sock, begun = self.under_way[number]
        try:
            if events == select.EPOLLOUT:
                sock.send(b".")
                self._poll.modify(number, select.EPOLLIN)
                return
            answered = sock.recv(1)
        except OSError:
            answered = b""
        if answered:
            self.times.append(1e3 * (time.monotonic() - begun))
        else:
            self.failed += 1
        # With a reset: ports in TIME_WAIT are not what is measured.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        sock.close()
        del self.under_way[number]


def main(address: str, port: int, rate: float) -> None:
    """Make connections until the end of input."""
    pace = Pace(address, port)
    due = time.monotonic()
    while True:
        while time.monotonic() >= due:
            due += 1 / rate
            pace.begin()
        if not pace.go_on(max(0.0, due - time.monotonic())):
            break
    end = time.monotonic() + PATIENCE
    while pace.under_way and time.monotonic() < end:
        pace.go_on(1.0)
    times = sorted(pace.times)
    figures = {
        "answered": len(times),
        "failed": pace.failed + len(pace.under_way),
        "median": times[len(times) // 2] if times else None,
        "p99": times[len(times) * 99 // 100] if times else None,
        "longest": times[-1] if times else None,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
