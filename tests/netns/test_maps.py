"""IPv4-only clients reach an IPv6-only host by an address that stands for it.

The lab's hosts change their parts: its server, which has no IPv6, is the client here.
"""

from __future__ import annotations

import contextlib
import ftplib
import io
import ipaddress
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from faith.cli import sessions
from faith.kernel.netlink import mapped_routes
from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, PREFIX, SERVER
from tests.faithd import WITHOUT_BPF, Faithd
from tests.netns.gateway import Gateway, reread
from tests.netns.service import Echo, answers, connect_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import Host, ThreeHosts

pytestmark = pytest.mark.netns

NODE, HOST = SERVER, CLIENT
"""The client, of IPv4, and the server, of IPv6."""
MAPPED = "192.0.2.102"
ANOTHER = "192.0.2.103"
STANDS_FOR_NODE = "2001:db8:ffff::c000:250"
PORT = 22
BASE = f"""
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "8000-8999"
"""
MAP = f"""
[[map]]
v4 = "{MAPPED}"
v6 = "{HOST}"
"""
FTP_SERVER = """
import sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer
authorizer = DummyAuthorizer()
authorizer.add_user("me", "secret", sys.argv[1], perm="elradfmwMT")
FTPHandler.authorizer = authorizer
FTPServer(("::", 21), FTPHandler).serve_forever()
"""


@pytest.fixture
def node(lab: ThreeHosts) -> Host:
    return lab.server


@pytest.fixture
def host(lab: ThreeHosts) -> Host:
    return lab.client


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Callable[..., Gateway]:
    """Start a faithd by the text of a file, and wait until it serves."""
    return lambda text=BASE + MAP: Gateway(lab, tmp_path, text)


@pytest.fixture
def echo(host: Host) -> Iterator[Echo]:
    with contextlib.closing(Echo(host, PORT)) as server:
        yield server


def connect(node: Host, to: str = MAPPED, port: int = PORT) -> socket.socket:
    return connect_from(node, to, port)


def relays(node: Host, to: str = MAPPED, port: int = PORT) -> bool:
    try:
        with connect(node, to, port) as connection:
            return answers(connection)
    except OSError:
        return False


def test_the_host_is_reached_and_sees_its_client(
    start: Callable[..., Gateway], node: Host, echo: Echo
) -> None:
    faithd = start()
    assert relays(node)
    assert echo.peers == [STANDS_FOR_NODE]
    faithd.wait_said(f"mapped={MAPPED}:22 source=[{STANDS_FOR_NODE}]:")
    assert f"server=[{HOST}]:22 sent=5 received=5" in faithd.said
    assert "end=closed" in faithd.said


OWN = "2001:db8:6::77"
"""An address that the gateway is given while it runs."""
MAP_TO_OWN = f'[[map]]\nv4 = "{MAPPED}"\nv6 = "{OWN}"\n'
RULE = """[access]
rules = ["::/0 permit 192.0.2.102/32"]
"""


@pytest.mark.parametrize(
    "become_own",
    [
        ["ip", "-6", "addr", "add", f"{OWN}/128", "dev", "lo"],
        ["ip", "-6", "route", "add", "local", OWN, "dev", "lo", "table", "100"],
    ],
)
def test_a_map_to_what_becomes_the_gateways_own_leads_nowhere(
    lab: ThreeHosts, start: Callable[..., Gateway], node: Host, become_own: list[str]
) -> None:
    lab.client.run(["ip", "-6", "addr", "add", f"{OWN}/128", "dev", "lo"])
    lab.gateway.run(["ip", "-6", "route", "add", OWN, "via", CLIENT])
    with contextlib.closing(Echo(lab.client, PORT, OWN)) as mapped:
        faithd = start(BASE + MAP_TO_OWN)
        assert relays(node)
        with contextlib.closing(Echo(lab.gateway, PORT, "::")) as bystander:
            lab.gateway.run(become_own)
            # by either worker, each of which learns it by itself
            wait_until(lambda: not any(relays(node) for _ in range(30)), 5, "the refusal")
            faithd.wait_said("the gateway's own address")
            before = len(bystander.peers)  # from the moment until it was known
            assert not relays(node)
            assert len(bystander.peers) == before
            reread(faithd, BASE + MAP_TO_OWN + RULE)
            wait_until(lambda: relays(node), 5, "the rule that names it")
            assert bystander.peers or mapped.peers


