"""``ftp_splitter.py PORT ADDRESS``: carry FTP control connections on, commands octet by octet.

What comes to PORT goes to port 21 of ADDRESS: each octet of the client's in a segment of its own,
urgent data as urgent data; what the server says goes back as it comes.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import threading

FTP = 21
MARK = 1
"""Of the packets to ADDRESS, by which a firewall knows them from the client's own."""

_SIOCATMARK = 0x8905


def carry(client: socket.socket, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with client, socket.socket(family) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.connect((address, FTP))
        commands = threading.Thread(target=split, args=(client, server), daemon=True)
        commands.start()
        while data := server.recv(65536):
            client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        commands.join()


def split(client: socket.socket, server: socket.socket) -> None:
    while True:
        flags = socket.MSG_OOB if at_urgent_octet(client) else 0
        if not (octet := client.recv(1)):
            break
        server.send(octet, flags)
    server.shutdown(socket.SHUT_WR)


def at_urgent_octet(peer: socket.socket) -> bool:
    peer.recv(1, socket.MSG_PEEK)  # until there is one, it is not known what comes
    (answer,) = struct.unpack("i", fcntl.ioctl(peer, _SIOCATMARK, bytes(4)))
    return bool(answer)


def main() -> None:
    listener = socket.create_server(
        ("", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True
    )
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=carry, args=(client, sys.argv[2]), daemon=True).start()


if __name__ == "__main__":
    main()
