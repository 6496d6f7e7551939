"""A service of the server's, as clients meet it through a faithd."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faith.lab import ThreeHosts

PORT = 2323


def serve_echo(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=say_again, args=(connection,), daemon=True).start()


def say_again(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while data := connection.recv(4096):
            connection.sendall(data)


def connect(lab: ThreeHosts, to: str = "", port: int = PORT) -> socket.socket:
    """A connection from the client to the server, or to an IPv6 address."""
    return lab.client.call(socket.create_connection, (to or lab.mapped(), port), 5)


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
