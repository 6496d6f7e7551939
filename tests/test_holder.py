from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.kernel.sockets.holder import holder

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_the_process_that_listens_is_named() -> None:
    name = Path("/proc/self/comm").read_text().strip()
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        assert holder(server.getsockname()[1]) == f"{name} (pid {os.getpid()})"


def test_a_name_need_not_be_text() -> None:
    comm = Path("/proc/self/comm")
    before = comm.read_bytes()
    comm.write_bytes(b"x\xe4")
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
            assert holder(server.getsockname()[1]) == f"x\ufffd (pid {os.getpid()})"
    finally:
        comm.write_bytes(before)


@contextmanager
def other(kind: socket.SocketKind, address: str) -> Iterator[tuple[int, int]]:
    """The id of another process that has a port of *address*, and the port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, kind)
    sock.bind((address, 0))
    if kind == socket.SOCK_STREAM:
        sock.listen()
    port = sock.getsockname()[1]
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    sock.close()
    yield pid, port
    os.close(writing)
    os.close(reading)
    os.waitpid(pid, 0)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize(
    ("bound", "asked", "found"),
    [
        ("127.0.0.2", "127.0.0.2", True),
        ("127.0.0.2", "127.0.0.1", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("::1", "::1", True),
        ("::1", "127.0.0.1", False),
        ("::", "::1", True),
        ("::", "127.0.0.1", True),
    ],
)
def test_who_has_the_address_is_meant(
    kind: socket.SocketKind, bound: str, asked: str, found: bool
) -> None:
    with other(kind, bound) as (pid, port):
        assert holder(port, asked, kind).endswith(f"(pid {pid})" if found else "\0") is found


@pytest.mark.usefixtures("real_root")
def test_of_a_process_that_may_not_be_looked_into_the_user_is_told() -> None:
    with other(socket.SOCK_DGRAM, "127.0.0.2") as (_, port):
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            os.setuid(65534)
            os.write(write, holder(port, "127.0.0.2", socket.SOCK_DGRAM).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        assert os.read(read, 100) == b"a process of root"


def test_a_port_nobody_listens_on_has_no_holder() -> None:
    with socket.socket(socket.AF_INET6) as bound:
        bound.bind(("::1", 0))
        assert holder(bound.getsockname()[1]) == ""
