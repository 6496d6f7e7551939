"""Short connections, one after the other, each with one byte there and back.

``call.py COUNT PORT ADDRESS STEP DESTINATIONS SOURCE``: the first goes to ADDRESS, the next to the
address STEP further on, and after so many DESTINATIONS to the first again; the first comes from
SOURCE, and each of the others from the next address.
"""

from __future__ import annotations

import socket
import sys
from ipaddress import IPv6Address


def main(count: int, port: int, address: str, step: int, destinations: int, source: str) -> None:
    """Make *count* calls."""
    first, caller = IPv6Address(address), IPv6Address(source)
    for number in range(count):
        called = str(first + number % destinations * step)
        with socket.create_connection((called, port), 10, (str(caller + number), 0)) as connection:
            connection.send(b".")
            if not connection.recv(1):
                sys.exit(f"call {number} was not answered")


if __name__ == "__main__":
    count, port, address, step, destinations, source = sys.argv[1:]
    main(int(count), int(port), address, int(step), int(destinations), source)
