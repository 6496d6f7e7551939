"""Servers see clients at the addresses that [[source]] gives them."""

from __future__ import annotations

import contextlib
import ftplib
import io
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from faith.cli import status as cli_status
from faith.cli import status_lines
from faith.lab import wait_until
from faith.lab.topology import CLIENT, PREFIX, SERVER
from faith.translation.reasons import NO_SOURCE
from tests.faithd import WITHOUT_BPF, Faithd
from tests.netns.datagrams import Echo, udp
from tests.netns.ftp_server import FtpServer
from tests.netns.gateway import Gateway
from tests.netns.service import PORT
from tests.netns.test_udp import PORT as UDP_PORT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faith.lab import ThreeHosts

    Start = Callable[[str], Gateway]

pytestmark = pytest.mark.netns

ADDRESSES = "192.0.2.128/26"
"""The gateway's addresses besides its own 192.0.2.1."""
BASE = f"""
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT},ftp"
"""
POOL = """
[[source]]
addresses = ["192.0.2.130-192.0.2.133", "192.0.2.140"]
"""
POOLED = {f"192.0.2.{last}" for last in (130, 131, 132, 133, 140)}
ONE_TO_ONE = f"""
[[source]]
clients = ["2001:db8:6::100/122"]
addresses = ["{ADDRESSES}"]
one_to_one = true
"""


@pytest.fixture(autouse=True)
def addresses(lab: ThreeHosts) -> None:
    lab.gateway.run(["ip", "route", "add", "local", ADDRESSES, "dev", "lo"])
    for last in (*range(0x100, 0x110), 0x13F, 0x140):
        lab.client.links.add_address("to-gateway", f"2001:db8:6::{last:x}/64")


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Start:
    return lambda text: Gateway(lab, tmp_path, BASE + text)


def seen(lab: ThreeHosts, listener: socket.socket, client: str = CLIENT) -> str:
    """The address that the server sees when *client* connects."""
    address = lab.mapped(), PORT
    with lab.client.call(lambda: socket.create_connection(address, 5, (client, 0))):
        connection, peer = listener.accept()
        connection.close()
        return str(peer[0])


def test_clients_share_a_pool_each_with_one_address(
    lab: ThreeHosts, start: Start, listener: socket.socket
) -> None:
    start(POOL)
    addresses = {}
    for last in range(0x100, 0x110):
        client = f"2001:db8:6::{last:x}"
        # Two workers serve them, and neither knows what the other did.
        (addresses[client],) = {seen(lab, listener, client) for _ in range(4)}
    assert set(addresses.values()) <= POOLED
    assert len(set(addresses.values())) > 2


def test_each_client_has_its_own(lab: ThreeHosts, start: Start, listener: socket.socket) -> None:
    start(ONE_TO_ONE)
    for client, source in (("100", "128"), ("101", "129"), ("10f", "143"), ("13f", "191")):
        assert seen(lab, listener, f"2001:db8:6::{client}") == f"192.0.2.{source}"
    assert seen(lab, listener, "2001:db8:6::140") == "192.0.2.1"


def test_a_rule_goes_first_and_a_reload_changes_both(
    lab: ThreeHosts, start: Start, listener: socket.socket
) -> None:
    named, others = "2001:db8:6::101 permit 0.0.0.0/0 192.0.2.190", "::/0 permit 0.0.0.0/0"
    faithd = start(f'{ONE_TO_ONE}[access]\nrules = ["{named}", "{others}"]')
    assert seen(lab, listener, "2001:db8:6::101") == "192.0.2.190"
    assert seen(lab, listener, "2001:db8:6::102") == "192.0.2.130"
    faithd.write(BASE + ONE_TO_ONE.replace(ADDRESSES, "192.0.2.160-192.0.2.191"))
    faithd.signal(signal.SIGHUP)
    faithd.wait_said("everything stays as it was")
    assert "64 clients of 128 bits cannot have an address each of 32" in faithd.said
    assert seen(lab, listener, "2001:db8:6::102") == "192.0.2.130"
    faithd.write(BASE + POOL)
    faithd.signal(signal.SIGHUP)
    faithd.wait_said("read again")
    assert seen(lab, listener, "2001:db8:6::101") in POOLED


