"""Idle sessions: as many as each line of its input says, all closed at its end.

``hold.py METHOD ADDRESS PORT SERVER SERVER_PORT``: METHOD is "connect" or "socks5", a tunnel by the
proxy at ADDRESS and PORT, or "plain", a connection there.  It leads to an echo.  The answer to a
line is its number, once so many are open from end to end.
"""

from __future__ import annotations

import socket
import sys

BATCH = 100
"""Sessions opened at once: no listener's queue is to overflow."""


def main(method: str, address: str, port: int, server: str, server_port: int) -> None:
    """Hold sessions until the end of input."""
    sessions: list[socket.socket] = []
    for line in sys.stdin:
        while len(sessions) < int(line):
            number = min(BATCH, int(line) - len(sessions))
            batch = [socket.create_connection((address, port), 10) for _ in range(number)]
            for words in spoken(method, server, server_port):
                for session in batch:
                    session.send(words)
                for session in batch:
                    if not session.recv(512):
                        sys.exit(f"a session was closed, after {len(sessions)} had been opened")
            sessions += batch
        print(len(sessions), flush=True)


def spoken(method: str, server: str, port: int) -> list[bytes]:
    """What to say before and after each answer, to its echo at last."""
    if method == "connect":
        request = f"CONNECT {server}:{port} HTTP/1.1\r\nHost: {server}:{port}\r\n\r\n"
        return [request.encode(), b"."]
    if method == "socks5":
        destination = socket.inet_aton(server) + port.to_bytes(2, "big")
        return [b"\5\1\0", b"\5\1\0\1" + destination, b"."]
    return [b"."]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
