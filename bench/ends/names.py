"""A name server that is silent for names in ``dead``: ``names.py ADDRESS PORT``, until it is ended.

Every other name has an A record, and nothing else.
"""

from __future__ import annotations

import socket
import struct
import sys

_A = b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", 60, 4) + bytes((198, 51, 100, 1))
_SOA = b"\0\0\6\0\1" + struct.pack("!IH", 60, 22) + b"\0\0" + struct.pack("!5I", 1, 1, 1, 1, 60)
_DEAD = b"\4dead\0"


def main(address: str, port: int) -> None:
    """Answer one query after the other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind((address, port))
        while True:
            query, source = sock.recvfrom(4096)
            end = query.index(0, 12) + 1
            if query[12:end].lower().endswith(_DEAD):
                continue
            has_address = query[end : end + 2] == b"\0\1"
            counts = struct.pack("!4H", 1, has_address, not has_address, 0)
            head = query[:2] + b"\x85\x80" + counts
            sock.sendto(head + query[12 : end + 4] + (_A if has_address else _SOA), source)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
