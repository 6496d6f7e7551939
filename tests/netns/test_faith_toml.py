"""A whole gateway by one file: prefix, services, FTP, names and the local server, by one daemon."""

from __future__ import annotations

import contextlib
import ftplib
import io
import socket
from typing import TYPE_CHECKING

import dns.message
import dns.query
import pytest

from faith.kernel import routes
from faith.lab.topology import GATEWAY_V6, PREFIX, SERVER
from tests.dns.zones import NameServer, Zones
from tests.faithd import Faithd
from tests.netns.ftp_server import FtpServer
from tests.netns.service import PORT, answers, connect, refuses, relays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts

    Start = Callable[..., "Gateway"]

pytestmark = pytest.mark.netns

ZONE = f"""$ORIGIN example.
@ 300 IN SOA ns host 1 3600 1200 604800 60
www 60 IN A {SERVER}
"""
BASE = f"""
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "ftp"
[[service]]
ports = "{PORT},8000-8001"
server = ["/bin/cat"]
"""
DNS = f"""
[dns]
listen = ["[{GATEWAY_V6}]:53"]
forward = ["{SERVER}"]
"""


class Gateway(Faithd):
    """A faithd by a file, which can be written anew."""

    def __init__(self, lab: ThreeHosts, directory: Path, text: str) -> None:
        self.lab = lab
        self.file = directory / "faith.toml"
        self.control = directory / "control"
        self.write(text)
        super().__init__(lab.gateway, directory / "log", "--config", str(self.file))
        self.wait_said("serving")

    def write(self, text: str) -> None:
        self.file.write_text(f'control = "{self.control}"\n{text}')


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Start:
    """Start a faithd by the text of a file, and wait until it serves."""
    return lambda text=BASE: Gateway(lab, tmp_path, text)


@pytest.fixture
def zones(lab: ThreeHosts) -> Iterator[None]:
    with lab.server.call(lambda: NameServer(Zones(ZONE), SERVER, 53)):
        yield


def asked(lab: ThreeHosts) -> list[str]:
    """What the gateway tells the client of www.example."""
    query = dns.message.make_query("www.example.", "AAAA")
    reply = lab.client.call(lambda: dns.query.udp(query, GATEWAY_V6, timeout=5))
    return [str(rdata) for rrset in reply.answer for rdata in rrset]


@pytest.mark.usefixtures("echo", "zones")
def test_all_parts_are_served_by_one_daemon(lab: ThreeHosts, start: Start) -> None:
    faithd = start(BASE + DNS)
    assert asked(lab) == [lab.mapped()]
    assert relays(lab)
    with connect(lab, GATEWAY_V6) as own:
        assert answers(own, b"cat says it again")
    assert refuses(lab, 22)

    server = FtpServer(lab.server)
    server.files["file"] = b"octets"
    received = io.BytesIO()

    def fetch() -> None:
        with ftplib.FTP(timeout=10) as ftp:
            ftp.connect(lab.mapped(), 21)
            ftp.login("me", "secret")
            ftp.retrbinary("RETR file", received.write)

    with contextlib.closing(server):
        lab.client.call(fetch)
    assert received.getvalue() == b"octets"

    assert faithd.stop() == 0
    with lab.gateway.inside():
        assert not routes.reserved()


def test_a_mistake_keeps_it_from_starting(lab: ThreeHosts, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"faith.toml:7: service.prots: .* is ports meant"):
        Gateway(lab, tmp_path, BASE.replace("ports = ", "prots = ", 1))
    with lab.gateway.inside():
        assert not routes.reserved()


def test_names_that_cannot_be_served_keep_it_from_starting(lab: ThreeHosts, tmp_path: Path) -> None:
    with (
        lab.gateway.call(lambda: socket.create_server((GATEWAY_V6, 53), family=socket.AF_INET6)),
        pytest.raises(AssertionError, match="the port is taken by"),
    ):
        Gateway(lab, tmp_path, BASE + DNS)
    with lab.gateway.inside():
        assert not routes.reserved()
