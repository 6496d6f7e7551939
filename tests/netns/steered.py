"""Prefixes steered or guarded on the lab's gateway, and other servers that listen there."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from faith.translation.ports import Ports
from faith.translation.prefix import Prefix

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterator

    from faith.kernel.steering import Steering
    from faith.lab import Host

PREFIX = Prefix.parse("2001:db8:ffff::/96")
OTHER = Prefix.parse("2001:db8:fffe::/96")
MAPPED = "2001:db8:ffff::c000:250"
ALSO_MAPPED = "2001:db8:fffe::c000:250"
HTTP = Ports([(80, 80)])
ALL = Ports([(1, 65535)])


def everyone(steering: Steering) -> list[_socket.socket]:
    """The listeners of all workers."""
    return [listener for worker in steering.listeners for listener in worker]


@contextmanager
def ordinary_server(
    host: Host, port: int, address: str = "::", kind: int = socket.SOCK_STREAM
) -> Iterator[socket.socket]:
    """An ordinary server of *host*'s, on every address of a family."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with host.inside(), socket.socket(family, kind) as sock:
        sock.bind((address, port))
        sock.settimeout(2)
        if kind == socket.SOCK_STREAM:
            sock.listen()
        yield sock


def accept(listener: _socket.socket) -> socket.socket:
    """The next connection of a listener of ours."""
    number, _ = listener._accept()  # type: ignore[attr-defined]
    return socket.socket(fileno=number)
