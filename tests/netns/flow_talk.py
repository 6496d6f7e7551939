"""What hosts say to each other by flows: every octet is checked, and every way to end is tried."""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
import struct
import threading
from typing import TYPE_CHECKING

from tests.netns.service import PORT, listener

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.lab import Host

_POOL = random.Random(6146).randbytes(3_000_017)  # a prime: no two segments are alike
PIECE = 40_000


def octets(length: int) -> bytes:
    """So many octets, always the same."""
    return (_POOL * (length // len(_POOL) + 1))[:length]


def reset(sock: socket.socket) -> None:
    """End a connection by a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Talker:
    """A server on *host* that does what the first line of a connection says.

    ``up``: read to the end, then say how many octets of which hash.  ``down N``: send N octets and
    FIN, then read to the end.  ``echo``: say again what comes.  ``close``: close at once, first.
    """

    def __init__(self, host: Host, port: int = PORT, path_mtu: int | None = None) -> None:
        self.failed: list[str] = []
        self.peers: list[tuple[str, int]] = []
        self.late = 0
        """Octets that came after the server's FIN."""
        self._path_mtu = path_mtu
        self._listener = listener(host, port)
        self._listener.listen(1024)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, peer = self._listener.accept()
                self.peers.append(peer[:2])
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            if self._path_mtu is not None:
                connection.setsockopt(socket.IPPROTO_IP, 10, self._path_mtu)  # IP_MTU_DISCOVER
            try:
                self._obey(connection)
            except ConnectionResetError:
                pass
            except OSError as error:
                self.failed.append(repr(error))

    def _obey(self, connection: socket.socket) -> None:
        word, _, length = _line(connection).partition(b" ")
        if word == b"up":
            count, digest = _read(connection)
            connection.sendall(f"{count} {digest}".encode())
        elif word == b"down":
            connection.sendall(octets(int(length)))
            connection.shutdown(socket.SHUT_WR)
            self.late += _read(connection)[0]
        elif word == b"echo":
            while found := connection.recv(65536):
                connection.sendall(found)


def _line(connection: socket.socket) -> bytes:
    found = b""
    while not found.endswith(b"\n"):
        more = connection.recv(1)
        if not more:
            return found
        found += more
    return found[:-1]


def _read(connection: socket.socket) -> tuple[int, str]:
    digest, count = hashlib.sha256(), 0
    while found := connection.recv(1 << 18):
        digest.update(found)
        count += len(found)
    return count, digest.hexdigest()


def hear(connection: socket.socket, length: int) -> bytes:
    """The next octets that come, so many of them unless the connection ends before."""
    found = b""
    while len(found) < length and (more := connection.recv(length - len(found))):
        found += more
    return found


def up(connection: socket.socket, length: int) -> None:
    """Send so many octets and FIN, then hear that the server has had them: it closes last."""
    with connection:
        sent = octets(length)
        connection.sendall(b"up\n")
        for at in range(0, length, PIECE):
            connection.sendall(sent[at : at + PIECE])
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read().decode()
    assert answer == f"{length} {hashlib.sha256(sent).hexdigest()}", answer


def down(connection: socket.socket, length: int, late: int = 100) -> None:
    """Hear so many octets and FIN, then send some: the server closes first."""
    with connection:
        connection.sendall(b"down %d\n" % length)
        assert _read(connection) == (length, hashlib.sha256(octets(length)).hexdigest())
        connection.sendall(octets(late))
        connection.shutdown(socket.SHUT_WR)


def echo(connection: socket.socket, times: int = 1) -> None:
    """Say a few octets, and hear them again; the connection stays."""
    connection.sendall(b"echo\n")
    say(connection, times)


def say(connection: socket.socket, times: int = 1) -> None:
    """Hear what is said to an ``echo`` that has begun."""
    for number in range(times):
        word = b"%05d" % number
        connection.sendall(word)
        assert hear(connection, 5) == word


def both(connect: Callable[[], socket.socket], length: int = 1_000_000) -> None:
    """Send so many octets either way, by two connections that *connect* makes."""
    up(connect(), length)
    down(connect(), length)
