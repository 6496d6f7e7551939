"""An origin that sends back what it gets: ``echo.py ADDRESS PORT``, until it is ended."""

from __future__ import annotations

import os
import select
import socket
import sys
from contextlib import suppress


def main(address: str, port: int) -> None:
    """Serve any number of connections."""
    with suppress(PermissionError):  # it shall not wait for its CPU: see ping.py
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    listener = socket.create_server((address, port), backlog=4096)
    connections: dict[int, socket.socket] = {}
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN)
    while True:
        for descriptor, _ in epoll.poll():
            if descriptor == listener.fileno():
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = connection
                epoll.register(connection, select.EPOLLIN)
            elif not _echo(connections[descriptor]):
                connections.pop(descriptor).close()


def _echo(connection: socket.socket) -> bool:
    try:
        data = connection.recv(65536)
        connection.sendall(data)
    except OSError:
        return False
    return bool(data)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