def test_an_address_that_comes_later_is_used_when_it_is_there(
    lab: ThreeHosts, start: Start, listener: socket.socket
) -> None:
    """As behind VRRP or PPPoE, and while the host boots."""
    gateway = start(POOL.replace('"192.0.2.140"', '"192.0.2.192"'))
    gateway.wait_said("not used as a source until this host has it: 192.0.2.192")
    clients = [f"2001:db8:6::{last:x}" for last in range(0x100, 0x110)]
    before = {client: seen(lab, listener, client) for client in clients}
    assert "192.0.2.192" not in before.values()
    status = lab.gateway.call(lambda: list(status_lines.lines(cli_status.read())))
    assert any("connects nobody from 192.0.2.192 until this host has it" in one for one in status)
    lab.gateway.links.add_address("to-server", "192.0.2.192/32")
    gateway.wait_said("this host has all addresses of the sources")
    wait_until(
        lambda: "192.0.2.192" in {seen(lab, listener, client) for client in clients},
        5,
        "the new address seen",
    )


def test_a_client_whose_own_address_is_absent_is_refused_and_others_are_not(
    lab: ThreeHosts, start: Start, listener: socket.socket
) -> None:
    text = ONE_TO_ONE.replace(f'"{ADDRESSES}"', '"192.0.2.190-192.0.2.253"')
    gateway = start(text)
    assert seen(lab, listener, "2001:db8:6::101") == "192.0.2.191"
    address = lab.mapped(), PORT
    other = "2001:db8:6::102"
    with (
        pytest.raises(ConnectionResetError),
        lab.client.call(lambda: socket.create_connection(address, 5, (other, 0))) as connection,
    ):
        connection.recv(1)
    gateway.wait_said(NO_SOURCE)


SET_UP = """
[[source]]
clients = ["2001:db8:6::100/123"]
addresses = ["192.0.2.32/27"]
one_to_one = true
set_up = true
"""


@pytest.mark.parametrize("via", ["auto", "tproxy"])
def test_addresses_are_set_up_and_taken_back(
    lab: ThreeHosts, start: Start, listener: socket.socket, via: str
) -> None:
    before = lab.gateway.run(["ip", "route", "show", "table", "local"]).stdout
    steered = f'[[prefix]]\naddress = "2001:db8:eeee::/96"\nvia = "{via}"\n'
    faithd = start(steered + SET_UP)
    assert seen(lab, listener, "2001:db8:6::101") == "192.0.2.33"
    faithd.write(BASE + POOL + steered)
    faithd.signal(signal.SIGHUP)
    faithd.wait_said("read again")
    wait_until(
        lambda: before == lab.gateway.run(["ip", "route", "show", "table", "local"]).stdout,
        5,
        "the addresses gone",
    )


def test_the_next_program_goes_on_with_them(
    lab: ThreeHosts, start: Start, listener: socket.socket
) -> None:
    faithd = start(SET_UP)
    client = "2001:db8:6::101"
    with (
        lab.client.call(
            lambda: socket.create_connection((lab.mapped(), PORT), 5, (client, 0))
        ) as before,
        listener.accept()[0] as server,
    ):
        faithd.signal(signal.SIGUSR2)
        faithd.wait_said("upgraded to program 2", seconds=30)
        before.sendall(b"still there")
        assert server.recv(100) == b"still there"
        assert server.getpeername()[0] == seen(lab, listener, client) == "192.0.2.33"


@pytest.mark.usefixtures("bpf_allowed")
@pytest.mark.parametrize("source", [ONE_TO_ONE, SET_UP], ids=["own", "set up"])
def test_datagrams_come_from_them_too(lab: ThreeHosts, start: Start, source: str) -> None:
    start(f"{source}[udp]\n")
    with (
        contextlib.closing(Echo(lab.server, SERVER, UDP_PORT)) as echo,
        udp(lab.client, "2001:db8:6::101") as client,
    ):
        client.sendto(b"hello", (lab.mapped(), UDP_PORT))
        assert client.recv(100) == b"hello"
        assert echo.sources[0][0] == ("192.0.2.129" if source == ONE_TO_ONE else "192.0.2.33")


@pytest.mark.usefixtures("bpf_allowed")
@pytest.mark.parametrize("set_up", [False, True], ids=["own", "set up"])
def test_a_port_is_kept_at_a_source_address_if_it_is_free(
    lab: ThreeHosts, start: Start, set_up: bool
) -> None:
    """RFC 4787 REQ-3: of two clients that share an address, one keeps the port that both have."""
    address = "192.0.2.33" if set_up else "192.0.2.130"
    pool = f'[[source]]\naddresses = ["{address}"]\nset_up = {str(set_up).lower()}\n'
    start(f"{pool}[udp]\n")
    clients = [f"2001:db8:6::{last}" for last in (101, 102)]
    with (
        contextlib.closing(Echo(lab.server, SERVER, UDP_PORT)) as echo,
        udp(lab.client, clients[0], 6001) as first,
        udp(lab.client, clients[1], 6001) as second,
    ):
        for client in (first, second):
            client.sendto(b"hello", (lab.mapped(), UDP_PORT))
            assert client.recv(100) == b"hello"
        assert echo.sources[0] == (address, 6001)
        assert echo.sources[1][0] == address
        assert echo.sources[1][1] != 6001


