"""The servers of the demo, as any client meets them: also one that says other things."""

from __future__ import annotations

import hashlib
import socket
import threading
from contextlib import contextmanager
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING

import pytest

from faith.cli.demo import servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from socketserver import BaseRequestHandler


@contextmanager
def client_of(handler: type[BaseRequestHandler]) -> Iterator[socket.socket]:
    """A connection to a server of that kind."""
    with ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            with socket.create_connection(("127.0.0.1", server.server_address[1]), 5) as sock:
                yield sock
        finally:
            server.shutdown()


def everything(sock: socket.socket) -> bytes:
    with sock.makefile("rb") as stream:
        return stream.read()


@pytest.mark.parametrize("octets", [b"", b"x", b"abc" * 1_000_000], ids=len)
def test_the_sink_says_what_it_got_after_the_fin(octets: bytes) -> None:
    with client_of(servers.Sink) as sock:
        sock.sendall(octets)
        sock.shutdown(socket.SHUT_WR)
        assert everything(sock) == hashlib.sha256(octets).digest()


def test_the_source_ends_with_the_hash_of_what_it_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "BULK", 3 << 20)
    with client_of(servers.Source) as sock:
        octets = everything(sock)
    assert len(octets) == (3 << 20) + 32
    assert hashlib.sha256(octets[:-32]).digest() == octets[-32:]


@pytest.mark.parametrize("last", [b"exit\r\n", b"\r\n"])
def test_the_dialogue_goes_on_until_it_is_told_to_end(last: bytes) -> None:
    with client_of(servers.Dialogue) as sock:
        sock.sendall(b"kame\r\ndance\r\nsing\r\n" + last)
        said = everything(sock).decode()
    assert said.startswith("This is 127.0.0.1, which has no IPv6 at all.\r\nlogin: ")
    assert "Welcome, kame. To me you are 127.0.0.1." in said
    assert said.count("not here, this is a demo") == 2
    assert said.endswith("Good bye.\r\n")


def test_the_dialogue_ends_with_its_client() -> None:
    with client_of(servers.Dialogue) as sock:
        sock.shutdown(socket.SHUT_WR)
        assert everything(sock).endswith(b"Good bye.\r\n")


def test_the_page_is_http() -> None:
    with client_of(servers.Page) as sock:
        sock.sendall(b"GET /anything HTTP/1.0\r\n\r\n")
        head, _, body = everything(sock).decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.0 200 OK\r\n")
    assert f"Content-Length: {len(body)}" in head
    assert body == "A page of 127.0.0.1, for 127.0.0.1.\n"


def test_each_port_has_its_server() -> None:
    assert {
        9: servers.Sink,
        19: servers.Source,
        23: servers.Dialogue,
        80: servers.Page,
    } == servers.SERVICES
