"""Raw ICMP sockets: what they let in, from where they send, and what is told without the right."""

from __future__ import annotations

import errno
import os
import select
import socket
from typing import TYPE_CHECKING

import pytest

from faith.datagram import icmp
from faith.errors import PermissionNeeded
from faith.kernel.netlink import routes
from faith.kernel.sockets import icmp_sockets
from faith.kernel.sockets.icmp_sockets import icmp_socket, icmpv6_socket
from faith.translation.prefix import Prefix
from tests.netns.rights import without_capabilities

if TYPE_CHECKING:
    import _socket

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]

PREFIX = Prefix.parse("2001:db8:ffff::/96")
MAPPED = "2001:db8:ffff::1"


def kinds(sock: _socket.socket, *, v6: bool) -> list[int]:
    """The types of the messages that have come, the first of which is waited for."""
    assert select.select([sock], [], [], 5)[0]
    found: list[int] = []
    while True:
        try:
            octets = sock.recv(2048)
        except BlockingIOError:
            return found
        found.append(octets[0 if v6 else 20])


def send(v6: bool, *messages: bytes) -> None:
    family = socket.AF_INET6 if v6 else socket.AF_INET
    protocol = socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP
    with socket.socket(family, socket.SOCK_RAW, protocol) as sock:
        for message in messages:
            sock.sendto(message, ("::1" if v6 else "127.0.0.1", 0))


def test_only_the_chosen_types_of_icmp_come_and_with_their_header() -> None:
    sock = icmp_socket([icmp.ECHO_REPLY_V4])
    send(False, icmp.echo(icmp.ECHO_V4, 1, 1, b""))  # which the kernel answers
    assert kinds(sock, v6=False) == [icmp.ECHO_REPLY_V4]
    sock.close()


def test_only_the_chosen_types_of_icmpv6_come_and_without_a_header() -> None:
    sock = icmpv6_socket([icmp.ECHO_REPLY_V6, icmp.TOO_BIG_V6])
    send(True, icmp.echo(icmp.ECHO_V6, 1, 1, b""))
    assert kinds(sock, v6=True) == [icmp.ECHO_REPLY_V6]
    sock.close()


def test_address_hop_limit_and_traffic_class_are_told_of_icmpv6() -> None:
    sock = icmpv6_socket([icmp.ECHO_V6])
    send(True, icmp.echo(icmp.ECHO_V6, 1, 1, b""))
    select.select([sock], [], [], 5)
    _, control, _, _ = sock.recvmsg(2048, 256)
    told = {(level, kind) for level, kind, _ in control}
    wanted = (socket.IPV6_PKTINFO, socket.IPV6_HOPLIMIT, socket.IPV6_TCLASS)
    assert told == {(socket.IPPROTO_IPV6, kind) for kind in wanted}
    sock.close()


def test_icmpv6_may_be_sent_from_any_address_of_a_reserved_prefix() -> None:
    routes.reserve(PREFIX)
    hearer, sock = icmpv6_socket([icmp.ECHO_V6]), icmpv6_socket([])
    info = socket.inet_pton(socket.AF_INET6, MAPPED) + bytes(4)
    control = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)]
    sock.sendmsg([icmp.echo(icmp.ECHO_V6, 1, 1, b"")], control, 0, ("::1", 0))
    assert select.select([hearer], [], [], 5)[0]
    assert hearer.recvfrom(2048)[1][0] == MAPPED
    hearer.close()
    sock.close()


def test_a_large_icmp_message_is_fragmented_not_refused() -> None:
    sock = icmp_socket([])
    sock.sendto(icmp.echo(icmp.ECHO_V4, 1, 1, bytes(65000 - 8)), ("127.0.0.1", 0))
    discover = sock.getsockopt(socket.IPPROTO_IP, 10)  # IP_MTU_DISCOVER
    assert discover == 0
    sock.close()


@pytest.mark.parametrize("make", [icmp_socket, icmpv6_socket])
def test_without_the_right_it_is_named(make: object) -> None:
    assert callable(make)
    with pytest.raises(PermissionNeeded, match=r"raw socket.*CAP_NET_RAW"):
        without_capabilities(lambda: make([0]))


def test_an_adopted_one_is_the_same_socket() -> None:
    sock = icmp_socket([icmp.ECHO_REPLY_V4])
    again = icmp_sockets.adopt(os.dup(sock.fileno()))
    sock.close()
    send(False, icmp.echo(icmp.ECHO_V4, 1, 1, b""))
    assert kinds(again, v6=False) == [icmp.ECHO_REPLY_V4]
    with pytest.raises(BlockingIOError) as none_left:
        again.recv(2048)
    assert none_left.value.errno == errno.EAGAIN
    again.close()
