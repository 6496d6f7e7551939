from __future__ import annotations

import errno
import socket
import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from faith.relay.tcp.proxy_header import introduce
from faith.translation.proxy_protocol import V1, V2

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT, MAPPED = "2001:db8:6::2", "2001:db8:ffff::c000:250"


class Served:
    """A session with a server that has just been connected, and the server's end."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.ours = socket.create_connection(listener.getsockname(), 5)
            self.theirs, _ = listener.accept()
        self.theirs.settimeout(5)
        self.session: Any = SimpleNamespace(
            client_host=CLIENT,
            client_port=50000,
            mapped_port=80,
            route=SimpleNamespace(mapped=MAPPED),
            server=SimpleNamespace(sock=self.ours, error=0),
        )


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.ours.close()
    made.theirs.close()


def test_the_server_reads_client_and_mapped_address(served: Served) -> None:
    introduce(served.session, V1)
    said = f"PROXY TCP6 {CLIENT} {MAPPED} 50000 80\r\n"
    assert served.theirs.recv(200).decode() == said
    assert served.session.server.error == 0


def test_the_second_version_has_them_as_octets(served: Served) -> None:
    introduce(served.session, V2)
    addresses = (socket.inet_pton(socket.AF_INET6, address) for address in (CLIENT, MAPPED))
    body = b"".join(addresses) + struct.pack("!HH", 50000, 80)
    said = b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x21, 0x21]) + struct.pack("!H", len(body)) + body
    assert served.theirs.recv(200) == said


def test_of_a_server_that_has_hung_up_the_error_is_kept_for_the_plane(served: Served) -> None:
    served.ours.shutdown(socket.SHUT_WR)
    introduce(served.session, V1)
    assert served.session.server.error == errno.EPIPE


def test_the_first_error_stays(served: Served) -> None:
    served.session.server.error = errno.ECONNRESET
    served.ours.shutdown(socket.SHUT_WR)
    introduce(served.session, V1)
    assert served.session.server.error == errno.ECONNRESET