def test_everything_is_undone(
    lab: ThreeHosts,
    start: Callable[..., Gateway],
    node: Host,
    echo: Echo,
    need: Callable[[str], str],
) -> None:
    program = need("nft")

    def found() -> tuple[object, object, str]:
        links = lab.gateway.links
        return (
            links.addresses(),
            links.routes(),
            lab.gateway.run([program, "list", "ruleset"]).stdout,
        )

    before = found()
    faithd = start()
    assert relays(node)
    assert found() != before
    assert faithd.stop() == 0
    assert found() == before


def test_the_gateway_answers_arp_and_is_itself_left_alone(
    lab: ThreeHosts, start: Callable[..., Gateway], node: Host, echo: Echo
) -> None:
    start(BASE + '[[map]]\nv4 = "192.0.2.0/30"\nv6 = "2001:db8:6::/126"\n')
    with contextlib.closing(Echo(lab.gateway, PORT, "0.0.0.0")):
        assert relays(node, GATEWAY_V4)
    assert echo.peers == []
    assert relays(node, "192.0.2.2")  # which is HOST
    assert echo.peers == [STANDS_FOR_NODE]
    assert "lladdr" in node.run(["ip", "neigh", "show", "192.0.2.2"]).stdout


def test_what_nobody_serves_and_what_is_not_mapped_are_refused(
    start: Callable[..., Gateway], node: Host
) -> None:
    faithd = start(BASE + MAP + 'ports = "22"\n')
    for port, end in ((22, "end=refused"), (23, 'end="not mapped"')):
        with pytest.raises(ConnectionError), connect(node, MAPPED, port) as connection:
            assert connection.recv(1)
        faithd.wait_said(end)


def test_a_port_leads_to_another(start: Callable[..., Gateway], node: Host, echo: Echo) -> None:
    start(BASE + MAP + f'ports = "8080"\nto_port = {PORT}\n')
    assert relays(node, MAPPED, 8080)
    assert not relays(node, MAPPED, PORT)


@pytest.mark.parametrize(
    ("rules", "good"),
    [
        (f"::ffff:{NODE}/128 permit {MAPPED}/32", True),
        (f"::ffff:{NODE}/128 deny {MAPPED}/32", False),
        ("2001:db8::/32 permit 0.0.0.0/0", False),
    ],
)
def test_rules_are_obeyed(
    start: Callable[..., Gateway], node: Host, echo: Echo, rules: str, good: bool
) -> None:
    start(BASE + MAP + f'[access]\nrules = ["{rules}"]\n')
    assert relays(node) == good


def test_limits_hold_for_a_client_of_ipv4(
    start: Callable[..., Gateway], node: Host, echo: Echo
) -> None:
    faithd = start(BASE + MAP + "[limits]\nsessions_per_client = 2\n")
    with connect(node) as one, connect(node) as other:
        assert answers(one)
        assert answers(other)
        assert not relays(node)
        faithd.wait_said('end="too many sessions of the client"')
    wait_until(lambda: relays(node), 5, "room for another")


def test_maps_alone_are_enough_and_a_service_can_join_them(
    lab: ThreeHosts, start: Callable[..., Gateway], node: Host, echo: Echo, tmp_path: Path
) -> None:
    alone = BASE.partition("[[service]]")[0]
    faithd = start(alone + MAP)
    assert "serving maps, prefixes:" in faithd.said
    assert relays(node)
    another = Faithd(lab.gateway, tmp_path / "another", "8000")
    another.wait_said("serving")
    status = lab.gateway.run([sys.executable, "-m", "faith.cli.faith", "status"], check=False)
    assert "maps" in status.stdout
    assert another.stop() == 0
    with connect(node) as session:
        assert answers(session)
        faithd.write(BASE.replace("8000-8999", "8000") + MAP)
        faithd.signal(signal.SIGHUP)
        faithd.wait_said("everything is handed over", seconds=20)
        assert "serving 8000 (port 8000) by route" in faithd.said
        assert answers(session)
        assert relays(node)