@pytest.mark.usefixtures("bpf_allowed")
def test_rfc4787_req_2_all_ports_of_a_client_have_one_address(
    lab: ThreeHosts, start: Start, listener: socket.socket
) -> None:
    start(f"{POOL}[udp]\n")
    with contextlib.closing(Echo(lab.server, SERVER, UDP_PORT)) as echo:
        for last in (100, 101, 102):
            client = f"2001:db8:6::{last}"
            for port in range(6000, 6008):
                with udp(lab.client, client, port) as sock:
                    sock.sendto(b"hello", (lab.mapped(), UDP_PORT))
                    assert sock.recv(100) == b"hello"
            (address,) = {host for host, _ in echo.sources}
            assert address in POOLED
            assert address == seen(lab, listener, client)  # by TCP as well
            echo.sources.clear()


def test_a_mapped_host_comes_from_its_own_address(
    lab: ThreeHosts, start: Start, listener: socket.socket
) -> None:
    start(f'{ONE_TO_ONE}[[map]]\nv4 = "192.0.2.40"\nv6 = "2001:db8:6::101"')
    assert seen(lab, listener, "2001:db8:6::101") == "192.0.2.40"
    assert seen(lab, listener, "2001:db8:6::102") == "192.0.2.130"


@pytest.mark.parametrize("source", [ONE_TO_ONE, SET_UP], ids=["own", "set up"])
@pytest.mark.parametrize("passive", [True, False])
def test_rfc6384_ftp_keeps_the_sessions_address(
    lab: ThreeHosts, start: Start, passive: bool, source: str
) -> None:
    start(source)
    assert fetch(lab, passive) == (["192.0.2.133"] if source == ONE_TO_ONE else ["192.0.2.37"])


@pytest.mark.parametrize("passive", [True, False])
def test_ftp_keeps_it_without_bpf(lab: ThreeHosts, tmp_path: Path, passive: bool) -> None:
    file = tmp_path / "faith.toml"
    file.write_text(f'control = "{tmp_path}/control"\n{BASE}{SET_UP}')
    faithd = Faithd(lab.gateway, tmp_path / "log", "--config", str(file), by=WITHOUT_BPF)
    faithd.wait_said("serving")
    assert "mapped networks are steered by tproxy" in faithd.said
    assert fetch(lab, passive) == ["192.0.2.37"]


def fetch(lab: ThreeHosts, passive: bool) -> list[str]:
    """Have a client fetch a file by FTP; the addresses that the server has seen."""
    server = FtpServer(lab.server)
    server.files["file"] = b"octets"
    received = io.BytesIO()

    def visit() -> None:
        with ftplib.FTP(timeout=10, source_address=("2001:db8:6::105", 0)) as ftp:
            ftp.connect(lab.mapped(), 21)
            ftp.login("me", "secret")
            ftp.set_pasv(passive)
            ftp.retrbinary("RETR file", received.write)

    with contextlib.closing(server):
        lab.client.call(visit)
    assert received.getvalue() == b"octets"
    assert server.control_peers == server.data_peers
    return server.control_peers


def test_when_its_ports_are_taken_a_client_is_refused(
    lab: ThreeHosts, start: Start, listener: socket.socket
) -> None:
    """RFC 7857 §4: it does not get another address."""
    lab.gateway.sysctl("net.ipv4.ip_local_port_range", "40000 40003")
    faithd = start(ONE_TO_ONE)
    client, other = "2001:db8:6::101", "2001:db8:6::102"

    def connect(source: str) -> socket.socket:
        return lab.client.call(
            lambda: socket.create_connection((lab.mapped(), PORT), 5, (source, 0))
        )

    # The servers' ends are closed first, or else the ports would rest in TIME_WAIT here.
    with contextlib.ExitStack() as clients, contextlib.ExitStack() as servers:
        for _ in range(4):
            clients.enter_context(connect(client))
            server = servers.enter_context(listener.accept()[0])
            assert server.getpeername()[0] == "192.0.2.129"
        with contextlib.suppress(ConnectionResetError), connect(client) as one_more:
            assert not one_more.recv(1)
        faithd.wait_said("no free source port")
        assert seen(lab, listener, other) == "192.0.2.130"
    faithd.wait_said("source=192.0.2.129", 4)
    assert seen(lab, listener, client) == "192.0.2.129"
