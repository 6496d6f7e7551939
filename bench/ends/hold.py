"""Idle sessions: ``hold.py ADDRESS PORT`` opens as many as each line of its input says.

It answers with the number once all are open from end to end; at the end of input all are closed.
"""

from __future__ import annotations

import socket
import sys

BATCH = 100
"""Sessions opened at once: no listener's queue is to overflow."""


def main(address: str, port: int) -> None:
    """Hold sessions until the end of input."""
    sessions: list[socket.socket] = []
    for line in sys.stdin:
        while len(sessions) < int(line):
            number = min(BATCH, int(line) - len(sessions))
            batch = [socket.create_connection((address, port), 10) for _ in range(number)]
            for session in batch:
                session.send(b".")
            for session in batch:
                if not session.recv(1):
                    sys.exit(f"a session was closed, after {len(sessions)} had been opened")
            sessions += batch
        print(len(sessions), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
