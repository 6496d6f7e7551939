from __future__ import annotations

import errno
import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from faith.errors import PermissionNeeded
from faith.kernel.process import capabilities
from faith.kernel.sockets import tcp_sockets

if TYPE_CHECKING:
    from tests.netns.conftest import Arrive, Fork, Report

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]


def test_a_transparent_listener_takes_addresses_of_other_hosts() -> None:
    with closing(tcp_sockets.listener("2001:db8::1", 80, transparent=True)) as listener:
        assert listener.getsockname()[:2] == ("2001:db8::1", 80)


@pytest.mark.parametrize(
    ("held", "port", "transparent", "missing"),
    [
        ("CAP_NET_BIND_SERVICE", 80, True, "CAP_NET_ADMIN"),
        ("CAP_NET_ADMIN", 80, True, "CAP_NET_BIND_SERVICE"),
        ("CAP_NET_ADMIN", 8080, True, ""),
        ("CAP_NET_BIND_SERVICE", 80, False, ""),
    ],
)
def test_the_capability_that_is_missing_is_named(
    fork: Fork, held: str, port: int, transparent: bool, missing: str
) -> None:
    def body(report: Report) -> object:
        capabilities.drop(capabilities.default_user(), keep=[held])
        try:
            tcp_sockets.listener("::", port, transparent=transparent).close()
        except PermissionNeeded as error:
            return error.capabilities
        return ("",)

    assert fork(body).report() == (missing,)


@pytest.mark.parametrize("address", ["::1", "127.0.0.1"])
def test_dscp_is_known_of_a_client_and_not_of_a_server_on_ipv4(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        socket.create_server((address, 0), family=family) as listener,
        socket.socket(family) as client,
    ):
        tcp_sockets.set_traffic_class(listener, 0x20)
        tcp_sockets.set_traffic_class(client, 0xB8)
        client.connect(listener.getsockname()[:2])
        with listener.accept()[0] as server:
            assert tcp_sockets.dscp_of(server) == 0xB8
            assert tcp_sockets.dscp_of(server) == 0xB8  # it can be asked again
            server.sendall(b"answer")
            assert client.recv(100) == b"answer"
            if family == socket.AF_INET:
                assert tcp_sockets.dscp_of(client) == 0


def test_reserved_ports_run_out_at_512_and_need_their_capability(fork: Fork) -> None:
    def body(report: Report) -> Any:
        capabilities.drop(capabilities.default_user(), keep=["CAP_NET_BIND_SERVICE"])
        taken = [socket.socket() for _ in range(512)]
        report({tcp_sockets.bind_reserved(sock, "127.0.0.1") for sock in taken})
        try:
            tcp_sockets.bind_reserved(socket.socket(), "127.0.0.1")
        except OSError as error:
            report(error.errno)
        capabilities.drop(capabilities.default_user())
        try:
            tcp_sockets.bind_reserved(socket.socket(), "127.0.0.2")
        except OSError as error:
            return error.errno

    child = fork(body)
    assert child.report() == set(range(512, 1024))
    assert child.report() == errno.EADDRINUSE
    assert child.report() == errno.EACCES


def test_a_connection_that_is_not_tracked_has_no_original_destination(arrive: Arrive) -> None:
    with closing(tcp_sockets.listener("::1", 80, transparent=False)) as listener:
        _, accepted = arrive([listener], "::1", 80)
        with accepted, pytest.raises(FileNotFoundError):
            tcp_sockets.original_destination(accepted)