class TestSource:
    NO_PREFIX = BASE.replace(f'[[prefix]]\naddress = "{PREFIX}"\n', "")

    def test_without_a_prefix_a_client_is_refused(
        self, start: Callable[..., Gateway], node: Host, echo: Echo
    ) -> None:
        faithd = start(self.NO_PREFIX + MAP)
        assert not relays(node)
        faithd.wait_said('end="no prefix for the client"')

    @pytest.mark.parametrize(
        ("base", "source", "peer"),
        [
            (NO_PREFIX, "either", GATEWAY_V6),
            (BASE, "either", STANDS_FOR_NODE),
            (BASE, "gateway", GATEWAY_V6),
        ],
    )
    def test_the_gateways_own_is_taken_where_that_is_wanted(
        self,
        start: Callable[..., Gateway],
        node: Host,
        echo: Echo,
        base: str,
        source: str,
        peer: str,
    ) -> None:
        start(f'{base}{MAP}[maps]\nsource = "{source}"\n')
        assert relays(node)
        assert echo.peers == [peer]

    def test_a_server_can_be_told_the_client(
        self, start: Callable[..., Gateway], node: Host, host: Host
    ) -> None:
        start(BASE + MAP + '[maps]\nsource = "gateway"\nproxy = "v1"\n')
        with host.inside():
            listener = socket.create_server(("::", PORT), family=socket.AF_INET6)
        with listener, connect(node) as client, listener.accept()[0] as server:
            port = client.getsockname()[1]
            client.sendall(b"hello")
            told = f"PROXY TCP4 {NODE} {MAPPED} {port} {PORT}\r\n".encode() + b"hello"
            heard = b""
            while len(heard) < len(told):
                heard += server.recv(1000)
            assert heard == told


