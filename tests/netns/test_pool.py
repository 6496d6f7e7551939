"""IPv4-only clients ask for an IPv6-only server by name, and reach it.

The lab's hosts change their parts: its server, which has no IPv6, is the client here.
"""

from __future__ import annotations

import re
import signal
import socket
import threading
from contextlib import closing
from ipaddress import IPv4Network, ip_address
from typing import TYPE_CHECKING

import dns.message
import dns.query
import pytest

from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, PREFIX, SERVER
from tests.dns.zones import EXAMPLE, NameServer, Zones
from tests.faithd import Faithd
from tests.netns.datagrams import Echo as DatagramEcho
from tests.netns.gateway import Gateway
from tests.netns.service import Echo, answers, connect_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import Host, ThreeHosts

pytestmark = pytest.mark.netns

HOST, OTHER = CLIENT, "2001:db8:6::3"
POOL = "198.51.100.0/29"
PORT = 2323
ZONE = f"""{EXAMPLE}www 60 IN AAAA {HOST}
other 60 IN AAAA {OTHER}
gateway 60 IN AAAA {GATEWAY_V6}
mapped 60 IN AAAA 2001:db8:ffff::c000:250
"""
NAMES = "".join(f"n{number} 60 IN AAAA 2001:db8:9::{number:x}\n" for number in range(1, 9))
PAGE = b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"


def configuration(directory: Path, more: str = "") -> str:
    return f"""
control = "{directory}/control"
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "8000"
[dns]
listen = ["{GATEWAY_V4}:53"]
forward = ["{HOST}"]
pool = ["{POOL}"]
pool_file = "{directory}/pool"
[ping]
[udp]
{more}
"""


@pytest.fixture
def node(lab: ThreeHosts) -> Host:
    """The client, which knows the pool's addresses by its default route."""
    lab.server.links.add_route("default", GATEWAY_V4)
    return lab.server


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Callable[[], Gateway]:
    return lambda: Gateway(lab, tmp_path, configuration(tmp_path))


@pytest.fixture
def zones(lab: ThreeHosts) -> Iterator[None]:
    lab.client.links.add_address("to-gateway", f"{OTHER}/64")
    with lab.client.call(lambda: NameServer(Zones(ZONE + NAMES), HOST, 53)):
        yield


@pytest.fixture
def echo(lab: ThreeHosts) -> Iterator[None]:
    """A server on the IPv6 host that says what it hears, by TCP and UDP."""
    # Answers come from where they were asked for, not from its other address.
    datagrams = DatagramEcho(lab.client, HOST, PORT)
    with closing(Echo(lab.client, PORT)), closing(datagrams):
        yield


def ask(node: Host, name: str, source: str | None = None) -> str | None:
    """The address that *name* has for an IPv4 client; None when the gateway has none."""
    query = dns.message.make_query(f"{name}.example.", "A")
    reply = node.call(lambda: dns.query.udp(query, GATEWAY_V4, 5, source=source))
    found = [str(record) for answer in reply.answer for record in answer]
    return found[0] if found else None


