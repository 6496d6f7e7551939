"""UDP sockets of clients of SOCKS, over the loopback interface."""

from __future__ import annotations

import errno
import select
import socket
from contextlib import closing

import pytest

from faith.kernel.sockets.association_sockets import (
    errors,
    socket_for_client,
    socket_for_servers,
    source_towards,
)

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
each_family = pytest.mark.parametrize("family", list(LOOPBACK))


@each_family
def test_a_socket_for_a_client_has_the_address_that_the_client_came_to(
    family: socket.AddressFamily,
) -> None:
    with closing(socket_for_client(LOOPBACK[family])) as sock:
        host, port = sock.getsockname()[:2]
        assert (host, sock.family) == (LOOPBACK[family], family)
        assert port
        with pytest.raises(BlockingIOError):
            sock.recv(1)


def test_an_address_of_another_host_is_refused() -> None:
    with pytest.raises(OSError, match="assign") as refused:
        socket_for_client("192.0.2.77")
    assert refused.value.errno == errno.EADDRNOTAVAIL
    with pytest.raises(OSError, match="assign"):
        socket_for_servers(socket.AF_INET, "192.0.2.77")


@each_family
def test_a_server_that_is_not_there_is_told_by_its_endpoint(family: socket.AddressFamily) -> None:
    host = LOOPBACK[family]
    with closing(socket_for_servers(family, None)) as sock:
        ports = []
        for _ in range(2):
            with socket.socket(family, socket.SOCK_DGRAM) as gone:
                gone.bind((host, 0))
                ports.append(gone.getsockname()[1])
        sock.sendto(b"first", (host, ports[0]))
        poll = select.poll()
        poll.register(sock.fileno(), 0)
        assert poll.poll(5000)
        assert errors(sock) == [(errno.ECONNREFUSED, (host, ports[0]))]
        assert errors(sock) == []
        sock.sendto(b"second", (host, ports[1]))  # it does not get the error of the first
        assert poll.poll(5000)
        assert errors(sock) == [(errno.ECONNREFUSED, (host, ports[1]))]


@each_family
def test_datagrams_come_to_all_addresses_or_to_one(family: socket.AddressFamily) -> None:
    host = LOOPBACK[family]
    with closing(socket_for_servers(family, host)) as sock:
        assert sock.getsockname()[0] == host
    with closing(socket_for_servers(family, None)) as sock:
        port = sock.getsockname()[1]
        with socket.socket(family, socket.SOCK_DGRAM) as server:
            server.sendto(b"answer", (host, port))
            assert select.select([sock], [], [], 5)[0]
        assert sock.recv(100) == b"answer"


def test_the_source_towards_a_host_is_the_kernels() -> None:
    assert source_towards("127.1.2.3") == "127.0.0.1"
    assert source_towards("::1") == "::1"
    assert source_towards("255.255.255.255") is None