class TestChanges:
    def test_a_map_comes_and_goes_and_nobody_else_notices(
        self, start: Callable[..., Gateway], lab: ThreeHosts, node: Host, echo: Echo
    ) -> None:
        faithd = start(BASE)
        assert not relays(node)
        reread(faithd, BASE + MAP)
        wait_until(lambda: relays(node), 5, "the map")
        with connect(node) as session:
            assert answers(session)
            reread(faithd, BASE + MAP + MAP.replace(MAPPED, ANOTHER) + 'direction = "in"\n')
            wait_until(lambda: relays(node, ANOTHER), 5, "the other map")
            assert answers(session)
            reread(faithd, BASE + MAP.replace(MAPPED, ANOTHER))
            wait_until(lambda: not relays(node), 5, "the map to be gone")
            assert relays(node, ANOTHER)
        held = lab.gateway.call(mapped_routes.held)
        assert held == {faithd.process.pid: {(int(ipaddress.ip_address(ANOTHER)), 32)}}

    def test_sessions_are_listed_and_killed(
        self, start: Callable[..., Gateway], node: Host, echo: Echo
    ) -> None:
        faithd = start()
        with connect(node) as session:
            assert answers(session)
            (one,) = sessions.read(faithd.control)
            assert one.mapped == f"{MAPPED}:{PORT}"
            assert one.server == f"[{HOST}]:{PORT}"
            assert one.client.startswith(f"{NODE}:")
            assert str(one.source).startswith("[")
            (chosen,) = sessions.read(faithd.control, client=f"{NODE}/32", server=HOST)
            assert chosen.id == one.id
            assert sessions.kill(faithd.control, session=one.id) == 1
            with pytest.raises(ConnectionResetError):
                session.recv(1)

    def test_what_others_take_away_comes_back(
        self,
        start: Callable[..., Gateway],
        lab: ThreeHosts,
        node: Host,
        echo: Echo,
        need: Callable[[str], str],
    ) -> None:
        faithd = start()
        program = need("nft")
        lab.gateway.run(["ip", "route", "del", "local", MAPPED, "table", "local"])
        faithd.wait_said("1 routes of mapped networks were deleted by another program")
        assert relays(node)
        lab.gateway.run([program, "delete", "table", "ip", "faith"])
        faithd.wait_said("the guard of the mapped networks was changed by another program")
        assert (
            "ip daddr @networks jump mapped" in lab.gateway.run([program, "list", "ruleset"]).stdout
        )

    def test_a_killed_one_leaves_nothing_to_its_successor(
        self, start: Callable[..., Gateway], lab: ThreeHosts, tmp_path: Path
    ) -> None:
        faithd = start()
        faithd.signal(signal.SIGKILL)
        faithd.process.wait(5)
        assert lab.gateway.call(mapped_routes.held)
        another = Faithd(lab.gateway, tmp_path / "another", "8000")
        another.wait_said("released the mapped networks of process")
        assert not lab.gateway.call(mapped_routes.held)

    def test_another_number_of_workers_keeps_them_too(
        self, start: Callable[..., Gateway], node: Host, echo: Echo
    ) -> None:
        faithd = start()
        with connect(node) as session:
            assert answers(session)
            for workers, programs in ((5, 2), (1, 3)):
                faithd.write((BASE + MAP).replace("= 2", f"= {workers}"))
                faithd.signal(signal.SIGHUP)
                faithd.wait_said(f"upgraded to program {programs}", seconds=30)
                assert len(faithd.workers) == workers
                assert answers(session)
                assert all(relays(node) for _ in range(30))

    @pytest.mark.parametrize("maps", [MAP, ""])
    def test_an_upgrade_keeps_sessions_and_maps(
        self, start: Callable[..., Gateway], node: Host, echo: Echo, maps: str
    ) -> None:
        faithd = start(BASE + maps)
        if not maps:
            reread(faithd, BASE + MAP)
            wait_until(lambda: relays(node), 5, "the map")
            faithd.write(BASE + MAP)
        with connect(node) as session:
            assert answers(session)
            faithd.signal(signal.SIGUSR2)
            faithd.wait_said("everything is handed over", seconds=20)
            assert answers(session)
            assert relays(node)
        faithd.wait_said("end=closed", 2 if maps else 3)

    @pytest.mark.parametrize("number", [1, 3])
    def test_the_listeners_are_for_any_number_of_workers(
        self, start: Callable[..., Gateway], node: Host, echo: Echo, number: int
    ) -> None:
        faithd = start()
        with connect(node) as session:
            assert answers(session)
            faithd.write(BASE.replace("workers = 2", f"workers = {number}") + MAP)
            faithd.signal(signal.SIGHUP)
            faithd.wait_said("everything is handed over", seconds=20)
            assert len(faithd.workers) == number
            assert all(relays(node) for _ in range(10))
            assert answers(session)


class TestFtp:
    @pytest.fixture(autouse=True)
    def _server(self, host: Host, tmp_path: Path) -> Iterator[None]:
        files = tmp_path / "files"
        files.mkdir()
        (files / "file").write_bytes(b"octets" * 1000)
        server = host.popen([sys.executable, "-c", FTP_SERVER, str(files)])
        host.wait_listening(21, program=server)
        yield
        server.terminate()
        server.wait(5)

    @staticmethod
    def fetch(node: Host, *, passive: bool) -> bytes:
        received = io.BytesIO()

        def body() -> None:
            with ftplib.FTP(timeout=10) as ftp:
                ftp.connect(MAPPED, 21)
                ftp.login("me", "secret")
                ftp.set_pasv(passive)
                ftp.retrbinary("RETR file", received.write)
                ftp.storbinary("STOR other", io.BytesIO(b"more"))
                assert sorted(ftp.nlst()) == ["file", "other"]

        node.call(body)
        return received.getvalue()

    @pytest.mark.parametrize("passive", [True, False])
    def test_files_come_and_go(
        self, start: Callable[..., Gateway], node: Host, passive: bool
    ) -> None:
        faithd = start()
        assert self.fetch(node, passive=passive) == b"octets" * 1000
        wait_until(lambda: faithd.said.count("end=closed") == 4, 5, "four records")
        assert "port for FTP data" not in faithd.said

    @pytest.mark.parametrize("passive", [True, False])
    def test_from_the_gateways_own_address_too(
        self, start: Callable[..., Gateway], node: Host, passive: bool
    ) -> None:
        faithd = start(BASE + MAP + '[maps]\nsource = "gateway"\n')
        assert self.fetch(node, passive=passive) == b"octets" * 1000
        assert "port for FTP data" not in faithd.said

    @pytest.mark.parametrize("passive", [True, False])
    def test_without_bpf(self, lab: ThreeHosts, node: Host, tmp_path: Path, passive: bool) -> None:
        faithd = Gateway(lab, tmp_path, BASE + MAP, by=WITHOUT_BPF)
        assert self.fetch(node, passive=passive) == b"octets" * 1000
        assert "mapped networks are steered by tproxy" in faithd.said

    def test_an_upgrade_between_command_and_data(
        self, start: Callable[..., Gateway], node: Host
    ) -> None:
        faithd = start()
        with node.inside():
            ftp = ftplib.FTP(timeout=10)
            ftp.connect(MAPPED, 21)
            ftp.login("me", "secret")
            where = ftp.makepasv()
            faithd.signal(signal.SIGUSR2)
            faithd.wait_said("everything is handed over", seconds=20)
            with socket.create_connection(where, 5) as data:
                ftp.voidcmd("TYPE I")
                ftp.sendcmd("RETR file")
                received = b""
                while octets := data.recv(65536):
                    received += octets
            ftp.quit()
            ftp.close()
        assert received == b"octets" * 1000


