from __future__ import annotations

import errno
import os
import socket
import struct
from contextlib import closing
from typing import TYPE_CHECKING, cast

import pytest

from faith.errors import SetupError
from faith.kernel.sockets import tcp_sockets

if TYPE_CHECKING:
    import _socket
    from collections.abc import Collection


def accept(listener: _socket.socket) -> socket.socket:
    fd, _ = listener._accept()  # type: ignore[attr-defined]
    return socket.socket(fileno=fd)


def free_port() -> int:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        return cast("int", server.getsockname()[1])


def test_a_listener_does_not_block_and_is_not_inherited_by_programs() -> None:
    with closing(tcp_sockets.listener("::1", 0, transparent=False)) as listener:
        assert not listener.getblocking()
        assert not os.get_inheritable(listener.fileno())
        assert listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        with pytest.raises(BlockingIOError):
            accept(listener)


def test_accepted_sockets_have_what_the_listener_was_given() -> None:
    with (
        closing(tcp_sockets.listener("::1", 0, transparent=False)) as listener,
        socket.create_connection(listener.getsockname()[:2]),
        accept(listener) as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE)


def test_a_taken_port_is_refused_with_its_holder_named() -> None:
    with closing(tcp_sockets.listener("::1", 0, transparent=False)) as first:
        port = first.getsockname()[1]
        with pytest.raises(SetupError, match=rf"\[::1\]:{port}: .*\(pid {os.getpid()}\)"):
            tcp_sockets.listener("::1", port, transparent=False)


def test_an_address_of_another_host_is_refused_without_transparency() -> None:
    with pytest.raises(SetupError, match=r"\[2001:db8::1\]:0: Cannot assign requested address"):
        tcp_sockets.listener("2001:db8::1", 0, transparent=False)


def test_a_group_shares_one_port_and_its_connections() -> None:
    group = tcp_sockets.listeners("::1", 0, 2, transparent=False)
    (address,) = {listener.getsockname()[:2] for listener in group}
    clients = [socket.create_connection(address) for _ in range(40)]
    taken = [0, 0]
    for number, listener in enumerate(group):
        while True:
            try:
                accept(listener).close()
            except BlockingIOError:
                break
            taken[number] += 1
    for thing in (*clients, *group):
        thing.close()
    assert sum(taken) == 40
    assert min(taken) > 0


@pytest.mark.parametrize("count", [1, 2])
def test_a_group_does_not_join_another_servers(count: int) -> None:
    with socket.socket(socket.AF_INET6) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("::1", 0))
        other.listen()
        with pytest.raises(SetupError, match="taken by"):
            tcp_sockets.listeners("::1", other.getsockname()[1], count, transparent=False)


def test_nobody_joins_a_group_of_one() -> None:
    (only,) = tcp_sockets.listeners("::1", 0, 1, transparent=False)
    with closing(only), pytest.raises(SetupError, match="taken by"):
        tcp_sockets.listener("::1", only.getsockname()[1], transparent=False, reuseport=True)


def test_a_port_in_time_wait_can_be_listened_on() -> None:
    port = free_port()
    with closing(tcp_sockets.listener("::1", port, transparent=False)) as listener:
        client = socket.create_connection(("::1", port))
        accept(listener).close()  # the side that closes first keeps the port in TIME_WAIT
        client.close()
    tcp_sockets.listener("::1", port, transparent=False).close()


def test_reset_is_what_the_peer_sees() -> None:
    with (
        closing(tcp_sockets.listener("::1", 0, transparent=False)) as listener,
        socket.create_connection(listener.getsockname()[:2]) as client,
    ):
        tcp_sockets.reset(accept(listener))
        with pytest.raises(ConnectionResetError):
            client.recv(1)


class Kernel:
    """Stands for a socket: its ports in use, and its answer to SO_ORIGINAL_DST."""

    def __init__(
        self, used: Collection[int] = (), answer: bytes = b"", error: int = errno.EADDRINUSE
    ) -> None:
        self.used = used
        self.error = error
        self.answer = answer
        self.tried: list[int] = []

    def bind(self, address: tuple[str, int]) -> None:
        self.tried.append(address[1])
        if address[1] in self.used:
            raise OSError(self.error, os.strerror(self.error))

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option, size) == (socket.IPPROTO_IPV6, 80, 28)
        return self.answer

    @property
    def socket(self) -> _socket.socket:
        return cast("_socket.socket", self)


@pytest.mark.parametrize("free", [512, 700, 1023])
def test_the_last_reserved_port_is_found_from_wherever_the_search_begins(free: int) -> None:
    kernel = Kernel(used=set(range(1024)) - {free})
    assert tcp_sockets.bind_reserved(kernel.socket, "192.0.2.1") == free
    assert kernel.tried == sorted(kernel.tried, key=lambda port: (kernel.tried[0] - port) % 512)


def test_no_reserved_port_left_is_an_error_and_each_was_tried_once() -> None:
    kernel = Kernel(used=range(65536))
    with pytest.raises(OSError, match="512 to 1023") as caught:
        tcp_sockets.bind_reserved(kernel.socket, "192.0.2.1")
    assert caught.value.errno == errno.EADDRINUSE
    assert sorted(kernel.tried) == list(range(512, 1024))


def test_the_search_for_a_reserved_port_begins_anywhere() -> None:
    ports = {tcp_sockets.bind_reserved(Kernel().socket, "192.0.2.1") for _ in range(50)}
    assert len(ports) > 10
    assert ports <= set(range(512, 1024))


def test_another_error_ends_the_search() -> None:
    kernel = Kernel(used=range(65536), error=errno.EACCES)
    with pytest.raises(PermissionError):
        tcp_sockets.bind_reserved(kernel.socket, "192.0.2.1")
    assert len(kernel.tried) == 1


def test_the_original_destination_is_read_from_a_sockaddr_in6() -> None:
    address = bytes(range(16))
    answer = struct.pack("=H", socket.AF_INET6) + struct.pack("!H4x16s4x", 8080, address)
    assert tcp_sockets.original_destination(Kernel(answer=answer).socket) == (address, 8080)


def test_a_unix_stream_has_neither_a_mark_nor_a_traffic_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    near, far = socket.socketpair()
    with near, far:
        assert not tcp_sockets.at_mark(near.fileno())
        assert tcp_sockets.dscp_of(near) == 0

        def unknown(*_: object) -> bytes:
            raise OSError(errno.ENOTTY, "as a kernel without CONFIG_AF_UNIX_OOB says")

        monkeypatch.setattr("fcntl.ioctl", unknown)
        assert not tcp_sockets.at_mark(near.fileno())
