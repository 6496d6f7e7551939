"""Connections that nobody uses: ``dial.py ADDRESS PORT COUNT SOURCE``, until its input ends.

It writes COUNT once the other side has accepted all.  They come from SOURCE and the addresses after
it, so many from each.
"""

from __future__ import annotations

import resource
import socket
import sys
from ipaddress import ip_address

OF_EACH = 2_000
"""Connections of one source address."""


def main(address: str, port: int, count: int, source: str) -> None:
    """Hold *count* connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    held = [
        socket.create_connection(
            (address, port), 10, (str(ip_address(source) + number // OF_EACH), 0)
        )
        for number in range(count)
    ]
    print(len(held), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