def ask(node: Host, text: bytes) -> bytes:
    """What is answered to a datagram to port 53 of the mapped address."""
    with node.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((MAPPED, 53))
        client.send(text)
        return client.recv(1000)


class TestPrograms:
    @pytest.mark.usefixtures("bpf_allowed")
    def test_what_naptd_did(
        self,
        lab: ThreeHosts,
        start: Callable[..., Gateway],
        node: Host,
        host: Host,
        echo: Echo,
        need: Callable[[str], str],
        tmp_path: Path,
    ) -> None:
        """An IPv4 host pings a mapped IPv6 one, and visits its servers."""
        (tmp_path / "page").write_text("hello")
        command = [sys.executable, "-m", "http.server", "--bind", "::", "80"]
        server = host.popen([*command, "--directory", str(tmp_path)])
        host.wait_listening(80, program=server)

        def found() -> tuple[object, str]:
            ruleset = lab.gateway.run([need("nft"), "list", "ruleset"]).stdout
            return lab.gateway.links.routes(), ruleset

        def answer() -> None:
            text, peer = datagrams.recvfrom(1000)
            datagrams.sendto(text.upper(), peer)
            echo.peers.append(peer[0])

        with host.inside():
            datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            datagrams.bind(("::", 53))
        before = found()
        faithd = start(BASE.partition("[[service]]")[0] + MAP + "[ping]\n[udp]\n")
        with datagrams:
            answering = threading.Thread(target=answer, daemon=True)
            answering.start()
            assert ask(node, b"who is that") == b"WHO IS THAT"
            answering.join(5)
        assert "bytes from" in node.run([need("ping"), "-c", "1", "-W", "5", MAPPED]).stdout
        assert node.run([need("curl"), "-sS", f"http://{MAPPED}/page"]).stdout == "hello"
        assert relays(node)
        assert set(echo.peers) == {STANDS_FOR_NODE}
        assert "lladdr" in node.run(["ip", "neigh", "show", MAPPED]).stdout
        assert faithd.stop() == 0
        assert found() == before
        server.terminate()
        server.wait(5)


@pytest.mark.parametrize("way", ["tproxy", "route", "sk_lookup"])
def test_by_every_way(
    start: Callable[..., Gateway], node: Host, echo: Echo, way: str, request: pytest.FixtureRequest
) -> None:
    if way == "sk_lookup":
        request.getfixturevalue("bpf_allowed")
    base = BASE.replace("8000-8999", "8000").replace(
        f'address = "{PREFIX}"', f'address = "{PREFIX}"\nvia = "{way}"'
    )
    start(base + MAP)
    assert relays(node)
    assert echo.peers == [STANDS_FOR_NODE]
