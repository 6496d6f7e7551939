"""Fetch the file of ftpd.py: ``fetch.py ADDRESS FTP PLAIN``, and print how many octets came.

They are the ports of that program; with 0 for FTP it is fetched from PLAIN.
"""

from __future__ import annotations

import re
import socket
import sys


def main(address: str, ftp: int, plain: int) -> None:
    """Fetch it once."""
    octets = _by_ftp(address, ftp) if ftp else _read(socket.create_connection((address, plain), 10))
    print(octets)


def _by_ftp(address: str, port: int) -> int:
    with (
        socket.create_connection((address, port), 10) as control,
        control.makefile("rb") as replies,
    ):
        replies.readline()
        control.sendall(b"EPSV\r\n")
        found = re.search(rb"\|\|\|(\d+)\|", replies.readline())
        if not found:
            sys.exit("no 229")
        data = socket.create_connection((address, int(found[1])), 10)
        control.sendall(b"RETR file\r\n")
        replies.readline()
        octets = _read(data)
        replies.readline()
    return octets


def _read(data: socket.socket) -> int:
    octets = 0
    buffer = bytearray(1 << 17)
    with data:
        while count := data.recv_into(buffer):
            octets += count
    return octets


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]))
