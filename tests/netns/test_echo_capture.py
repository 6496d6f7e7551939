"""Echo requests taken from the kernel: which, from when on, and until when."""

from __future__ import annotations

import os
import select
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from faith.datagram import icmp
from faith.datagram.packet import read_v4, read_v6
from faith.kernel.descriptor import descriptors
from faith.kernel.netlink import routes
from faith.kernel.steering.echo_capture import EchoCapture
from faith.translation.prefix import Prefix
from tests.datagram.wires import number

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("local")]

PREFIX, OTHER = Prefix.parse("2001:db8:ffff::/96"), Prefix.parse("2001:db8:fffe::/96")
MAPPED, ELSEWHERE = "2001:db8:ffff::1", "2001:db8:fffe::1"
NETWORK = number("198.51.100.0"), 24
MAPPED4, ELSEWHERE4 = "198.51.100.1", "203.0.113.1"


@pytest.fixture
def local(private_network: None) -> None:
    """The prefixes and networks are this host's, which answers for all of them by itself."""
    routes.reserve(PREFIX)
    routes.reserve(OTHER)
    for network in ("198.51.100.0/24", "203.0.113.0/24"):
        subprocess.run(["ip", "route", "add", "local", network, "dev", "lo"], check=True)


@pytest.fixture
def capture() -> Iterator[EchoCapture]:
    made = EchoCapture.create()
    yield made
    made.close()


def ask(address: str, size: int = 5) -> bool:
    """Send an echo request; true if the kernel answers, false if the request was taken."""
    v6 = ":" in address
    family = socket.AF_INET6 if v6 else socket.AF_INET
    protocol = socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP
    reply = icmp.ECHO_REPLY_V6 if v6 else icmp.ECHO_REPLY_V4
    with socket.socket(family, socket.SOCK_RAW, protocol) as sock:
        sock.connect((address, 0))
        kind = icmp.ECHO_V6 if v6 else icmp.ECHO_V4
        sock.send(icmp.echo(kind, 1, 2, b"x" * size))
        # On loopback all is done when send(2) returns.
        while select.select([sock], [], [], 0)[0]:
            if sock.recv(1 << 16)[0 if v6 else 20] == reply:
                return True
    return False


def taken(capture: EchoCapture) -> list[int]:
    """The destinations of the requests that were taken."""
    found = []
    for octets, _ in capture.packets.read(10):
        packet = read_v6(octets) if octets[0] >> 4 == 6 else read_v4(octets)
        assert packet
        assert packet.whole
        found.append(packet.destination)
    return found


@pytest.mark.parametrize("address", [MAPPED, MAPPED4])
def test_nothing_is_taken_before_it_is_said_what(capture: EchoCapture, address: str) -> None:
    assert ask(address)
    assert taken(capture) == []


def test_what_was_said_is_taken_and_nothing_else(capture: EchoCapture) -> None:
    capture.set_prefixes([PREFIX])
    capture.set_networks([NETWORK])
    assert not ask(MAPPED)
    assert not ask(MAPPED4)
    assert ask(ELSEWHERE)
    assert ask(ELSEWHERE4)
    assert taken(capture) == [number(MAPPED), number(MAPPED4)]


def test_another_word_replaces_the_first(capture: EchoCapture) -> None:
    capture.set_prefixes([PREFIX])
    capture.set_networks([NETWORK])
    capture.set_prefixes([OTHER])
    capture.set_networks([(number(ELSEWHERE4), 32)])
    assert ask(MAPPED)
    assert ask(MAPPED4)
    assert not ask(ELSEWHERE)
    assert not ask(ELSEWHERE4)
    assert taken(capture) == [number(ELSEWHERE), number(ELSEWHERE4)]


def test_fragments_are_put_together_first(capture: EchoCapture) -> None:
    subprocess.run(["ip", "link", "set", "lo", "mtu", "1500"], check=True)
    capture.set_prefixes([PREFIX])
    capture.set_networks([NETWORK])
    assert not ask(MAPPED, 8000)
    assert not ask(MAPPED4, 8000)
    assert taken(capture) == [number(MAPPED), number(MAPPED4)]


def test_when_it_is_closed_the_kernel_answers_again() -> None:
    before = os.listdir("/proc/self/fd")
    capture = EchoCapture.create()
    capture.set_prefixes([PREFIX])
    capture.set_networks([NETWORK])
    capture.close()
    assert ask(MAPPED)
    assert ask(MAPPED4)
    assert os.listdir("/proc/self/fd") == before


def test_the_next_program_goes_on_with_it() -> None:
    first = EchoCapture.create()
    first.set_prefixes([PREFIX])
    first.set_networks([NETWORK])
    state = first.state()
    copies = {fd: os.dup(fd) for fd in descriptors(state)}
    first.close()
    for fd, copy in copies.items():  # as execve(2) leaves them
        os.dup2(copy, fd)
        os.close(copy)
    again = EchoCapture.adopt(state)
    assert not ask(MAPPED)
    assert not ask(MAPPED4)
    assert len(taken(again)) == 2
    again.set_prefixes([])
    assert ask(MAPPED)
    again.close()
