"""Sockets that listen for mapped addresses."""

from __future__ import annotations

import socket

import pytest

from faith.kernel.sockets import transparent_listeners

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]

IPV6_TRANSPARENT = 75


def listening(address: str, port: int, *, transparent: bool, listens: bool = True) -> socket.socket:
    sock = socket.socket(socket.AF_INET6)
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, transparent)
    sock.bind((address, port))
    if listens:
        sock.listen()
    return sock


def test_only_those_are_found_that_listen_on_every_address_for_others() -> None:
    assert transparent_listeners.ports() == []
    with (
        listening("::", 8080, transparent=True),
        listening("::", 23, transparent=True),
        listening("::", 8081, transparent=False),
        listening("::1", 8082, transparent=True),
        listening("::", 8083, transparent=True, listens=False),
        socket.create_server(("0.0.0.0", 8084)),
    ):
        assert transparent_listeners.ports() == [23, 8080]
    assert transparent_listeners.ports() == []
