"""TCP servers and clients of them, as they meet through a faithd."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faith.lab import Host, ThreeHosts

PORT = 2323


def say_again(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while data := connection.recv(4096):
            connection.sendall(data)


class Echo:
    """A server on *host* that says what it hears, and knows who came: *peers*."""

    def __init__(self, host: Host, port: int = PORT, address: str = "") -> None:
        self.peers: list[str] = []
        self.listener = listener(host, port, address)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, peer = self.listener.accept()
                self.peers.append(peer[0])
                threading.Thread(target=say_again, args=(connection,), daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Server:
    """A listener on *host*; connections are accepted by the test, and *peer* is the last one's."""

    def __init__(self, host: Host, port: int = PORT) -> None:
        self.listener = listener(host, port)
        self.listener.settimeout(5)

    def accept(self) -> socket.socket:
        connection: socket.socket
        connection, self.peer = self.listener.accept()
        connection.settimeout(5)
        return connection


def listener(host: Host, port: int = PORT, address: str = "") -> socket.socket:
    """A listener on *host*, at every address of its family, IPv6 if there is any, or at one."""
    disabled = host.sysctl("net.ipv6.conf.all.disable_ipv6") == "1"
    at = address or ("" if disabled else "::")
    family = socket.AF_INET6 if ":" in at else socket.AF_INET
    return host.call(lambda: socket.create_server((at, port), family=family))


def connect_from(host: Host, address: str, port: int = PORT) -> socket.socket:
    """A connection from *host*.  Raises OSError."""
    return host.call(socket.create_connection, (address, port), 5)


def connect(lab: ThreeHosts, to: str = "", port: int = PORT) -> socket.socket:
    """A connection from the client to the server, or to an IPv6 address."""
    return connect_from(lab.client, to or lab.mapped(), port)


def answers(connection: socket.socket, text: bytes = b"hello") -> bool:
    connection.sendall(text)
    return connection.recv(4096) == text


def relays(lab: ThreeHosts, port: int = PORT) -> bool:
    with connect(lab, port=port) as connection:
        return answers(connection)


def refuses(lab: ThreeHosts, port: int = PORT) -> bool:
    try:
        connect(lab, port=port).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it came to a listener that was just being closed
        return False
    return False
