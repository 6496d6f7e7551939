"""An origin with one large file: ``ftpd.py ADDRESS FTP PLAIN OCTETS``, until it is ended.

FTP is spoken on one port, as much as it takes to fetch the file; on the other the file is sent to
whoever connects.
"""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import suppress

PIECE = bytes(1 << 17)


def main(address: str, ftp: int, plain: int, octets: int) -> None:
    """Serve any number of connections."""
    data = socket.create_server((address, plain))
    threading.Thread(target=_serve_plain, args=(data, octets), daemon=True).start()
    control = socket.create_server((address, ftp))
    while True:
        visitor, _ = control.accept()
        threading.Thread(target=_serve, args=(visitor, octets), daemon=True).start()


def _serve_plain(data: socket.socket, octets: int) -> None:
    while True:
        _send(data.accept()[0], octets)


def _send(connection: socket.socket, octets: int) -> None:
    with connection, suppress(OSError):
        while octets:
            octets -= connection.send(PIECE[:octets])


def _serve(visitor: socket.socket, octets: int) -> None:
    def say(reply: str) -> None:
        visitor.sendall(f"{reply}\r\n".encode())

    with visitor, socket.create_server((visitor.getsockname()[0], 0)) as passive:
        host, port = passive.getsockname()
        where = f"{host.replace('.', ',')},{port >> 8},{port & 255}"
        say("220 Ready")
        for line in visitor.makefile("rb"):
            verb = line.split()[0].upper()
            if verb == b"PASV":
                say(f"227 Entering Passive Mode ({where})")
            elif verb == b"RETR":
                say("150 Here it comes")
                _send(passive.accept()[0], octets)
                say("226 Done")
            else:
                say("200 Done")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