def says_again(address: str) -> object:
    """Who says again what is sent to *address* by UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.sendto(b"hello", (address, PORT))
        data, peer = sock.recvfrom(100)
        assert data == b"hello"
        return peer


def connect(node: Host, address: str) -> socket.socket:
    return connect_from(node, address, PORT)


@pytest.mark.usefixtures("zones")
class TestByName:
    def test_a_browser_reaches_it(
        self,
        start: Callable[[], Gateway],
        lab: ThreeHosts,
        node: Host,
        tmp_path: Path,
        need: Callable[[str], str],
    ) -> None:
        start()
        resolv_conf = tmp_path / "resolv.conf"
        resolv_conf.write_text(f"nameserver {GATEWAY_V4}\n")
        come: list[str] = []
        with lab.client.inside():
            listener = socket.create_server(("::", 80), family=socket.AF_INET6)

        def serve() -> None:
            connection, peer = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(PAGE)
            come.append(peer[0])

        with listener:
            threading.Thread(target=serve, daemon=True).start()
            script = f"mount --bind {resolv_conf} /etc/resolv.conf && curl -sS http://www.example/"
            done = node.run([need("unshare"), "-m", "sh", "-c", script])
            assert need("curl")
            assert done.stdout == "hello\n"
            wait_until(lambda: bool(come), 5, "the page served")
        assert come == [lab.mapped(SERVER)]

    @pytest.mark.usefixtures("echo")
    def test_an_address_works_as_soon_as_it_is_told(
        self, start: Callable[[], Gateway], node: Host, need: Callable[[str], str]
    ) -> None:
        start()
        for name, mine in (("www", 1), ("other", 2)):
            address = ask(node, name)
            assert address == str(IPv4Network(POOL)[mine])
            with connect(node, address) as connection:
                assert answers(connection)
            ping = node.run([need("ping"), "-n", "-c", "1", "-W", "2", address], check=False)
            assert re.search(rf"64 bytes from {address}: icmp_seq=1 ttl=63", ping.stdout)
        address = str(IPv4Network(POOL)[1])
        assert node.call(says_again, address) == (address, PORT)

    @pytest.mark.usefixtures("echo")
    def test_an_address_that_nobody_was_told_is_refused(
        self, start: Callable[[], Gateway], node: Host
    ) -> None:
        start()
        with (
            pytest.raises((ConnectionRefusedError, ConnectionResetError)),
            connect(node, str(IPv4Network(POOL)[1])) as connection,
        ):
            answers(connection)
        address = ask(node, "www")
        assert address
        with connect(node, address) as connection:
            assert answers(connection)

    @pytest.mark.usefixtures("echo")
    def test_another_start_knows_what_was_lent(
        self, start: Callable[[], Gateway], node: Host
    ) -> None:
        gateway = start()
        address = ask(node, "other")
        assert address
        assert gateway.stop() == 0
        start()
        with connect(node, address) as connection:
            assert answers(connection)
        assert ask(node, "www") != address

    @pytest.mark.usefixtures("echo")
    def test_an_upgrade_carries_leases_and_sessions(
        self, start: Callable[[], Gateway], node: Host
    ) -> None:
        gateway = start()
        address = ask(node, "www")
        assert address
        with connect(node, address) as connection:
            assert answers(connection)
            gateway.signal(signal.SIGUSR2)
            gateway.wait_said("upgraded to program 2", seconds=15)
            assert answers(connection)
            with connect(node, address) as another:
                assert answers(another)
            assert ask(node, "www") == address
            assert ask(node, "other") != address

    def test_another_pool_takes_another_start(
        self, start: Callable[[], Gateway], node: Host
    ) -> None:
        gateway = start()
        address = ask(node, "www")
        gateway.file.write_text(gateway.file.read_text().replace(POOL, "203.0.113.0/29"))
        gateway.signal(signal.SIGHUP)
        gateway.wait_said("restart faithd to change that", seconds=15)
        assert ask(node, "www") == address

    def test_when_all_are_lent_nobody_loses_his(
        self, start: Callable[[], Gateway], node: Host
    ) -> None:
        """It takes three clients, as one may have half of them, two of them two thirds."""
        clients = [SERVER, "192.0.2.91", "192.0.2.92"]
        for client in clients[1:]:
            node.links.add_address("to-gateway", f"{client}/24")
        gateway = start()
        hosts = [str(host) for host in IPv4Network(POOL).hosts()]
        owners = [SERVER] * 3 + clients[1:2] * 2 + clients[2:]
        for number, (host, owner) in enumerate(zip(hosts, owners, strict=True), 1):
            assert ask(node, f"n{number}", owner) == host
            if number == 3:
                assert ask(node, "n4", SERVER) is None
                gateway.wait_said("a client has its share of the 6 addresses of the pool")
        assert ask(node, "n7", clients[2]) is None
        gateway.wait_said("all 6 addresses of the pool are lent")
        assert ask(node, "n1", clients[2]) == hosts[0]


@pytest.mark.usefixtures("zones")
def test_nothing_stays_behind(
    start: Callable[[], Gateway], lab: ThreeHosts, node: Host, need: Callable[[str], str]
) -> None:
    def state() -> tuple[str, list[str]]:
        return lab.gateway.run([need("nft"), "list", "ruleset"]).stdout, lab.gateway.links.routes()

    before = state()
    gateway = start()
    assert ask(node, "www")
    assert gateway.stop() == 0
    assert state() == before


@pytest.mark.usefixtures("zones", "echo")
class TestTheFile:
    """What is wrong with the file, or was, keeps nobody from being served."""

    def test_a_lease_that_ended_before_the_last_stop(
        self, start: Callable[[], Gateway], node: Host, tmp_path: Path
    ) -> None:
        (tmp_path / "pool").write_text(f"faith-pool 1\n198.51.100.2 {HOST} -4000000.000\n")
        for _ in range(2):
            gateway = start()
            with connect(node, "198.51.100.2") as connection:
                assert answers(connection)
            assert gateway.stop() == 0
            assert f" {HOST} " in (tmp_path / "pool").read_text()

    @pytest.mark.parametrize("how", ["something else", "a directory", "a full disk"])
    def test_the_relay_serves_all_the_same(
        self, how: str, lab: ThreeHosts, node: Host, tmp_path: Path
    ) -> None:
        by: list[str] = []
        if how == "a directory":
            (tmp_path / "pool").mkdir()
        elif how == "something else":
            (tmp_path / "pool").write_text("root:x:0:0\n")
        else:
            (tmp_path / "disk").mkdir()
            disk = (
                f'mount -t tmpfs -o size=4k none {tmp_path}/disk; head -c 4096 /dev/zero >$0; "$@"'
            )
            by = ["unshare", "--mount", "sh", "-c", disk, f"{tmp_path}/disk/filler"]
        text = configuration(tmp_path)
        if by:
            text = text.replace(f"{tmp_path}/pool", f"{tmp_path}/disk/pool")
        (tmp_path / "faith.toml").write_text(text)
        log = tmp_path / "log"
        faithd = Faithd(lab.gateway, log, "--config", str(tmp_path / "faith.toml"), by=by)
        faithd.wait_said("serving")
        faithd.wait_said("no address is lent until faithd is started anew: ")
        assert ask(node, "www") is None
        with (
            lab.server.call(socket.create_server, (SERVER, 8000)) as listener,
            lab.client.call(socket.create_connection, (lab.mapped(SERVER), 8000), 5),
        ):
            listener.settimeout(5)
            listener.accept()[0].close()
        faithd.stop()


@pytest.mark.usefixtures("zones", "echo")
class TestTheGateway:
    """No address stands for the gateway itself: what listens there is behind its firewall."""

    @pytest.mark.parametrize("name", ["gateway", "mapped"])
    def test_is_lent_to_nobody(self, start: Callable[[], Gateway], node: Host, name: str) -> None:
        start()
        assert ask(node, name) is None
        assert ask(node, "www")

    def test_nor_is_what_it_gets_later(
        self, start: Callable[[], Gateway], lab: ThreeHosts, node: Host
    ) -> None:
        gateway = start()
        address = ask(node, "other")
        assert address
        with connect(node, address) as connection:
            assert answers(connection)
        lab.gateway.links.add_address("lo", f"{OTHER}/128")
        wait_until(
            lambda: refused(node, address) and "the gateway's own address" in gateway.said,
            10,
            "the address being refused",
        )


def refused(node: Host, address: str) -> bool:
    try:
        with connect(node, address) as connection:
            return not connection.recv(1)
    except OSError:
        return True


def test_a_pool_with_an_address_of_the_gateway_is_refused(lab: ThreeHosts, tmp_path: Path) -> None:
    file = tmp_path / "faith.toml"
    own = f"{ip_address(GATEWAY_V4)}/32"
    file.write_text(configuration(tmp_path).replace(POOL, own))
    faithd = Faithd(lab.gateway, tmp_path / "log", "--config", str(file))
    assert faithd.process.wait(10) == 1
    assert f"the pool {GATEWAY_V4} has the gateway's own {GATEWAY_V4}" in faithd.said
