from __future__ import annotations

import errno
import os
import select
import socket
from typing import TYPE_CHECKING

import pytest

from faith.relay.tcp import dial
from faith.translation.reasons import NO_PORT, REFUSED, TIMEOUT, UNREACHABLE

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterator

HOSTS = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
families = pytest.mark.parametrize("family", HOSTS, ids=["v4", "v6"])


@pytest.fixture
def server(family: int) -> Iterator[socket.socket]:
    with socket.create_server((HOSTS[socket.AddressFamily(family)], 0), family=family) as made:
        made.settimeout(5)
        yield made


def outcome(sock: _socket.socket) -> int:
    """The errno that the connection came to."""
    select.select([], [sock], [], 5)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


@families
def test_a_connection_begins_without_waiting_and_with_the_relays_options(
    server: socket.socket,
) -> None:
    host, port = server.getsockname()[:2]
    sock, error = dial.connect(host, port)
    assert error in (0, errno.EINPROGRESS)
    assert outcome(sock) == 0
    assert not os.get_blocking(sock.fileno())
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE)
    accepted, peer = server.accept()
    assert peer[:2] == sock.getsockname()[:2]
    accepted.close()
    sock.close()


@pytest.mark.parametrize("family", [socket.AF_INET])
def test_it_comes_from_the_source_that_was_asked_for(server: socket.socket) -> None:
    host, port = server.getsockname()
    sock, _ = dial.connect(host, port, "127.0.0.9")
    accepted, peer = server.accept()
    assert peer[0] == "127.0.0.9"
    accepted.close()
    sock.close()


@pytest.mark.parametrize("family", [socket.AF_INET])
def test_one_source_has_as_many_ports_for_each_server(server: socket.socket) -> None:
    host, port = server.getsockname()
    sock, _ = dial.connect(host, port, "127.0.0.9")
    # Bound without a port (IP_BIND_ADDRESS_NO_PORT): another may connect from the same one.
    assert sock.getsockopt(socket.IPPROTO_IP, 24) == 1
    sock.close()


@families
def test_a_refusal_is_told_by_connect_or_later(family: int) -> None:
    host = HOSTS[socket.AddressFamily(family)]
    with socket.socket(family) as nobody:
        nobody.bind((host, 0))
        sock, error = dial.connect(host, nobody.getsockname()[1])
        assert (error if error != errno.EINPROGRESS else outcome(sock)) == errno.ECONNREFUSED
        sock.close()


def test_a_source_that_is_none_leaves_no_descriptor_behind() -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="assign"):
        dial.connect("127.0.0.1", 1, "192.0.2.99")
    assert os.listdir("/proc/self/fd") == before


@families
def test_a_reserved_port_is_one_below_1024(server: socket.socket) -> None:
    if os.geteuid():
        pytest.skip("only root has those")
    host, port = server.getsockname()[:2]
    sock, _ = dial.connect(host, port, reserved_port=True)
    accepted, peer = server.accept()
    assert peer[1] < 1024
    accepted.close()
    sock.close()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errno.ECONNREFUSED, REFUSED),
        (errno.ETIMEDOUT, TIMEOUT),
        (errno.EADDRNOTAVAIL, NO_PORT),
        (errno.ENETUNREACH, UNREACHABLE),
        (errno.EHOSTUNREACH, UNREACHABLE),
    ],
)
def test_each_failure_has_its_name(error: int, kind: str) -> None:
    assert dial.kind(error) == kind


def test_a_refused_connection_was_never_made() -> None:
    assert errno.ECONNREFUSED not in dial.AFTERWARDS
    assert {errno.ECONNRESET, errno.EPIPE} == dial.AFTERWARDS
