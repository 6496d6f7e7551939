"""Round trips of one byte: ``ping.py ADDRESS PORT COUNT SECONDS``.

Prints their microseconds as JSON.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from contextlib import suppress


def main(address: str, port: int, count: int, seconds: float) -> None:
    """Make *count* round trips, or as many as fit in so many *seconds*, one after the other."""
    with suppress(PermissionError):
        # Under load the time until this process gets the CPU back would be measured instead.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    times: list[float] = []
    end = time.monotonic() + seconds
    with socket.create_connection((address, port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while len(times) < count and time.monotonic() < end:
            started = time.perf_counter_ns()
            connection.send(b".")
            if not connection.recv(1):
                sys.exit("the connection was closed")
            times.append((time.perf_counter_ns() - started) / 1000)
    print(json.dumps(times))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
