"""A door is its client's, whoever else steers its port."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from faith.kernel.netlink import routes
from faith.kernel.sockets.tcp_sockets import listener
from faith.kernel.steering import sk_lookup
from faith.kernel.steering.pinholes import Pinholes
from faith.lab.topology import CLIENT
from faith.translation.ports import Ports
from faith.translation.prefix import Prefix

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterator

    from faith.lab import ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]

MAPPED = "2001:db8:ffff::c000:250"
ALL = Ports([(1, 65535)])


@pytest.fixture
def prefix(lab: ThreeHosts) -> Iterator[Prefix]:
    """The test runs on the gateway, where this prefix is reserved."""
    with lab.gateway.inside():
        reserved = Prefix.parse(lab.prefix)
        routes.reserve(reserved)
        yield reserved


@pytest.fixture
def ours(prefix: Prefix) -> Iterator[_socket.socket]:
    sock = listener(MAPPED, 0, transparent=True)
    yield sock
    sock.close()


def accepts(sock: _socket.socket) -> bool:
    """Return whether a connection waits there, after accepting it."""
    try:
        fd, _ = sock._accept()  # type: ignore[attr-defined]
    except BlockingIOError:
        return False
    socket.close(fd)
    return True


@pytest.mark.parametrize("pinholes_come_first", [True, False])
def test_it_comes_before_a_range_for_its_client_alone(
    lab: ThreeHosts, prefix: Prefix, ours: _socket.socket, pinholes_come_first: bool
) -> None:
    where = ours.getsockname()[:2]
    pinholes = Pinholes.create() if pinholes_come_first else None
    with sk_lookup.create(ALL, [prefix], 1) as others:
        ((theirs,),) = others.listeners
        pinholes = pinholes or Pinholes.create()
        lab.client.call(socket.create_connection, where, 5).close()
        assert (accepts(ours), accepts(theirs)) == (False, True)
        pinholes.open(CLIENT, ours.fileno(), prefix.__contains__)
        lab.client.call(socket.create_connection, where, 5).close()
        assert (accepts(ours), accepts(theirs)) == (True, False)
        socket.create_connection(where, 5).close()
        assert (accepts(ours), accepts(theirs)) == (False, True)
        ours.close()
        lab.client.call(socket.create_connection, where, 5).close()
        assert accepts(theirs), "a door goes with its listener"
        pinholes.close()


def test_none_is_opened_where_it_would_be_in_somebodys_way(
    prefix: Prefix, ours: _socket.socket
) -> None:
    pinholes = Pinholes.create()
    with pytest.raises(PermissionError, match="no pinhole may be at"):
        pinholes.open(CLIENT, ours.fileno(), Prefix.parse("2001:db8:fffe::/96").__contains__)
    low = listener(MAPPED, 1023, transparent=True)
    with pytest.raises(PermissionError, match="no pinhole may be at"):
        pinholes.open(CLIENT, low.fileno(), prefix.__contains__)
    low.close()
    pinholes.close()
